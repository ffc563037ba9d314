/// The proxy's pipeline without the server and the sockets: what is left is what the proxy itself costs.
module K8sReq.TestKit.BarePipeline

open System
open System.Diagnostics
open System.Threading
open System.Threading.Tasks
open Microsoft.AspNetCore.Http
open Microsoft.AspNetCore.Http.Features
open Microsoft.Extensions.Logging
open K8sReq.Core
open K8sReq.Journal
open K8sReq.Proxy

// One for all: it has ended.
let private delivered =
    Sending.Ended(SendResult.ofOutcome (TargetOutcome.Delivered 200))

let private hosts =
    let lanes =
        [| "a"; "b" |]
        |> Array.map (fun name ->
            Targets.named name
            |> Targets.lane
                {
                    Concurrency = 10
                    QueueBytes = 1_000_000L
                }
                {
                    Overflowed = ignore
                    Recovered = fun _ _ -> ()
                })

    HostMap.ofSeq [ (Targets.named "a").Host, HostEntry(lanes, BudgetShare.ofHost ()) ]

/// To two targets that take every copy at once.
let services (tracing: Tracing) : DuplicateServices = {
    RoutesKnown = fun () -> ValueTask<bool> true
    Hosts = fun () -> hosts
    Delivery = InMemoryDelivery.services (TargetClient(fun _ _ -> delivered))
    Answered = ignore
    Refusals = RefusalLog(Abstractions.NullLogger.Instance, TimeProvider.System)
    Tap = Tap()
    UnknownHosts = UnknownHostLog(Abstractions.NullLogger.Instance, TimeProvider.System)
    Failed = raise
    IsDraining = fun () -> false
    Accounts = CopyAccounts()
    Tracing = tracing
    Clock = TimeProvider.System
    Budget = BufferBudget Int64.MaxValue
    ReadTimeout = TimeSpan.FromSeconds 30.0
    BodySizeLimit = Some 2_000_000L
    ViaName = "k8sreq"
}

let create (tracing: Tracing) : HttpFunc =
    DuplicateHandler.create (services tracing) earlyReturn

/// Tracing that a library listens to which samples every request like this, as OpenTelemetry's does. The version tells
/// whose it is: it must be nobody else's.
let traced
    (version: string)
    (sampling: ActivitySamplingResult)
    (ended: Activity -> unit)
    : Tracing * IDisposable =
    let tracing =
        new Tracing(version, [ TraceForm.W3C; TraceForm.B3Single; TraceForm.B3Multi ])

    let listener =
        new ActivityListener(
            ShouldListenTo = (fun source -> source.Version = version),
            Sample = SampleActivity(fun _ -> sampling),
            ActivityStopped = ended
        )

    ActivitySource.AddActivityListener listener

    tracing,
    {
        new IDisposable with
            member _.Dispose() =
                listener.Dispose()
                (tracing :> IDisposable).Dispose()
    }

/// A request as a webhook's sender makes it, without a body.
let request (method: string) : DefaultHttpContext =
    let ctx = DefaultHttpContext()

    match ctx.Features.Get<IHttpRequestFeature>() with
    | null -> failwith "no request"
    | request ->
        request.RawTarget <- "/hooks?source=test"
        request.Method <- method
        request.Protocol <- "HTTP/1.1"

    ctx.Request.Headers.Host <- "a.example"
    ctx.Request.Headers.UserAgent <- "test"
    ctx.Request.Headers.Accept <- "*/*"
    ctx.Request.Headers.ContentType <- "application/json"
    ctx
