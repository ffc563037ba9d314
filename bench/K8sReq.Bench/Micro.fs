/// The functions that every request goes through, and those that every change of the cluster does, one by one.
module K8sReq.Bench.Micro

open System
open System.Buffers
open System.Diagnostics
open System.Diagnostics.Metrics
open System.Threading
open System.Threading.Tasks
open BenchmarkDotNet.Attributes
open BenchmarkDotNet.Configs
open BenchmarkDotNet.Jobs
open BenchmarkDotNet.Running
open BenchmarkDotNet.Toolchains.InProcess.Emit
open K8sReq.Core
open K8sReq.Journal
open K8sReq.Proxy
open K8sReq.TestKit

// As a webhook's sender writes them.
let private lines: HeaderLine[] = [|
    struct ("Accept", "*/*")
    struct ("User-Agent", "GitHub-Hookshot/044aadd")
    struct ("Content-Type", "application/json")
    struct ("X-GitHub-Delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958")
    struct ("X-GitHub-Event", "issues")
    struct ("X-Hub-Signature-256", "sha256=d57c68ca6f92289e6987922ff26938930f6e66a2d161ef06abdf1859230aa23c")
    struct ("Connection", "keep-alive")
    struct ("Host", "h0.example")
    struct ("Content-Length", "1024")
|]

[<MemoryDiagnoser>]
type Lookup() =
    let mutable routes = HostMap<Target[]>.Empty
    let mutable host = ""

    [<Params(1, 1000, 10000)>]
    member val Hosts = 1 with get, set

    [<GlobalSetup>]
    member lookup.Setup() =
        routes <- (Inputs.routingOf (LaneDirectory Inputs.newLane) lookup.Hosts).Routes
        host <- $"H{lookup.Hosts - 1}.example:8080"

    [<Benchmark>]
    member _.FindHost() = routes.TryFind host

[<MemoryDiagnoser>]
type Request() =
    let body = ReadOnlySequence(Array.create 1024 (byte 'x'))
    let budget = BufferBudget Int64.MaxValue
    let carried = ForwardHeaders.carried (ForwardHeaders.viaValue "k8sreq") lines

    let answer =
        "HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Mon, 23 Nov 2026 22:00:00 GMT\r\nContent-Type: text/plain\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok"B

    let head = {
        Method = "POST"
        Target = "/hooks?source=bench"
        Host = "h0.example"
        Lines = carried
        ContentLength = ValueSome 1024L
    }

    let requestHead =
        RequestHead.create "POST" "/hooks?source=bench" "h0.example" false lines

    let matches = [|
        {
            RequestMatch.all with
                Path = Some(PathMatch.Prefix "/hooks")
                Headers = [
                    {
                        Name = "X-GitHub-Event"
                        Value = "issues"
                    }
                ]
        }
    |]

    let setsHeader =
        HeadEdit.ofFilters [ CopyFilter.Headers([ struct ("X-Env", "ci") ], [], []) ]

    let replacesPrefix =
        HeadEdit.ofFilters [ CopyFilter.Rewrite(Some "ci.internal", Some(PathRewrite.PrefixMatch "/x")) ]

    let captured = {
        Host = head.Host
        Method = head.Method
        FieldsEnd = int64 (WireHead.length head) - 2L
        Wire =
            let bytes = Array.zeroCreate<byte>(WireHead.length head + 1024)
            WireHead.write (bytes.AsSpan()) head
            ReadOnlySequence bytes
    }

    [<Benchmark>]
    member _.MatchRequest() =
        RequestMatch.isAnyMet requestHead matches

    [<Benchmark>]
    member _.SetHeaderOfCopy() =
        CapturedRequest.withHead (HeadEdit.changeOf matches setsHeader captured) captured

    [<Benchmark>]
    member _.RewriteCopy() =
        CapturedRequest.withHead (HeadEdit.changeOf matches replacesPrefix captured) captured

    [<Benchmark>]
    member _.FilterHeaders() =
        ForwardHeaders.carried (ForwardHeaders.viaValue "k8sreq") lines

    [<Benchmark>]
    member _.Capture1KiB() =
        let buffer = RequestBuffer(Allowance(budget, null, null), 1024L)

        if buffer.TryPutHead head && (buffer :> IBodySink).TryAppend body then
            buffer.Bytes |> ignore

        buffer.Release()

    [<Benchmark>]
    member _.ReadAnswerHead() =
        AnswerHead.read false (ReadOnlySpan answer)

[<MemoryDiagnoser>]
type Copies() =
    let lane = Inputs.newLane (Targets.named "a")

    let accepted copies =
        AcceptedRequest(TestRequest.get, 100L, 0L, null, copies, null, ignore)

    let delivered = Sending.Ended(SendResult.ofOutcome (TargetOutcome.Delivered 200))

    let services = InMemoryDelivery.services (TargetClient(fun _ _ -> delivered))

    let enter () : LaneSlot =
        match lane.TryEnter 100L with
        | LaneEntry.Entered turn -> struct (lane, turn)
        | entry -> failwith $"{entry}"

    [<Benchmark>]
    member _.LaneInAndOut() =
        enter () |> ignore
        lane.Leave 100L

    /// What the proxy does for a copy whose turn it is.
    [<Benchmark(Baseline = true)>]
    member _.FanOutToTwo() =
        let slots = ResizeArray 2
        slots.Add(enter ())
        slots.Add(enter ())
        FanOut.start services (accepted 2) slots

    /// The same by what is kept for copies that wait.
    [<Benchmark>]
    member _.FanOutToTwoByAsyncParallel() : Task =
        let request = accepted 2

        [ enter (); enter () ]
        |> List.mapi (FanOut.deliver services request)
        |> Async.Parallel
        |> Async.Ignore
        |> Async.StartAsTask
        :> Task

/// What is counted and measured of requests and copies.
[<MemoryDiagnoser>]
type Accounting() =
    let clones = [| for name in [ "a"; "b" ] -> CloneStatistics(ObjectKey.create "shop" name) |]
    let accounts = CopyAccounts()
    let http = HttpMetrics(new Meter "bench")
    let delivered = TargetOutcome.Delivered 200
    let empty = TargetOutcome.Delivered 204
    let took = TimeSpan.FromMilliseconds 0.4

    let copy (clone: CloneStatistics) (outcome: TargetOutcome) =
        accounts.Accepted clone
        accounts.AttemptEnded(clone, 1, outcome)
        http.Sent("POST", outcome, took)
        http.Delivered took
        accounts.Ended(clone, outcome, took)

    [<Benchmark>]
    member _.Served() =
        http.Served("POST", "HTTP/1.1", 202, "", took)

    [<Benchmark>]
    member _.Sent() = http.Sent("POST", delivered, took)

    [<Benchmark>]
    member _.CopyFromAcceptanceToEnd() =
        accounts.Accepted clones[0]
        accounts.AttemptEnded(clones[0], 1, delivered)
        accounts.Ended(clones[0], delivered, took)

    /// All of it, of a request to two targets which respond with one status.
    [<Benchmark(Baseline = true)>]
    member _.RequestToTwo() =
        http.Served("POST", "HTTP/1.1", 202, "", took)
        copy clones[0] delivered
        copy clones[1] delivered

    /// The same where one target responds otherwise.
    [<Benchmark>]
    member _.RequestToTwoOfTwoStatuses() =
        http.Served("POST", "HTTP/1.1", 202, "", took)
        copy clones[0] delivered
        copy clones[1] empty

/// A request without a body to two targets, all the way but for the server and the sockets.
[<MemoryDiagnoser>]
type Traced() =
    let isListened sampling =
        fst (BarePipeline.traced $"bench {sampling}" sampling ignore)

    let pipelineOf (tracing: Tracing) (fields: (string * string) list) =
        let pipeline = BarePipeline.create tracing
        let ctx = BarePipeline.request "GET"

        for name, value in fields do
            ctx.Request.Headers[name] <- value

        fun () -> pipeline ctx

    let caller = [ "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00" ]

    let notSampled = isListened ActivitySamplingResult.PropagationData
    let off = pipelineOf Tracing.Off []
    let root = pipelineOf notSampled []
    let child = pipelineOf notSampled caller

    let sampled = pipelineOf (isListened ActivitySamplingResult.AllDataAndRecorded) []

    [<Benchmark(Baseline = true)>]
    member _.Off() = off ()

    [<Benchmark>]
    member _.NotSampled() = root ()

    [<Benchmark>]
    member _.NotSampledByItsCaller() = child ()

    [<Benchmark>]
    member _.Sampled() = sampled ()

[<MemoryDiagnoser>]
type Change() =
    let lanes = LaneDirectory Inputs.newLane
    let mutable routing = Routing.initial
    let mutable port = 80

    [<Params(1, 1000, 10000)>]
    member val Hosts = 1 with get, set

    [<GlobalSetup>]
    member change.Setup() =
        routing <- Inputs.routingOf lanes change.Hosts

    [<Benchmark>]
    member _.ApplyEvent() =
        port <- if port = 80 then 81 else 80
        Routing.evolve routing (ClusterEvent.ServiceApplied(Inputs.serviceOf 0 port))

    [<Benchmark>]
    member _.ApplyAndPublish() =
        port <- if port = 80 then 81 else 80

        routing <-
            Inputs.publish
                lanes
                (Routing.evolve routing (ClusterEvent.ServiceApplied(Inputs.serviceOf 0 port)))

let run (arguments: string list) : int =
    // In this process: the project's own build is what is measured, and nothing is generated beside it.
    let config =
        DefaultConfig.Instance.AddJob(Job.ShortRun.WithToolchain InProcessEmitToolchain.Instance)

    BenchmarkSwitcher
        .FromTypes(
            [|
                typeof<Lookup>
                typeof<Request>
                typeof<Copies>
                typeof<Accounting>
                typeof<Traced>
                typeof<Change>
            |]
        )
        .Run(
            (if arguments.IsEmpty then
                 [| "--filter"; "*" |]
             else
                 Array.ofList arguments),
            config
        )
    |> ignore

    0
