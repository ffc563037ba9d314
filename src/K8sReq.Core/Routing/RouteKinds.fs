namespace K8sReq.Core

/// The kinds of objects that routes are made of.
module RouteKinds =
    /// In the order in which they have to be known: a RequestClone whose Service has not been listed would seem to name one
    /// that does not exist.
    let all: SourceKind<ClusterEvent> list = [
        SourceKind.create BackendService.kind ClusterEvent.Service
        SourceKind.create RequestClone.kind ClusterEvent.Clone
    ]

    let kinds: Kind<obj> list = all |> List.map _.Kind
