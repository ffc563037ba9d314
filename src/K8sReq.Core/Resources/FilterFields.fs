/// `spec.filters` of a RequestClone.
module internal K8sReq.Core.FilterFields

open System
open K8sReq.Core
open K8sReq.Core.Decoder
open K8sReq.Core.MatchFields

// Those that say how the message goes from one end of the connection to the other are the proxy's.
let private changedName: Decoder<string> =
    fieldName
    |> refine (fun path given ->
        if ForwardHeaders.isOwn given then
            Error(
                FieldFault.BadValue(
                    path,
                    given,
                    "a header that filters can change: not Host (urlRewrite.hostname), Content-Length, Via, or one of the connection"
                )
            )
        else
            Ok given)

// A field that is there for one value of `type` alone.
type private TypedField<'T> = {
    Type: string
    Field: string
    Given: 'T option
}

let private chosen (path: string) (given: string, fields: TypedField<'T> list) : Result<'T, FieldFault> =
    let wanted, others = fields |> List.partition (fun field -> field.Type = given)

    match wanted with
    | [ { Given = Some value } ] when others |> List.forall _.Given.IsNone -> Ok value
    | [ { Given = None; Field = field } ] -> Error(FieldFault.Missing $"{path}.{field}")
    | _ -> Error(FieldFault.BadValue($"{path}.type", given, "the one of the field that is there"))

let private line: Decoder<HeaderLine> =
    object (
        fields {
            let! name = required "name" changedName
            and! value = required "value" fieldValue
            return struct (name, value)
        }
    )

let private modifier: Decoder<CopyFilter> =
    object (
        fields {
            let! set = orDefault [] "set" (listOf 16 line)
            and! added = orDefault [] "add" (listOf 16 line)
            and! removed = orDefault [] "remove" (listOf 16 changedName)
            return CopyFilter.Headers(set, added, removed)
        }
    )

let private fullPath: Decoder<string> = textThat pathAccepted isPath

let private replacement: Decoder<string> =
    textThat $"empty or {pathAccepted}" (fun given -> given = "" || isPath given)

let private rewriteType: Decoder<string> =
    textThat "ReplaceFullPath or ReplacePrefixMatch" (fun given ->
        given = "ReplaceFullPath" || given = "ReplacePrefixMatch")

let private pathRewrite: Decoder<PathRewrite> =
    object (
        fields {
            let! rewriteType = required "type" rewriteType
            and! full = optional "replaceFullPath" fullPath
            and! prefix = optional "replacePrefixMatch" replacement

            return
                rewriteType,
                [
                    {
                        Type = "ReplaceFullPath"
                        Field = "replaceFullPath"
                        Given = Option.map PathRewrite.Full full
                    }
                    {
                        Type = "ReplacePrefixMatch"
                        Field = "replacePrefixMatch"
                        Given = Option.map PathRewrite.PrefixMatch prefix
                    }
                ]
        }
        |> refineFields chosen
    )

let private hostname: Decoder<string> =
    textThat
        "a host name: at most 253 lower-case letters, digits, '-' and '.', with a letter or digit at each end"
        KubernetesName.isSubdomain

let private rewrite: Decoder<CopyFilter> =
    object (
        fields {
            let! hostname = optional "hostname" hostname
            and! path = optional "path" pathRewrite
            return CopyFilter.Rewrite(hostname, path)
        }
    )

let private filterType: Decoder<string> =
    textThat "RequestHeaderModifier or URLRewrite" (fun given ->
        given = "RequestHeaderModifier" || given = "URLRewrite")

let private filter: Decoder<CopyFilter> =
    object (
        fields {
            let! filterType = required "type" filterType
            and! modifier = optional "requestHeaderModifier" modifier
            and! rewrite = optional "urlRewrite" rewrite

            return
                filterType,
                [
                    {
                        Type = "RequestHeaderModifier"
                        Field = "requestHeaderModifier"
                        Given = modifier
                    }
                    {
                        Type = "URLRewrite"
                        Field = "urlRewrite"
                        Given = rewrite
                    }
                ]
        }
        |> refineFields chosen
    )

let private isRewrite (filter: CopyFilter) =
    match filter with
    | CopyFilter.Rewrite _ -> true
    | CopyFilter.Headers _ -> false

let filters: Decoder<CopyFilter list> =
    listOf 16 filter
    |> refine (fun path filters ->
        match List.filter isRewrite filters with
        | []
        | [ _ ] -> Ok filters
        | several ->
            Error(
                FieldFault.BadValue(
                    path,
                    $"{several.Length} of type URLRewrite",
                    "one of that type at the most"
                )
            ))

/// A prefix can be replaced only where each match is by one. `path` is that of the spec.
let checkPrefix
    (path: string)
    (matches: RequestMatch list)
    (filters: CopyFilter list)
    : Result<unit, FieldFault> =
    let replacesPrefix =
        filters
        |> List.exists (fun filter ->
            match filter with
            | CopyFilter.Rewrite(_, Some(PathRewrite.PrefixMatch _)) -> true
            | CopyFilter.Rewrite _
            | CopyFilter.Headers _ -> false)

    let isByPrefix (wanted: RequestMatch) =
        match wanted.Path with
        | None
        | Some(PathMatch.Prefix _) -> true
        | Some(PathMatch.Exact _) -> false

    match matches |> List.tryFindIndex (isByPrefix >> not) with
    | Some index when replacesPrefix ->
        Error(
            FieldFault.BadValue(
                $"{path}.matches[{index}].path.type",
                "Exact",
                "PathPrefix where a filter has replacePrefixMatch"
            )
        )
    | _ -> Ok()
