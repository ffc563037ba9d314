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
