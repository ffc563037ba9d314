namespace K8sReq.Core

/// All that can happen to the objects which routes are made of: an event of one kind, or a scope that may not be read.
[<RequireQualifiedAccess>]
type ClusterEvent =
    | Clone of ObjectEvent<RequestClone>
    | Service of ObjectEvent<BackendService>
    /// The scope may not be read: nothing will be known of it for as long as that is so.
    | ScopeDenied of WatchScope

    static member CloneApplied(clone: RequestClone) : ClusterEvent =
        ClusterEvent.Clone(ObjectEvent.Applied(clone.Key, clone))

    static member CloneDeleted(key: ObjectKey) : ClusterEvent =
        ClusterEvent.Clone(ObjectEvent.Deleted key)

    static member ClonesListed(scope: WatchScope, clones: RequestClone list) : ClusterEvent =
        ClusterEvent.Clone(ObjectEvent.Listed(scope, [ for clone in clones -> clone.Key, clone ]))

    static member ServiceApplied(service: BackendService) : ClusterEvent =
        ClusterEvent.Service(ObjectEvent.Applied(service.Key, service))

    static member ServiceDeleted(key: ObjectKey) : ClusterEvent =
        ClusterEvent.Service(ObjectEvent.Deleted key)

    static member ServicesListed(scope: WatchScope, services: BackendService list) : ClusterEvent =
        ClusterEvent.Service(ObjectEvent.Listed(scope, [ for service in services -> service.Key, service ]))
