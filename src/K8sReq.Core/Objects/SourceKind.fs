namespace K8sReq.Core

/// A kind that a source of objects follows, and what its events mean to the receiver.
type SourceKind<'Event> = {
    Kind: Kind<obj>
    ToEvent: ObjectEvent<obj> -> 'Event
}

module SourceKind =
    let create (kind: Kind<'T>) (toEvent: ObjectEvent<'T> -> 'Event) : SourceKind<'Event> = {
        Kind = Kind.untyped kind
        ToEvent = ObjectEvent.map unbox<'T> >> toEvent
    }
