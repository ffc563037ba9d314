namespace K8sReq.Bench

open System
open System.Net
open System.Net.Sockets
open System.Runtime.InteropServices

/// How a client sends a request.
[<RequireQualifiedAccess>]
type ClientWrites =
    /// Headers and body together, as ingress controllers and most libraries do.
    | One
    /// The headers, then the body, as h2load does.
    | Two

/// The bytes of a request in the pieces in which they are sent. They stay where they are in memory.
type LoadRequest = private {
    Pieces: struct (byte[] * nativeint)[]
} with

    static member Create(writes: ClientWrites, head: byte[], body: byte[]) : LoadRequest =
        let pin (bytes: byte[]) =
            let pinned = GC.AllocateArray<byte>(bytes.Length, true)
            bytes.CopyTo(pinned, 0)
            struct (pinned, Marshal.UnsafeAddrOfPinnedArrayElement(pinned, 0))

        let pieces =
            match writes with
            | ClientWrites.Two when body.Length > 0 -> [| head; body |]
            | ClientWrites.One
            | ClientWrites.Two -> [| Array.append head body |]

        { Pieces = Array.map pin pieces }

/// What a read of a connection gave.
[<Struct; RequireQualifiedAccess>]
type internal Received =
    | Response of status: int
    | NotYet
    | Closed

/// One connection, one request at a time, nothing of it waits.
[<Sealed>]
type internal LoadConnection(port: int, request: LoadRequest) =
    let socket =
        new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp, NoDelay = true)

    do socket.Connect(IPAddress.Loopback, port)
    let descriptor = int socket.Handle
    let buffer = GC.AllocateArray<byte>(16384, true)
    let address = Marshal.UnsafeAddrOfPinnedArrayElement(buffer, 0)
    let mutable received = 0
    let mutable piece = request.Pieces.Length
    let mutable offset = 0

    member _.Descriptor = descriptor
    /// When the request that is under way was due.
    member val DueAt = 0L with get, set
    /// A request has been begun and has no response yet.
    member val IsBusy = false with get, set
    member _.IsSending = piece < request.Pieces.Length

    /// Sends as much of the rest as the system takes. A broken connection is noticed by Receive.
    member connection.Continue() =
        let mutable isBlocked = false

        while connection.IsSending && not isBlocked do
            let struct (bytes, start) = request.Pieces[piece]

            match Libc.trySend descriptor (start + nativeint offset) (bytes.Length - offset) with
            | count when count < 0 -> isBlocked <- true
            | count when offset + count = bytes.Length ->
                piece <- piece + 1
                offset <- 0
            | count -> offset <- offset + count

    /// Begins a request that was due at this time.
    member connection.Begin(due: int64) =
        connection.DueAt <- due
        connection.IsBusy <- true
        piece <- 0
        offset <- 0
        connection.Continue()

    member connection.Receive() : Received =
        match Libc.tryReceive descriptor (address + nativeint received) (buffer.Length - received) with
        | -1 -> Received.NotYet
        | 0
        | -2 -> Received.Closed
        | count ->
            received <- received + count

            match ResponseHead.status (ReadOnlySpan(buffer, 0, received)) with
            // A response that does not fit is none that a proxy should give.
            | 0 when received = buffer.Length -> Received.Closed
            | 0 -> Received.NotYet
            // One to a request that was not sent completely: the connection cannot be used again.
            | _ when connection.IsSending -> Received.Closed
            | status ->
                received <- 0
                connection.IsBusy <- false
                Received.Response status

    interface IDisposable with
        member _.Dispose() = socket.Dispose()
