/// HTTP/2 without TLS on the port that HTTP/1.1 is served on, for clients with prior knowledge (RFC 9113 section 3.3).
module K8sReq.Proxy.Http2Preface

open System
open System.Buffers
open System.Threading
open System.Threading.Tasks
open Microsoft.AspNetCore.Connections
open Microsoft.AspNetCore.Connections.Features
open Microsoft.AspNetCore.Http.Features
open Microsoft.AspNetCore.Server.Kestrel.Core
open Microsoft.AspNetCore.Server.Kestrel.Core.Features

// No HTTP/1.1 method that anybody uses begins so, and three bytes are enough to tell.
let private start = "PRI"B

[<RequireQualifiedAccess>]
type private Verdict =
    | Http1
    | Http2
    | TooFewBytes

let private judge (received: ReadOnlySequence<byte>) =
    let length = int (min received.Length (int64 start.Length))
    let first = received.Slice(0L, int64 length).ToArray()

    if not (first.AsSpan().SequenceEqual(start.AsSpan(0, length))) then
        Verdict.Http1
    elif length = start.Length then
        Verdict.Http2
    else
        Verdict.TooFewBytes

/// What Kestrel looks at to choose a protocol where an endpoint speaks both: the outcome of a TLS handshake.
type private PriorKnowledge() =
    interface ITlsApplicationProtocolFeature with
        member _.ApplicationProtocol = ReadOnlyMemory "h2"B

    interface ITlsConnectionFeature with
        member _.ClientCertificate
            with get () = null
            and set _ = ()

        member _.GetClientCertificateAsync _ = Task.FromResult null

/// Adds to an endpoint that speaks HTTP/1.1 and HTTP/2 the choice between them by a connection's first bytes.
/// Without it Kestrel speaks HTTP/1.1 to everyone who does not use TLS. A connection that sends nothing for
/// `patience` is closed: Kestrel's own limits start only after this.
let recognise (patience: TimeSpan) (endpoint: ListenOptions) : unit =
    let sniff (next: ConnectionDelegate) (connection: ConnectionContext) : Task = task {
        // A server that stops asks its connections to end; nobody else hears it before the protocol is chosen.
        let stopRequested =
            match connection.Features.Get<IConnectionLifetimeNotificationFeature>() with
            | null -> CancellationToken.None
            | lifetime -> lifetime.ConnectionClosedRequested

        use waiting = CancellationTokenSource.CreateLinkedTokenSource stopRequested
        let input = connection.Transport.Input
        let mutable verdict = Verdict.TooFewBytes
        let mutable isOver = false

        try
            while verdict = Verdict.TooFewBytes && not isOver do
                let pending = input.ReadAsync waiting.Token

                if not pending.IsCompleted then
                    waiting.CancelAfter patience

                let! result = pending
                verdict <- judge result.Buffer
                isOver <- result.IsCompleted

                // Nothing is consumed; what was looked at is marked so only if more is needed.
                if verdict = Verdict.TooFewBytes then
                    input.AdvanceTo(result.Buffer.Start, result.Buffer.End)
                else
                    input.AdvanceTo result.Buffer.Start
        with
        | :? OperationCanceledException ->
            connection.Abort(ConnectionAbortedException "No request came.")
            isOver <- true
        | :? ConnectionResetException -> isOver <- true

        waiting.CancelAfter Timeout.InfiniteTimeSpan

        if verdict = Verdict.Http2 then
            let priorKnowledge = PriorKnowledge()
            connection.Features.Set<ITlsApplicationProtocolFeature> priorKnowledge
            connection.Features.Set<ITlsConnectionFeature> priorKnowledge

        if not isOver || verdict <> Verdict.TooFewBytes then
            do! next.Invoke connection
    }

    endpoint.Use(fun next -> ConnectionDelegate(sniff next)) |> ignore
