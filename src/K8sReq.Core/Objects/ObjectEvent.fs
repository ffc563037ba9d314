namespace K8sReq.Core

/// What can happen to objects of a kind. A listing is the complete set of its scope: whatever it does not contain is gone.
[<RequireQualifiedAccess>]
type ObjectEvent<'T> =
    | Applied of ObjectKey * 'T
    | Deleted of ObjectKey
    | Listed of WatchScope * (ObjectKey * 'T) list
