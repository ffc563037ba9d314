namespace K8sReq.Proxy

open System
open System.Diagnostics
open System.Net.Sockets

/// What a listener does while no connection can be accepted: it waits a little instead of asking again at once, for ever, which takes a
/// core, and tells of it once a minute. For one listener.
[<Sealed>]
type AcceptPause(exhausted: string -> unit) =
    // While connections come and go at the limit, one may be accepted now and then.
    static let toldAgainAfter = TimeSpan.FromMinutes 1.0
    let mutable toldAt = ValueNone

    /// Long enough not to cost anything, short enough to be unnoticed by a client that waits.
    static member Length = TimeSpan.FromMilliseconds 50.0

    /// Whether the error is of the one connection that was next, which was reset while it waited: the one after it is as good as
    /// before. Whatever else fails, too few descriptors above all, would fail again at once.
    static member IsOfOne(error: SocketError) : bool =
        error = SocketError.ConnectionReset || error = SocketError.ConnectionAborted

    /// Why no connection can be accepted now.
    member _.Tell(reason: string) : unit =
        let isDue =
            match toldAt with
            | ValueSome at -> Stopwatch.GetElapsedTime at >= toldAgainAfter
            | ValueNone -> true

        if isDue then
            toldAt <- ValueSome(Stopwatch.GetTimestamp())
            exhausted reason
