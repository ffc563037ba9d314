namespace K8sReq.Host.Manifests

open System
open System.Text.Json
open FsToolkit.ErrorHandling
open K8sReq.Core
open K8sReq.Kubernetes

/// A place in a manifest file; the line counts from 1.
type ManifestPlace = {
    File: string
    Line: int
} with

    override place.ToString() = $"{place.File}:{place.Line}"

/// Something wrong in a folder of manifests.
[<RequireQualifiedAccess>]
type ManifestProblem =
    /// The text is no YAML or JSON; what the file held before stays in force.
    | Unparsable of ManifestPlace * reason: string
    /// The file or the folder cannot be read; what it held before stays in force.
    | Unreadable of path: string * reason: string
    /// A document that is no object of a cluster, or an object without a usable name.
    | Unusable of ManifestPlace * FieldFault list
    | Invalid of ManifestPlace * kind: string * ObjectKey * FieldFault list
    /// The same object twice. The later one counts, as it would after `kubectl apply`.
    | Duplicate of ManifestPlace * kind: string * ObjectKey * first: ManifestPlace

/// An object of one of the kinds that are asked for, and where it stands.
type Manifest = {
    Place: ManifestPlace
    Kind: KindName
    Key: ObjectKey
    /// What the kind has read; it may be faulty.
    Object: obj
}

module ManifestProblem =
    /// One line for people, beginning with the place.
    let describe (problem: ManifestProblem) =
        match problem with
        | ManifestProblem.Unparsable(place, reason) -> $"{place}: cannot be parsed: {reason}"
        | ManifestProblem.Unreadable(path, reason) -> $"{path}: cannot be read: {reason}"
        | ManifestProblem.Unusable(place, faults) -> $"{place}: {FieldFault.describeAll faults}"
        | ManifestProblem.Invalid(place, kind, key, faults) ->
            $"{place}: {kind} {key} is not valid: {FieldFault.describeAll faults}"
        | ManifestProblem.Duplicate(place, kind, key, first) ->
            $"{place}: {kind} {key} is declared before, at {first}; this one counts"

/// What one file says of some kinds: its objects in their order, and what is wrong with it. Objects of other kinds are
/// skipped. No file knows of another.
module ManifestFile =
    let private readAs
        (kind: Kind<'T>)
        (place: ManifestPlace)
        (manifest: JsonElement)
        : Manifest list * ManifestProblem list =
        match Kind.key manifest with
        | Error faults -> [], [ ManifestProblem.Unusable(place, faults) ]
        | Ok key ->
            let object = kind.Read ObjectOrigin.Manifest key manifest

            let read: Manifest = {
                Place = place
                Kind = kind.Name
                Key = key
                Object = Unchecked.nonNull (box object)
            }

            match kind.Faults object with
            | [] -> [ read ], []
            | faults -> [ read ], [ ManifestProblem.Invalid(place, kind.Name.Kind, key, faults) ]

    let rec private readObject kinds (place: ManifestPlace) inherited (manifest: JsonElement) =
        match DocumentKind.read kinds inherited manifest with
        | DocumentKind.Known kind -> readAs kind place manifest
        | DocumentKind.Other -> [], []
        | DocumentKind.Unusable fault -> [], [ ManifestProblem.Unusable(place, [ fault ]) ]
        | DocumentKind.List(items, itemKind, apiVersion) ->
            let inheritedByItems = itemKind |> Option.map (fun kind -> apiVersion, kind)

            let manifests, problems =
                items |> List.map (readObject kinds place inheritedByItems) |> List.unzip

            List.concat manifests, List.concat problems

    /// Whether a file of this name is read at all.
    let isManifest (path: string) =
        [ ".yaml"; ".yml"; ".json" ]
        |> List.exists (fun extension -> path.EndsWith(extension, StringComparison.OrdinalIgnoreCase))

    let private ofDocuments
        (kinds: Kind<obj> list)
        (path: string)
        (documents: Result<ManifestText.Document list, ManifestText.TextError>)
        =
        match documents with
        | Error error -> Error(ManifestProblem.Unparsable({ File = path; Line = error.Line }, error.Reason))
        | Ok documents ->
            // What a value can hold that nobody has thought of is the file's fault, and never more than that.
            let read (document: ManifestText.Document) =
                let place = { File = path; Line = document.Line }

                try
                    Ok(readObject kinds place None document.Root)
                with error ->
                    Error(ManifestProblem.Unparsable(place, error.Message))

            match documents |> List.map read |> List.sequenceResultM with
            | Error problem -> Error problem
            | Ok read ->
                let manifests, problems = List.unzip read
                Ok(List.concat manifests, List.concat problems)

    /// Reads a text that is JSON, whatever it is called.
    let parseJson
        (kinds: Kind<obj> list)
        (path: string)
        (text: string)
        : Result<Manifest list * ManifestProblem list, ManifestProblem> =
        ManifestText.parseJson text |> ofDocuments kinds path

    /// Reads a file's text. An error means that nothing of it can be used.
    let parse
        (kinds: Kind<obj> list)
        (path: string)
        (text: string)
        : Result<Manifest list * ManifestProblem list, ManifestProblem> =
        if path.EndsWith(".json", StringComparison.OrdinalIgnoreCase) then
            parseJson kinds path text
        else
            ManifestYaml.parse text |> ofDocuments kinds path
