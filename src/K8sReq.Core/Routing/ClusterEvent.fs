namespace K8sReq.Core

/// All that can happen to the objects which routes are made of.
/// A listing is the complete set of its scope: whatever it does not contain is gone.
[<RequireQualifiedAccess>]
type ClusterEvent =
    | CloneApplied of RequestClone
    | CloneDeleted of ObjectKey
    | ClonesListed of WatchScope * RequestClone list
    | ServiceApplied of BackendService
    | ServiceDeleted of ObjectKey
    | ServicesListed of WatchScope * BackendService list
    /// The scope may not be read: nothing will be known of it for as long as that is so.
    | ScopeDenied of WatchScope
