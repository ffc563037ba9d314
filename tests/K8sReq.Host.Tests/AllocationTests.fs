/// What a request allocates on its way through the proxy, without the server and the sockets. Every byte is paid for
/// twice: when it is allocated and when it is collected. The limits are what was measured (bench/NOTES.md) with a tenth
/// added; whoever needs more raises them, knowingly.
module K8sReq.Host.Tests.AllocationTests

open System
open System.Threading
open System.Threading.Tasks
open Expecto
open Microsoft.AspNetCore.Http
open Microsoft.AspNetCore.Http.Features
open K8sReq.Core
open K8sReq.Host.Http
open K8sReq.Host.Proxy
open K8sReq.Host.Telemetry

let private delivered = SendResult.ofOutcome (TargetOutcome.Delivered 200)

let private lanes =
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

let private pipeline: HttpFunc =
    DuplicateHandler.create
        {
            FindLanes = fun _ -> lanes
            Delivery = {
                Client = fun _ _ -> ValueTask<SendResult> delivered
                Clock = TimeProvider.System
                Jitter = fun () -> 1.0
                Retrying = ignore
                Attempted = fun _ _ _ _ -> ()
                Stop = CancellationToken.None
            }
            Report = fun _ _ _ _ -> ()
            Answered = fun _ _ _ _ -> ()
            Ledger = CopyLedger()
            Tracing = Tracing.Off
            Clock = TimeProvider.System
            Budget = BufferBudget Int64.MaxValue
            ReadTimeout = TimeSpan.FromSeconds 30.0
            BodySizeLimit = Some 2_000_000L
            ViaName = "k8sreq"
        }
        earlyReturn

let private contextWith (method: string) =
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

/// Bytes for one of many requests without a body, after the first ones.
let private measure () : float =
    let ctx = contextWith "GET"

    let send () =
        let handled = pipeline ctx

        if not handled.IsCompletedSuccessfully then
            failwith "it was not done at once"

    for _ in 1..2000 do
        send ()

    let before = GC.GetAllocatedBytesForCurrentThread()

    for _ in 1..1000 do
        send ()

    float (GC.GetAllocatedBytesForCurrentThread() - before) / 1000.0

let tests =
    testSequenced
    <| testList "allocations" [
        test "of a request without a body to two targets" {
            Expect.isLessThan (measure ()) 2156.0 "1,960 were measured"
        }
    ]
