/// Clients that close their side of the connection once they have sent a request, as some scripts do.
module K8sReq.Proxy.HalfClose

open System.IO.Pipelines
open System.Threading
open System.Threading.Tasks
open Microsoft.AspNetCore.Connections
open Microsoft.AspNetCore.Server.Kestrel.Core

/// A connection's input that says it has ended only once nothing is left to be looked at. Kestrel takes the end of the
/// input for a body cut short, even where the whole body stands before it.
type private InputEndLast(inner: PipeReader) =
    inherit WrappedInput(inner)
    // The end of what was handed on as if more could come; looked at whole, it is time to say that nothing will.
    let mutable hiddenEnd = ValueNone
    let mutable isEndDue = false

    override _.HandOn result =
        if result.IsCompleted && not result.Buffer.IsEmpty && not isEndDue then
            hiddenEnd <- ValueSome result.Buffer.End
            ReadResult(result.Buffer, result.IsCanceled, false)
        else
            result

    override _.AdvanceTo(consumed, examined) =
        match hiddenEnd with
        | ValueSome last when examined.Equals last -> isEndDue <- true
        | _ -> ()

        hiddenEnd <- ValueNone
        base.AdvanceTo(consumed, examined)

type private Transport(inner: IDuplexPipe) =
    let input = InputEndLast inner.Input

    interface IDuplexPipe with
        member _.Input = input
        member _.Output = inner.Output

/// A connection that does not tell of its client's having closed its side. Kestrel takes that for the end of the
/// connection and drops the answer, mostly; that nothing more will come it learns from the end of the input all the same.
type private HalfOpenConnection(inner: ConnectionContext) =
    inherit ConnectionContext()
    // Cancelled when the connection is done with, for those that wait for it.
    let closed = new CancellationTokenSource()
    let mutable transport: IDuplexPipe = Transport inner.Transport

    override _.ConnectionId
        with get () = inner.ConnectionId
        and set value = inner.ConnectionId <- value

    override _.Features = inner.Features

    override _.Items
        with get () = inner.Items
        and set value = inner.Items <- value

    override _.Transport
        with get () = transport
        and set value = transport <- value

    override _.LocalEndPoint
        with get () = inner.LocalEndPoint
        and set value = inner.LocalEndPoint <- value

    override _.RemoteEndPoint
        with get () = inner.RemoteEndPoint
        and set value = inner.RemoteEndPoint <- value

    override _.ConnectionClosed
        with get () = closed.Token
        and set _ = ()

    override _.Abort reason =
        closed.Cancel()
        inner.Abort reason

    override _.Abort() =
        closed.Cancel()
        inner.Abort()

    member _.End() = closed.Cancel()

/// Adds to an endpoint that a request which came whole is answered although its client has closed its side.
let allow (endpoint: ListenOptions) : unit =
    let serve (next: ConnectionDelegate) (connection: ConnectionContext) : Task = task {
        let halfOpen = HalfOpenConnection connection

        try
            do! next.Invoke halfOpen
        finally
            halfOpen.End()
    }

    endpoint.Use(fun next -> ConnectionDelegate(serve next)) |> ignore
