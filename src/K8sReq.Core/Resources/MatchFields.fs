/// `spec.matches` of a RequestClone.
module internal K8sReq.Core.MatchFields

open System
open K8sReq.Core
open K8sReq.Core.Decoder

/// A text that is of a kind, which `accepted` describes.
let textThat (accepted: string) (isAccepted: string -> bool) : Decoder<string> =
    text
    |> refine (fun path given ->
        if isAccepted given then
            Ok given
        else
            Error(FieldFault.BadValue(path, given, accepted)))

/// A list of so many items at the most.
let listOf (most: int) (item: Decoder<'T>) : Decoder<'T list> =
    list item
    |> refine (fun path items ->
        if List.length items <= most then
            Ok items
        else
            Error(FieldFault.BadValue(path, $"{List.length items} items", $"{most} at the most")))

let private isVisible (c: char) = c >= '!' && c <= '~'

/// A path as clients send it.
let isPath (text: string) : bool =
    text.Length >= 1
    && text.Length <= 1024
    && text[0] = '/'
    && text |> Seq.forall (fun c -> isVisible c && c <> '?' && c <> '#')

let pathAccepted =
    "a path as clients send it: it begins with '/', has at most 1024 characters, and no space, '?' or '#'"

/// A header's name.
let fieldName: Decoder<string> =
    textThat "the name of a header, of at most 256 characters" (fun given ->
        given.Length <= 256 && MessageSyntax.isToken given)

/// A header's value.
let fieldValue: Decoder<string> =
    textThat
        "a header's value: 1 to 1024 ASCII characters, none of them a control, and no space at an end"
        (fun given ->
            given.Length >= 1
            && given.Length <= 1024
            && isVisible given[0]
            && isVisible given[given.Length - 1]
            && given |> Seq.forall (fun c -> isVisible c || c = ' '))

let private method: Decoder<string> =
    textThat "a method in capitals, such as POST, of at most 32 characters" (fun given ->
        given.Length >= 1
        && given.Length <= 32
        && Char.IsAsciiLetterUpper given[0]
        && given
           |> Seq.forall (fun c -> Char.IsAsciiLetterUpper c || Char.IsAsciiDigit c || c = '-' || c = '_'))

let private isExact: Decoder<bool> =
    text
    |> refine (fun path given ->
        match given with
        | "Exact" -> Ok true
        | "PathPrefix" -> Ok false
        | _ -> Error(FieldFault.BadValue(path, given, "Exact or PathPrefix")))

let private path: Decoder<PathMatch> =
    object (
        fields {
            let! isExact = orDefault false "type" isExact
            and! value = required "value" (textThat pathAccepted isPath)

            return
                if isExact then
                    PathMatch.Exact value
                else
                    PathMatch.Prefix(value.TrimEnd '/')
        }
    )

let private exact: Decoder<string> = textThat "Exact" (fun given -> given = "Exact")

let private fieldMatch (name: Decoder<string>) (value: Decoder<string>) : Decoder<FieldMatch> =
    object (
        fields {
            let! _ = orDefault "Exact" "type" exact
            and! name = required "name" name
            and! value = required "value" value
            return { Name = name; Value = value }
        }
    )

let private header: Decoder<FieldMatch> = fieldMatch fieldName fieldValue

// What can stand in a query between '&' and '&', as clients send it.
let private isInQuery (most: int) (text: string) =
    text.Length >= 1
    && text.Length <= most
    && text |> Seq.forall (fun c -> isVisible c && c <> '&' && c <> '#')

let private parameterName: Decoder<string> =
    textThat
        "a parameter's name as clients send it: 1 to 256 characters, and no space, '&', '=' or '#'"
        (fun given -> isInQuery 256 given && not (given.Contains '='))

let private parameterValue: Decoder<string> =
    textThat
        "a parameter's value as clients send it: 1 to 1024 characters, and no space (%20 or +), '&' or '#'"
        (isInQuery 1024)

let private queryParam: Decoder<FieldMatch> =
    fieldMatch parameterName parameterValue

let private one: Decoder<RequestMatch> =
    object (
        fields {
            let! method = optional "method" method
            and! path = optional "path" path
            and! headers = orDefault [] "headers" (listOf 16 header)
            and! queryParams = orDefault [] "queryParams" (listOf 16 queryParam)

            return {
                Method = method
                Path = path
                Headers = headers
                QueryParams = queryParams
            }
        }
    )

let matches: Decoder<RequestMatch list> = listOf 64 one
