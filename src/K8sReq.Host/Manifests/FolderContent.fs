namespace K8sReq.Host.Manifests

open K8sReq.Core

/// An object that counts, of all that are declared under its key.
type DeclaredObject = {
    Kind: KindName
    Key: ObjectKey
    Object: obj
}

/// What a folder says, all files together.
type FolderContent = {
    /// Each once, sorted by kind and key.
    Objects: DeclaredObject list
    Problems: ManifestProblem list
}

module FolderContent =
    let empty: FolderContent = { Objects = []; Problems = [] }

    /// Puts the contents of files together, in this order. Of objects that are declared twice the later counts: files in
    /// the order of their paths, then lines.
    let ofManifests (manifests: Manifest list) (problems: ManifestProblem list) : FolderContent =
        let merged, duplicates =
            ((Map.empty, []), manifests)
            ||> List.fold (fun (merged, duplicates) manifest ->
                let identity = manifest.Kind, manifest.Key

                let duplicates =
                    match Map.tryFind identity merged with
                    | None -> duplicates
                    | Some first ->
                        ManifestProblem.Duplicate(
                            manifest.Place,
                            manifest.Kind.Kind,
                            manifest.Key,
                            first.Place
                        )
                        :: duplicates

                Map.add identity manifest merged, duplicates)

        {
            Objects = [
                for manifest in merged.Values ->
                    {
                        Kind = manifest.Kind
                        Key = manifest.Key
                        Object = manifest.Object
                    }
            ]
            Problems = problems @ List.rev duplicates
        }

    /// The objects of a kind, by their keys.
    let ofKind (kind: KindName) (content: FolderContent) : (ObjectKey * obj) list = [
        for declared in content.Objects do
            if declared.Kind = kind then
                declared.Key, declared.Object
    ]

    /// The complete sets, as listings of all namespaces, in the order of the kinds.
    let toEvents (kinds: SourceKind<'Event> list) (content: FolderContent) : 'Event list = [
        for source in kinds ->
            ObjectEvent.Listed(WatchScope.AllNamespaces, ofKind source.Kind.Name content)
            |> source.ToEvent
    ]
