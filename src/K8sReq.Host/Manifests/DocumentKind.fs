namespace K8sReq.Host.Manifests

open System
open System.Text.Json
open K8sReq.Core

/// What a document of a manifest says it is.
[<RequireQualifiedAccess>]
type DocumentKind =
    | Known of Kind<obj>
    /// A list of objects; of this kind, where the list's own kind says it for those that do not.
    | List of items: JsonElement list * itemKind: string option * itemApiVersion: string
    /// Anything else that could be applied to a cluster.
    | Other
    | Unusable of FieldFault

module DocumentKind =
    // "requestclone" and "RequestClones" are meant as RequestClone.
    let private isMeantAs (kind: KindName) (name: string) =
        name.Equals(kind.Kind, StringComparison.OrdinalIgnoreCase)
        || name.Equals(kind.Kind + "s", StringComparison.OrdinalIgnoreCase)

    let private isOfGroup (group: string) (apiVersion: string) =
        apiVersion = group
        || apiVersion.StartsWith(group + "/", StringComparison.OrdinalIgnoreCase)

    // A kind of a custom group is in none of Kubernetes' own groups, and a group of nearly its name is nobody else's.
    let private isNearGroup (group: string) (apiVersion: string) =
        let given = apiVersion.Substring(0, max 0 (apiVersion.IndexOf '/'))

        given = ""
        || (given <> group && Option.isSome (NearestName.tryFind [ group ] given))

    let private badValue field given accepted =
        DocumentKind.Unusable(FieldFault.BadValue(field, given, accepted))

    // What is nearly one of the kinds: the name is misspelt, or the version or group.
    let private misspelt (kinds: KindName list) (apiVersion: string) (name: string) : DocumentKind option =
        let custom, core = kinds |> List.partition (fun kind -> kind.Group <> "")
        let isListOf (kind: KindName) = name = kind.Kind + "List"

        let ofThisVersion = custom |> List.filter (fun kind -> kind.ApiVersion = apiVersion)
        let ofGroup = custom |> List.filter (fun kind -> isOfGroup kind.Group apiVersion)

        let ofNearGroup =
            custom
            |> List.filter (fun kind -> isNearGroup kind.Group apiVersion && isMeantAs kind name)

        let ofCore =
            core
            |> List.filter (fun kind -> kind.ApiVersion = apiVersion && isMeantAs kind name)

        match ofThisVersion, ofGroup, ofNearGroup, ofCore with
        | _ :: _, _, _, _ when List.exists isListOf ofThisVersion -> None
        | _ :: _, _, _, _ ->
            Some(badValue "kind" name (ofThisVersion |> List.map _.Kind |> String.concat " or "))
        | [], kind :: _, _, _
        | [], [], kind :: _, _ -> Some(badValue "apiVersion" apiVersion kind.ApiVersion)
        | [], [], [], kind :: _ -> Some(badValue "kind" name kind.Kind)
        | [], [], [], [] -> None

    let private list (apiVersion: string) (name: string) (manifest: JsonElement) : DocumentKind =
        match Json.tryField "items" manifest with
        | Some items when items.ValueKind = JsonValueKind.Array ->
            let itemKind = name.Substring(0, name.Length - "List".Length)
            DocumentKind.List(Json.items items, (if itemKind = "" then None else Some itemKind), apiVersion)
        | Some items -> DocumentKind.Unusable(FieldFault.WrongType("items", "a list", Json.describe items))
        // A kind of another group whose name happens to end so.
        | None -> DocumentKind.Other

    let private named (kinds: Kind<obj> list) (apiVersion: string) (name: string) (manifest: JsonElement) =
        match
            kinds
            |> List.tryFind (fun kind -> kind.Name.ApiVersion = apiVersion && kind.Name.Kind = name)
        with
        | Some kind -> DocumentKind.Known kind
        | None ->
            match misspelt (kinds |> List.map _.Name) apiVersion name with
            | Some unusable -> unusable
            | None when name.EndsWith("List", StringComparison.Ordinal) -> list apiVersion name manifest
            | None -> DocumentKind.Other

    /// Reads `apiVersion` and `kind`; an item of a list takes what it leaves out from `inherited`.
    let read
        (kinds: Kind<obj> list)
        (inherited: (string * string) option)
        (manifest: JsonElement)
        : DocumentKind =
        if manifest.ValueKind <> JsonValueKind.Object then
            DocumentKind.Unusable(FieldFault.WrongType("the document", "an object", Json.describe manifest))
        else
            let field choose name : Result<string, FieldFault list> =
                match Json.tryField name manifest, inherited with
                | None, Some pair -> Ok(choose pair)
                | None, None -> Error [ FieldFault.Missing name ]
                | Some value, _ -> Decoder.text.Read name value

            match field fst "apiVersion", field snd "kind" with
            | Ok apiVersion, Ok name -> named kinds apiVersion name manifest
            | Error faults, _
            | Ok _, Error faults -> DocumentKind.Unusable(List.head faults)
