namespace K8sReq.Core

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
