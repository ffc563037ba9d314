/// Whatever one target does, the client's answer and the other targets do not notice; and no copy is lost in silence.
module K8sReq.Proxy.Tests.IsolationTests

open System
open System.Threading.Tasks
open Expecto
open K8sReq.Core
open K8sReq.Proxy
open K8sReq.TestKit.HttpMessage
open K8sReq.TestKit

let private post (body: string) =
    $"POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: {body.Length}\r\n\r\n{body}"

let private send (proxy: TestProxy) request = TestClient.roundTrip proxy.Port request

/// A target that answers each request when it is told to.
let private held () =
    let answers = new System.Threading.SemaphoreSlim(0)

    let target =
        new TestTarget(fun keep stream reader -> task {
            let mutable isOpen = true

            while isOpen do
                match! reader.Read() with
                | None -> isOpen <- false
                | Some message ->
                    keep message
                    do! answers.WaitAsync()
                    do! stream.WriteAsync("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"B, 0, 38)
        })

    target, answers

let private oneAtOnce queueBytes (settings: Settings) = {
    settings with
        Lane = {
            Concurrency = 1
            QueueBytes = queueBytes
        }
}

let private retryAfter (answer: Message) =
    TestClient.status answer, answer.Values "Retry-After"

let tests =
    testList "isolation" [
        testCaseTask "a full lane drops its own copies; the others get theirs, and the client gets 202"
        <| fun () -> task {
            let slow, answers = held ()
            use slow = slow
            use good = TestTarget.ok ()
            // No queue: beside the one that is sent there is room for none.
            use! proxy =
                TestProxy.Start(Manifests.route "a.example" [ slow.Port; good.Port ], oneAtOnce 0L)

            for n in 1..10 do
                let! answer = send proxy (post $"{n}")
                Expect.equal (TestClient.status answer) 202 "accepted"
                let! copy = good.Next()
                Expect.equal copy.Text $"{n}" "the good target has it"
                // Its lane is free again before the next one comes.
                do! Waiting.until "the delivery" (fun () -> Task.FromResult(proxy.Totals.Delivered = int64 n))

            let totals = proxy.Totals

            Expect.equal
                (totals.Accepted, totals.Delivered, totals.Dropped, totals.Pending)
                (20L, 10L, 9L, 1L)
                "each is accounted for"

            let told = proxy.Log |> List.filter (fun line -> line.Contains "dropping copies")
            Expect.equal told.Length 1 "the log says so once"
            Expect.stringContains told.Head "shop/copy-0" "of whom"
            answers.Release() |> ignore
            do! proxy.Settled()

            Expect.exists
                proxy.Log
                (fun line -> line.Contains "has room again: 9 copies dropped")
                "and when it is over"
        }

        testCaseTask "when no lane has room the client gets 503 with Retry-After, and nothing is copied"
        <| fun () -> task {
            let slow, answers = held ()
            use slow = slow
            use! proxy = TestProxy.Start(Manifests.route "a.example" [ slow.Port ], oneAtOnce 0L)
            let! first = send proxy (post "first")
            Expect.equal (TestClient.status first) 202 "accepted"
            let! _ = slow.Next()
            let! second = send proxy (post "second")
            Expect.equal (retryAfter second) (503, [ "1" ]) "refused"
            Expect.equal proxy.Totals.Accepted 1L "and not counted as accepted"
            answers.Release() |> ignore
            do! proxy.Settled()
            let! third = send proxy (post "third")
            Expect.equal (TestClient.status third) 202 "accepted again"
            let! copy = slow.Next()
            Expect.equal copy.Text "third" "the second was never sent"
            answers.Release() |> ignore
            do! proxy.Settled()
        }

        testCaseTask "copies that wait are sent when their turn comes, each once"
        <| fun () -> task {
            let slow, answers = held ()
            use slow = slow

            use! proxy =
                TestProxy.Start(Manifests.route "a.example" [ slow.Port ], oneAtOnce 1_000_000L)

            for n in 1..20 do
                let! answer = send proxy (post $"{n}")
                Expect.equal (TestClient.status answer) 202 "accepted at once"

            Expect.equal proxy.Totals.Pending 20L "all wait"
            answers.Release 20 |> ignore
            let! copies = slow.Take 20
            Expect.equal (copies |> List.map _.Text) [ for n in 1..20 -> string n ] "in their order"
            do! proxy.Settled()
            Expect.equal (proxy.Totals.Delivered, slow.Waiting) (20L, 0) "and each once"
            Expect.equal slow.Connections 1 "one after the other"
        }

        testCaseTask "copies that wait for a target that is no longer routed are not sent"
        <| fun () -> task {
            let slow, answers = held ()
            use slow = slow
            use good = TestTarget.ok ()

            use! proxy =
                TestProxy.Start(Manifests.route "a.example" [ slow.Port ], oneAtOnce 1_000_000L)

            for n in 1..5 do
                let! answer = send proxy (post $"{n}")
                Expect.equal (TestClient.status answer) 202 "accepted"

            let! _ = slow.Next()
            proxy.Folder.Write("all.yaml", Manifests.route "a.example" [ good.Port ])

            do!
                Waiting.until "the end of those that wait" (fun () ->
                    Task.FromResult(proxy.Totals.Dropped = 4L))

            answers.Release 5 |> ignore
            do! proxy.Settled()
            Expect.equal (proxy.Totals.Delivered, slow.Waiting) (1L, 0) "only the one that was being sent"
        }

        testCaseTask "a request whose routes change while its body comes goes where they lead then"
        <| fun () -> task {
            use before = TestTarget.ok ()
            use after = TestTarget.ok ()
            use! proxy = TestProxy.Start(Manifests.route "a.example" [ before.Port ])
            use! client = TestClient.Connect proxy.Port

            do!
                client.Send
                    "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"

            let! go = client.Answer()
            Expect.equal (TestClient.status go) 100 "the proxy has begun to read"
            proxy.Folder.Write("all.yaml", Manifests.route "a.example" [ after.Port ])

            do!
                Waiting.until "the new route" (fun () -> task {
                    let! _ = send proxy (post "x")
                    do! proxy.Settled()
                    return after.Waiting > 0
                })

            let seen = before.Waiting
            do! client.Send "abc"
            let! answer = client.Answer()
            Expect.equal (TestClient.status answer) 202 "accepted"
            do! proxy.Settled()
            Expect.equal before.Waiting seen "nothing goes to the old address"
            let! copies = after.Take after.Waiting
            Expect.exists copies (fun copy -> copy.Text = "abc") "it went to the new one"
        }

        testCaseTask
            "when the memory for requests is spent the client gets 503 with Retry-After, and all of it comes back"
        <| fun () -> task {
            let slow, answers = held ()
            use slow = slow

            let budget (settings: Settings) = {
                settings with
                    BufferBytes = 400_000L
                    BodySizeLimit = None
            }

            use! proxy = TestProxy.Start(Manifests.route "a.example" [ slow.Port ], budget)
            let big = String('x', 60_000)
            let! first = send proxy (post big)
            let! second = send proxy (post big)
            let! third = send proxy (post big)
            Expect.equal (TestClient.status first, TestClient.status second) (202, 202) "two fit"
            Expect.equal (retryAfter third) (503, [ "1" ]) "a third does not"
            use! client = TestClient.Connect proxy.Port
            // Nor does a body that says nothing of its length: it is not read to its end.
            do! client.Send "POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n"
            do! client.Send $"EA60\r\n{big}\r\n"
            let! chunked = client.Answer()
            Expect.equal (retryAfter chunked) (503, [ "1" ]) "however it comes"
            answers.Release 2 |> ignore
            do! proxy.Settled()
            Expect.equal (proxy.Totals.Accepted, proxy.Totals.Delivered) (2L, 2L) "the two are delivered"

            for _ in 1..20 do
                answers.Release 2 |> ignore
                let! one = send proxy (post big)
                let! two = send proxy (post big)

                Expect.equal
                    (TestClient.status one, TestClient.status two)
                    (202, 202)
                    "none of the memory is lost"

                do! proxy.Settled()
        }

        testCaseTask "a host that holds all of the memory that it may leaves the others theirs"
        <| fun () -> task {
            use silent = TestTarget.silent ()
            use good = TestTarget.ok ()

            let manifests =
                Manifests.service "silent" silent.Port
                + Manifests.clone "silent" "silent.example" "silent"
                + Manifests.service "good" good.Port
                + Manifests.clone "good" "good.example" "good"

            let small (settings: Settings) = {
                settings with
                    BufferBytes = 1_000_000L
                    GracefulShutdownTimeout = TimeSpan.Zero
            }

            use! proxy = TestProxy.Start(manifests, small)
            let big = String('x', 60_000)

            let postTo host body =
                $"POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: {String.length body}\r\nConnection: close\r\n\r\n{body}"

            let statuses = ResizeArray()

            for _ in 1..20 do
                let! answer = send proxy (postTo "silent.example" big)
                statuses.Add(TestClient.status answer)

            Expect.contains statuses 503 "its memory is spent"
            Expect.contains statuses 202 "after some of its requests"

            for _ in 1..20 do
                let! answer = send proxy (postTo "good.example" big)
                Expect.equal (TestClient.status answer) 202 "the other host's are taken"
                let! _ = good.Next()
                ()
        }

        testCaseTask "a target that never answers large copies holds no more of them than may wait for it"
        <| fun () -> task {
            use silent = TestTarget.silent ()

            let limited (settings: Settings) = {
                settings with
                    Lane = {
                        Concurrency = 256
                        QueueBytes = 200_000L
                    }
                    GracefulShutdownTimeout = TimeSpan.Zero
            }

            use! proxy = TestProxy.Start(Manifests.route "a.example" [ silent.Port ], limited)
            let big = String('x', 60_000)

            for _ in 1..10 do
                let! _ = send proxy (post big)
                ()

            // Three are being sent, three wait, and the others were not taken.
            Expect.equal (proxy.Totals.Accepted, proxy.Totals.Pending) (6L, 6L) "six of ten"
        }

        testCaseTask "a RequestClone whose Service moves while a request is offered gets one copy, not two"
        <| fun () -> task {
            let limits = {
                Concurrency = 10
                QueueBytes = 1_000_000L
            }

            let events = {
                Overflowed = ignore
                Recovered = fun _ _ -> ()
            }

            let lane name =
                Targets.named name |> Targets.lane limits events

            let first, other = lane "a", lane "b"
            // The table changes after the first of the two has been offered the copy.
            let moved, otherMoved = lane "a", lane "b"
            let host = (Targets.named "a").Host

            let hosts lanes =
                HostMap.ofSeq [ host, HostEntry(lanes, BudgetShare.ofHost ()) ]

            let before, after = hosts [| first; other |], hosts [| moved; otherMoved |]

            let mutable asked = 0
            let sent = System.Collections.Concurrent.ConcurrentQueue<string>()

            let services = {
                BarePipeline.services Tracing.Off with
                    Hosts =
                        fun () ->
                            asked <- asked + 1

                            // Asked for the target, then to offer the copy to its lanes, then because one was retired.
                            if asked = 2 then
                                other.Retire()

                            if asked < 3 then before else after
                    Delivery = {
                        (BarePipeline.services Tracing.Off).Delivery with
                            Client =
                                InMemoryDelivery.clientOf (fun target _ ->
                                    sent.Enqueue(string target.Clone)

                                    ValueTask<SendResult>(SendResult.ofOutcome (TargetOutcome.Delivered 200)))
                    }
            }

            let! _ = DuplicateHandler.create services earlyReturn (BarePipeline.request "GET")

            Expect.equal (asked, sent |> Seq.sort |> List.ofSeq) (3, [ "shop/a"; "shop/b" ]) "one for each"
        }

        testCaseTask "announced bodies that never come take no memory from those that do"
        <| fun () -> task {
            use good = TestTarget.ok ()

            let small (settings: Settings) = {
                settings with
                    BufferBytes = 2_000_000L
            }

            use! proxy = TestProxy.Start(Manifests.route "a.example" [ good.Port ], small)

            let! waiting =
                Task.WhenAll [
                    for _ in 1..40 ->
                        task {
                            let! client = TestClient.Connect proxy.Port

                            do!
                                client.Send
                                    "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 65000\r\n\r\n"

                            return client
                        }
                ]

            for _ in 1..20 do
                let! answer = send proxy (post (String('x', 30_000)))
                Expect.equal (TestClient.status answer) 202 "a request that comes whole"

            for client in waiting do
                (client :> IDisposable).Dispose()
        }

        testCaseTask
            "of heads that do not come at once, so many are waited for, and the other connections end"
        <| fun () -> task {
            use good = TestTarget.ok ()

            let small (settings: Settings) = {
                settings with
                    BufferBytes = 2_000_000L
            }

            use! proxy = TestProxy.Start(Manifests.route "a.example" [ good.Port ], small)

            let! clients =
                Task.WhenAll [
                    for _ in 1..20 ->
                        task {
                            let! client = TestClient.Connect proxy.Port
                            do! client.Send "POST / HTTP/1.1\r\nHost: a.example\r\n"
                            return client
                        }
                ]

            // Three quarters of the memory, of which each takes a sixteenth.
            let expected = 12
            let closing = [ for client in clients -> client, client.IsClosed() ]

            let ended () =
                closing |> List.filter (fun (_, closed) -> closed.IsCompleted)

            do!
                Waiting.until "those for which there is no room to end" (fun () ->
                    Task.FromResult((ended ()).Length >= clients.Length - expected))

            // The others are waited for: they get their answers.
            for client, closed in closing do
                if not closed.IsCompleted then
                    do! client.Send "Content-Length: 2\r\n\r\nhi"
                    let! isClosed = closed
                    Expect.isFalse isClosed "something comes"
                    let! answer = client.Answer()
                    Expect.equal (TestClient.status answer) 202 "accepted"

            Expect.equal proxy.Totals.Accepted (int64 expected) "so many"

            for client in clients do
                (client :> IDisposable).Dispose()

            for _ in 1..20 do
                let! answer = send proxy (post "hi")
                Expect.equal (TestClient.status answer) 202 "none of the memory is lost"
        }

        testCaseTask "one target that never answers: the other has every copy, and the clients their answers"
        <| fun () -> task {
            use silent = TestTarget.silent ()
            use good = TestTarget.ok ()

            let limited (settings: Settings) = {
                settings with
                    Lane = {
                        Concurrency = 4
                        QueueBytes = 20_000L
                    }
            }

            use! proxy =
                TestProxy.Start(Manifests.route "a.example" [ silent.Port; good.Port ], limited)

            let client _ = task {
                use! client = TestClient.Connect proxy.Port

                for _ in 1..50 do
                    do! client.Send(post "x")
                    let! answer = client.Answer()
                    Expect.equal (TestClient.status answer) 202 "accepted"
                    let! _ = good.Next()
                    ()
            }

            let! _ = Task.WhenAll [ for n in 1..4 -> client n ]

            do! Waiting.until "the deliveries" (fun () -> Task.FromResult(proxy.Totals.Delivered = 200L))

            let totals = proxy.Totals
            Expect.equal (totals.Accepted, totals.Failed) (400L, 0L) "all accepted"

            Expect.isLessThanOrEqual
                silent.Connections
                4
                "the silent one has no more connections than its lane sends"

            Expect.isGreaterThan totals.Dropped 100L "most of its copies were dropped"
            (silent :> IDisposable).Dispose()
            do! proxy.Settled()
        }
    ]
