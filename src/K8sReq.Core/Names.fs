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

/// What one listing covers: everything it does not contain does not exist.
[<RequireQualifiedAccess>]
type WatchScope =
    | AllNamespaces
    | Namespace of string

module WatchScope =
    /// Whether an object with this key would have been in a listing of the scope.
    let covers (scope: WatchScope) (key: ObjectKey) =
        match scope with
        | WatchScope.AllNamespaces -> true
        | WatchScope.Namespace ns -> key.Namespace = ns
