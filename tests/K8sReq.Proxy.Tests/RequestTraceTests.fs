/// The spans of a request within this process.
module K8sReq.Proxy.Tests.RequestTraceTests

open System.Buffers
open System.Collections.Concurrent
open System.Diagnostics
open System.Text
open Expecto
open K8sReq.Core
open K8sReq.Proxy
open K8sReq.TestKit

let private kinds (ended: ConcurrentQueue<Activity>) =
    ended |> Seq.map (fun span -> span.Kind, span.Status) |> List.ofSeq

let private text (request: CapturedRequest) =
    let wire = request.Wire
    Encoding.Latin1.GetString(BuffersExtensions.ToArray &wire)

let private pieces (request: CapturedRequest) =
    let mutable count = 0

    for _ in request.Wire do
        count <- count + 1

    count

let tests =
    testList "a request's trace" [
        testCaseTask "a span ends, and says so, when the pipeline throws"
        <| fun () -> task {
            let ended = ConcurrentQueue<Activity>()

            let tracing, listening =
                BarePipeline.traced "throws" ActivitySamplingResult.AllDataAndRecorded ended.Enqueue

            use _ = listening

            let pipeline =
                DuplicateHandler.create
                    {
                        BarePipeline.services tracing with
                            Hosts = fun () -> failwith "a defect"
                    }
                    earlyReturn

            let! caught = task {
                try
                    let! _ = pipeline (BarePipeline.request "GET")
                    return ""
                with error ->
                    return error.Message
            }

            Expect.equal caught "a defect" "the server is told"
            Expect.equal (kinds ended) [ ActivityKind.Server, ActivityStatusCode.Error ] "it has ended"
        }

        testCaseTask "nothing that runs later is a child of a request that came by"
        <| fun () -> task {
            for sampling in
                [
                    ActivitySamplingResult.AllDataAndRecorded
                    ActivitySamplingResult.PropagationData
                ] do
                let current = ConcurrentQueue<bool>()
                let tracing, listening = BarePipeline.traced "current" sampling ignore
                use _ = listening

                let note () =
                    current.Enqueue(isNull Activity.Current)

                let services = BarePipeline.services tracing

                let pipeline =
                    DuplicateHandler.create
                        {
                            services with
                                Delivery = {
                                    services.Delivery with
                                        Client =
                                            TargetClient(fun target request ->
                                                note ()
                                                services.Delivery.Client.Invoke(target, request))
                                        Observer =
                                            InMemoryDelivery.observing (fun _ _ -> ()) (fun _ _ _ -> note ())
                                }
                        }
                        earlyReturn

                let! _ = pipeline (BarePipeline.request "GET")
                note ()
                Expect.equal (List.ofSeq current) (List.replicate 5 true) $"{sampling}"
        }

        testCaseTask "a request that is not sampled has one head for all of its copies, and no spans"
        <| fun () -> task {
            let ended = ConcurrentQueue<Activity>()
            let sent = ConcurrentQueue<CapturedRequest>()

            let tracing, listening =
                BarePipeline.traced "one head" ActivitySamplingResult.PropagationData ended.Enqueue

            use _ = listening
            let services = BarePipeline.services tracing

            let pipeline =
                DuplicateHandler.create
                    {
                        services with
                            Delivery = {
                                services.Delivery with
                                    Client =
                                        TargetClient(fun target request ->
                                            sent.Enqueue request
                                            services.Delivery.Client.Invoke(target, request))
                            }
                    }
                    earlyReturn

            let! _ = pipeline (BarePipeline.request "GET")

            match List.ofSeq sent with
            | [ first; second ] ->
                Expect.isTrue (obj.ReferenceEquals(first, second)) "the same"
                Expect.isTrue first.Wire.IsSingleSegment "in one piece: one call sends it"
            | requests -> failwith $"{requests.Length} copies"

            Expect.isEmpty ended "no spans"
        }

        test "a copy with fields of its own is one piece, unless its body is long" {
            for length, expected in [ 0, 1; 10_000, 1; 100_000, 2 ] do
                let body = Array.create length (byte 'x')
                let request = TestRequest.create "POST" "/" (Some body)

                let copy =
                    CapturedRequest.withHead
                        (HeadChange.adding [| struct ("a", "b"); struct ("c", "d") |])
                        request

                Expect.equal (pieces copy) expected $"{length} bytes"

                let head, rest =
                    (text request).Split("\r\n\r\n", 2) |> fun parts -> parts[0], parts[1]

                Expect.equal (text copy) $"{head}\r\na: b\r\nc: d\r\n\r\n{rest}" "at the end of the head"
        }
    ]
