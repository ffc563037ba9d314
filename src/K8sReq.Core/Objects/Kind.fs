namespace K8sReq.Core

open System.Text.Json
open FsToolkit.ErrorHandling

/// Where an object comes from.
[<RequireQualifiedAccess>]
type ObjectOrigin =
    /// The API server has judged it; fields that it let through and that are unknown here belong to a later version.
    | Cluster
    /// A file that nobody has judged: an unknown field is a mistake.
    | Manifest

/// What a kind of object is called.
type KindName = {
    /// Empty for Kubernetes' core group.
    Group: string
    Version: string
    /// `RequestClone`
    Kind: string
    /// As it stands in paths: `requestclones`.
    Plural: string
} with

    /// As manifests write it: `v1`, `proxy.infra.doodle.com/v1beta1`.
    member name.ApiVersion =
        if name.Group = "" then
            name.Version
        else
            $"{name.Group}/{name.Version}"

/// A kind of namespaced object, with all that listing, watching, reading and reporting it needs.
type Kind<'T> = {
    Name: KindName
    /// Whether the user's label selector selects among its objects.
    IsSelected: bool
    /// Never fails: what is wrong with an object is kept in it, and `Faults` gives it.
    Read: ObjectOrigin -> ObjectKey -> JsonElement -> 'T
    KeyOf: 'T -> ObjectKey
    /// What is wrong with an object that was read.
    Faults: 'T -> FieldFault list
}

module Kind =
    /// `metadata` of any object. Its remaining fields are those of objects that were read from a cluster.
    let metadata: JsonShape =
        JsonShape.Fields [
            "name", JsonShape.Any
            "namespace", JsonShape.Any
            "labels", JsonShape.Strings
            "annotations", JsonShape.Strings
            "creationTimestamp", JsonShape.Any
            "deletionGracePeriodSeconds", JsonShape.Any
            "deletionTimestamp", JsonShape.Any
            "finalizers", JsonShape.Any
            "generateName", JsonShape.Any
            "generation", JsonShape.Any
            "managedFields", JsonShape.Any
            "ownerReferences", JsonShape.Any
            "resourceVersion", JsonShape.Any
            "selfLink", JsonShape.Any
            "uid", JsonShape.Any
        ]

    /// A manifest with this `spec`.
    let manifestShape (spec: JsonShape) : JsonShape =
        JsonShape.Fields [
            "apiVersion", JsonShape.Any
            "kind", JsonShape.Any
            "metadata", metadata
            "spec", spec
            "status", JsonShape.Any
        ]

    let private objectName: Decoder<string> =
        Decoder.text
        |> Decoder.refine (fun path text ->
            if KubernetesName.isSubdomain text then
                Ok text
            else
                Error(FieldFault.BadValue(path, text, "lower-case letters, digits, '-' and '.'")))

    let private keyDecoder: Decoder<ObjectKey> =
        Decoder.object (
            Decoder.required
                "metadata"
                (Decoder.object (
                    Decoder.fields {
                        let! name = Decoder.required "name" objectName
                        and! ns = Decoder.orDefault "default" "namespace" objectName
                        return ObjectKey.create ns name
                    }
                ))
        )

    /// An object's key. Without a namespace it is in `default`, where kubectl puts it too.
    let key (manifest: JsonElement) : Validation<ObjectKey, FieldFault> = Decoder.run keyDecoder manifest

    /// `spec` of an object by its decoder. In a manifest a field that it does not know is a fault too.
    let readSpec
        (decoder: Decoder<'T>)
        (origin: ObjectOrigin)
        (manifest: JsonElement)
        : Validation<'T, FieldFault> =
        let read = Decoder.run (Decoder.object (Decoder.required "spec" decoder)) manifest

        match origin with
        | ObjectOrigin.Cluster -> read
        | ObjectOrigin.Manifest ->
            match read, JsonShape.faults (manifestShape decoder.Shape) manifest with
            | Ok spec, [] -> Ok spec
            | Ok _, unknown -> Error unknown
            | Error faults, unknown -> Error(faults @ unknown)

    /// The same kind for those who treat all kinds alike. Only this kind's own objects may be given to it.
    let untyped (kind: Kind<'T>) : Kind<obj> = {
        Name = kind.Name
        IsSelected = kind.IsSelected
        Read = fun origin key manifest -> Unchecked.nonNull (box (kind.Read origin key manifest))
        KeyOf = fun object -> kind.KeyOf(unbox<'T> object)
        Faults = fun object -> kind.Faults(unbox<'T> object)
    }
