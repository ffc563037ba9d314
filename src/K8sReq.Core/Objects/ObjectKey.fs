namespace K8sReq.Core

/// The identity of a namespaced object. Two kinds may share a key; a key alone does not say which is meant.
type ObjectKey = {
    Namespace: string
    Name: string
} with

    /// `namespace/name`, as it is written in messages.
    override key.ToString() = $"{key.Namespace}/{key.Name}"

module ObjectKey =
    let create ns name = { Namespace = ns; Name = name }

    /// `namespace/name`; None if it is not written so. Makes no judgement on either.
    let tryParse (text: string) : ObjectKey option =
        match text.Split '/' with
        | [| ns; name |] when ns <> "" && name <> "" -> Some(create ns name)
        | _ -> None
