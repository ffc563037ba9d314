namespace K8sReq.Proxy

open System
open System.Net
open System.Net.Sockets
open System.Threading
open System.Threading.Tasks
open Microsoft.AspNetCore.Connections
open Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets
open Microsoft.Extensions.Logging

/// Accepts connections like Kestrel's own listener, but for what it does when there are no descriptors left: that one
/// asks again at once, for ever, and takes a core. This one waits a little, and tells of it once a minute. Before that it leaves
/// some: a process without any cannot even load its own code. A descriptor is the lowest number that is free, so one above
/// `highest` tells that fewer are left than are to be.
[<Sealed>]
type private PatientListener
    (socket: Socket, contexts: SocketConnectionContextFactory, highest: int, exhausted: string -> unit) =
    let endpoint = socket.LocalEndPoint
    let pause = AcceptPause exhausted

    interface IConnectionListener with
        member _.EndPoint =
            match endpoint with
            | null -> invalidOp "A socket that is bound has an address."
            | endpoint -> endpoint

        member _.AcceptAsync(cancelled: CancellationToken) =
            ValueTask<ConnectionContext | null>(
                task {
                    let mutable result: ConnectionContext | null = null
                    let mutable isOver = false

                    while not isOver do
                        let mutable isShort = false

                        try
                            let! accepted = socket.AcceptAsync cancelled

                            if accepted.Handle > nativeint highest then
                                accepted.Dispose()
                                isShort <- true
                                pause.Tell "too few descriptors are left"
                            else
                                if accepted.LocalEndPoint :? IPEndPoint then
                                    accepted.NoDelay <- true

                                result <- contexts.Create accepted
                                isOver <- true
                        with
                        | :? ObjectDisposedException
                        | :? OperationCanceledException -> isOver <- true
                        | :? SocketException as error when
                            error.SocketErrorCode = SocketError.OperationAborted
                            ->
                            isOver <- true
                        | :? SocketException as error ->
                            isShort <- not (AcceptPause.IsOfOne error.SocketErrorCode)

                            if isShort then
                                pause.Tell error.Message

                        if isShort then
                            do! Task.Delay AcceptPause.Length

                    return result
                }
            )

        member _.UnbindAsync _ =
            socket.Dispose()
            ValueTask.CompletedTask

        member _.DisposeAsync() =
            socket.Dispose()
            contexts.Dispose()
            ValueTask.CompletedTask

/// Makes listeners of this kind, of connections whose descriptors are `highest` at most. `exhausted` is told why no connection
/// can be accepted, once a minute at most.
[<Sealed>]
type PatientListenerFactory
    (options: SocketTransportOptions, loggers: ILoggerFactory, highest: int, exhausted: string -> unit) =
    interface IConnectionListenerFactory with
        member _.BindAsync(endpoint: EndPoint, _: CancellationToken) =
            let socket = ListenSocket.bind options endpoint

            let connections =
                new SocketConnectionContextFactory(
                    SocketConnectionFactoryOptions(
                        UnsafePreferInlineScheduling = options.UnsafePreferInlineScheduling,
                        WaitForDataBeforeAllocatingBuffer = options.WaitForDataBeforeAllocatingBuffer,
                        MaxReadBufferSize = options.MaxReadBufferSize,
                        MaxWriteBufferSize = options.MaxWriteBufferSize,
                        IOQueueCount = options.IOQueueCount
                    ),
                    loggers.CreateLogger "Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets"
                )

            ValueTask<IConnectionListener>(PatientListener(socket, connections, highest, exhausted))
