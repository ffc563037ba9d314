namespace K8sReq.Proxy

/// Who made a connection and keeps it while nothing is sent over it. Called without a lock held. A class for the reason that
/// `CopyObserver` is one.
[<AbstractClass>]
type ConnectionOwner() =
    /// It can be used again.
    abstract Returned: TargetConnection -> unit
    /// It is closed, for good.
    abstract Closed: TargetConnection -> unit
    /// An attempt has ended. Whether it may be repeated at once: the connection had served another one before, and was
    /// closed before the target can have had a byte of the request. That says nothing of the target (RFC 9112 section
    /// 9.3.1), and sending it once more is not sending it twice.
    abstract Ended: Attempt * SendResult * mayRepeat: bool -> unit

/// One HTTP/1.1 connection to a target: one request at a time, no pipelining. Something is always being received, so
/// that a connection which its target closes is known to be closed before it is used again.
and [<AbstractClass>] TargetConnection() =
    /// Connects, and sends the attempt's request. To be called once, before anything else.
    abstract Connect: first: Attempt -> unit
    /// Sends the attempt's request, unless the connection is not idle any more.
    abstract TryBegin: next: Attempt -> bool
    /// Gives up the attempt that is under way, if one is. From any thread.
    abstract Cancel: unit -> unit
    /// Closes the connection if no attempt is under way on it. From any thread.
    abstract CloseUnlessBusy: unit -> unit
    abstract IsClosed: bool
