module K8sReq.Proxy.Tests.TargetClientTests

open System
open System.Net
open System.Net.Sockets
open System.Threading
open System.Threading.Tasks
open Expecto
open K8sReq.Core
open K8sReq.Proxy
open K8sReq.TestKit.TestRequest
open K8sReq.TestKit

let private timeouts = {
    Write = TimeSpan.FromSeconds 10.0
    Read = TimeSpan.FromSeconds 20.0
}

let private targetAt port = Targets.at port "copy"

/// How a client is made.
type private Create = TimeProvider -> SendTimeouts -> CancellationToken -> TargetClient * IDisposable

let private sendForResult (client: TargetClient) target request =
    client.Invoke(target, request).AsTask() |> Waiting.within "the outcome"

let private sendTo client port request = task {
    let! result = sendForResult client (targetAt port) request
    return result.Outcome
}

let private sendWith (create: Create) request port = task {
    let client, connections = create TimeProvider.System timeouts CancellationToken.None
    use _ = connections
    return! sendTo client port request
}

/// What comes of a POST to a target that answers this.
let private answered (create: Create) (answer: string) (expected: TargetOutcome -> bool) name =
    testCaseTask name
    <| fun () -> task {
        use target = TestTarget.answering answer
        let! outcome = sendWith create (post "abc"B) target.Port
        Expect.isTrue (expected outcome) $"{outcome}"
    }

let private isBadAnswer outcome =
    match outcome with
    | TargetOutcome.BadAnswer _ -> true
    | _ -> false

let private isSendFailed outcome =
    match outcome with
    | TargetOutcome.SendFailed _ -> true
    | _ -> false

let private suite (name: string) (create: Create) =
    let newClient clock =
        create clock timeouts CancellationToken.None

    let answered = answered create

    testList name [
        "2xx is delivered"
        |> answered "HTTP/1.1 204 No Content\r\n\r\n" ((=) (TargetOutcome.Delivered 204))

        "a chunked answer with trailers is read to its end"
        |> answered
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n"
            ((=) (TargetOutcome.Delivered 200))

        "1xx before the answer is not the answer"
        |> answered
            "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"
            ((=) (TargetOutcome.Delivered 201))

        "5xx is no delivery"
        |> answered "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n" ((=) (TargetOutcome.Rejected 500))

        "garbage is a bad answer" |> answered "SSH-2.0-OpenSSH\r\n\r\n" isBadAnswer
        "an endless head is a bad answer"
        |> answered ("HTTP/1.1 200 OK\r\nX: " + String('x', 200_000)) isBadAnswer

        testCaseTask "a redirect is not followed"
        <| fun () -> task {
            use elsewhere = TestTarget.ok ()

            use target =
                TestTarget.answering
                    $"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:{elsewhere.Port}/\r\nContent-Length: 0\r\n\r\n"

            let! outcome = sendWith create (post "abc"B) target.Port
            Expect.equal outcome (TargetOutcome.Rejected 307) "its outcome"
            Expect.equal elsewhere.Connections 0 "nobody asked there"
        }

        testCaseTask "a cookie that a target sets is not sent back"
        <| fun () -> task {
            use target =
                TestTarget.answering "HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"

            let client, connections = newClient TimeProvider.System
            use _ = connections

            for _ in 1..2 do
                let! outcome = sendTo client target.Port get
                Expect.equal outcome (TargetOutcome.Delivered 200) "delivered"

            let! requests = target.Take 2
            Expect.isEmpty (requests |> List.collect (fun request -> request.Values "Cookie")) "no cookie"
        }

        testCaseTask "a connection is used again"
        <| fun () -> task {
            use target = TestTarget.ok ()
            let client, connections = newClient TimeProvider.System
            use _ = connections

            for _ in 1..20 do
                let! outcome = sendTo client target.Port (post "abc"B)
                Expect.equal outcome (TargetOutcome.Delivered 200) "delivered"

            Expect.equal target.Connections 1 "one for all"
        }

        testCaseTask "a target that refuses"
        <| fun () -> task {
            match! sendWith create (post "abc"B) (TestTarget.refusedPort ()) with
            | TargetOutcome.ConnectFailed reason -> Expect.stringContains reason "refused" "the system's word"
            | outcome -> failtest $"{outcome}"
        }

        testCaseTask "a target that closes without an answer"
        <| fun () -> task {
            use target =
                new TestTarget(fun keep _ reader -> task {
                    let! message = reader.Read()
                    Option.iter keep message
                })

            let! outcome = sendWith create (post "abc"B) target.Port
            Expect.isTrue (isSendFailed outcome) $"{outcome}"
        }

        testCaseTask "a target that resets in the middle of a body"
        <| fun () -> task {
            use target =
                new TestTarget(fun _ stream reader -> task {
                    let! _ = reader.ReadHead()
                    stream.Socket.LingerState <- LingerOption(true, 0)
                    stream.Socket.Close()
                })

            let! outcome = sendWith create (post (Array.zeroCreate 5_000_000)) target.Port
            Expect.isTrue (isSendFailed outcome) $"{outcome}"
        }

        for name, request in [ "a request with a body", post "abc"B; "a request without a body", get ] do
            testCaseTask $"a target that never answers {name}"
            <| fun () -> task {
                use target = TestTarget.silent ()
                let clock = TestClock()

                // The target may have the request before the client knows that it has sent it: its time for that is not
                // to be over meanwhile.
                let patient = {
                    timeouts with
                        Write = TimeSpan.FromHours 1.0
                }

                let client, connections = create clock patient CancellationToken.None
                use _ = connections
                let sending = sendTo client target.Port request
                let! _ = target.Next()

                do!
                    Waiting.until "the timeout" (fun () ->
                        clock.Advance timeouts.Read
                        Task.FromResult sending.IsCompleted)

                let! outcome = sending
                Expect.equal outcome (TargetOutcome.TimedOut TimeoutPhase.Answering) "timed out"
            }

        testCaseTask "a target that accepts and never reads"
        <| fun () -> task {
            use target = new TestTarget(fun _ _ _ -> task { do! Task.Delay Timeout.Infinite })

            let clock = TestClock()
            let client, connections = newClient clock
            use _ = connections
            // More than the system's buffers take.
            let sending = sendTo client target.Port (post (Array.zeroCreate 50_000_000))

            do! clock.TimerStarted timeouts.Write
            clock.Advance timeouts.Write
            let! outcome = sending
            Expect.equal outcome (TargetOutcome.TimedOut TimeoutPhase.Sending) "timed out"
        }

        testCaseTask "an answer before the request was read is the answer"
        <| fun () -> task {
            use target =
                new TestTarget(fun _ stream reader -> task {
                    match! reader.ReadHead() with
                    | None -> ()
                    | Some(_, fields) ->
                        let answer = "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"B
                        do! stream.WriteAsync(answer, 0, answer.Length)
                        let! _ = reader.ReadBody fields
                        ()
                })

            let! outcome = sendWith create (post (Array.zeroCreate 50_000_000)) target.Port
            Expect.equal outcome (TargetOutcome.Rejected 413) "the target's answer"
        }

        testCaseTask "an endless answer does not keep the send"
        <| fun () -> task {
            use target =
                new TestTarget(fun _ stream reader -> task {
                    let! _ = reader.Read()
                    do! stream.WriteAsync("HTTP/1.1 200 OK\r\n\r\n"B, 0, 19)
                    let zeros = Array.zeroCreate<byte> 65536

                    while true do
                        do! stream.WriteAsync(zeros, 0, zeros.Length)
                })

            let! outcome = sendWith create (post "abc"B) target.Port
            Expect.equal outcome (TargetOutcome.Delivered 200) "by its status"
        }

        testCaseTask "a target with a limit of its own for an attempt, whatever the attempt is at"
        <| fun () -> task {
            use silent = TestTarget.silent ()

            use deaf = new TestTarget(fun _ _ _ -> task { do! Task.Delay Timeout.Infinite })

            let limit = TimeSpan.FromSeconds 3.0

            for port, request in [ silent.Port, get; deaf.Port, post (Array.zeroCreate 50_000_000) ] do
                let clock = TestClock()
                let client, connections = newClient clock
                use _ = connections

                let target = {
                    targetAt port with
                        Delivery = {
                            DeliveryPolicy.byDefault with
                                AttemptTimeout = Some limit
                        }
                }

                let sending = sendForResult client target request
                do! clock.TimerStarted limit
                clock.Advance limit
                let! result = sending

                match result.Outcome with
                | TargetOutcome.TimedOut _ -> ()
                | outcome -> failtest $"{outcome}"
        }

        testCaseTask "what a target says of when to come again, in seconds or as a date"
        <| fun () -> task {
            let clock = TestClock()
            clock.SetUtcNow(DateTimeOffset(2030, 1, 1, 0, 0, 0, TimeSpan.Zero))
            let client, connections = newClient clock
            use _ = connections

            for field, expected in
                [
                    "Retry-After: 7\r\n", ValueSome(TimeSpan.FromSeconds 7.0)
                    "Retry-After: Tue, 01 Jan 2030 00:01:00 GMT\r\n", ValueSome(TimeSpan.FromMinutes 1.0)
                    "Retry-After: soon\r\n", ValueNone
                    "", ValueNone
                ] do
                use target =
                    TestTarget.answering $"HTTP/1.1 503 No\r\n{field}Content-Length: 0\r\n\r\n"

                let! result = sendForResult client (targetAt target.Port) get
                Expect.equal (result.Outcome, result.RetryAfter) (TargetOutcome.Rejected 503, expected) field
        }

        testCaseTask "a fresh connection that is closed without an answer is not repeated"
        <| fun () -> task {
            use target =
                new TestTarget(fun keep _ reader -> task {
                    let! message = reader.Read()
                    Option.iter keep message
                })

            let! outcome = sendWith create (post "abc"B) target.Port
            Expect.isTrue (isSendFailed outcome) $"{outcome}"
            Expect.equal target.Connections 1 "asked once"
        }

        testCaseTask "a kept connection that breaks after a byte of an answer is not repeated"
        <| fun () -> task {
            use target =
                new TestTarget(fun keep stream reader -> task {
                    match! reader.Read() with
                    | None -> ()
                    | Some message ->
                        keep message
                        do! stream.WriteAsync("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"B, 0, 38)
                        let! second = reader.Read()
                        Option.iter keep second
                        do! stream.WriteAsync("H"B, 0, 1)
                })

            let client, connections = newClient TimeProvider.System
            use _ = connections
            let! first = sendTo client target.Port (post "first"B)
            Expect.equal first (TargetOutcome.Delivered 200) "delivered"
            let! second = sendTo client target.Port (post "second"B)
            Expect.isTrue (isSendFailed second || isBadAnswer second) $"{second}"
            let! copies = target.Take 2

            Expect.equal
                (copies |> List.map _.Text)
                [ "first"; "second" ]
                "it may have been taken: not sent again"

            Expect.equal (target.Connections, target.Waiting) (1, 0) "one connection"
        }

        testCaseTask "a copy that is cancelled"
        <| fun () -> task {
            use target = TestTarget.silent ()
            use stop = new CancellationTokenSource()
            let client, connections = create TimeProvider.System timeouts stop.Token
            use _ = connections
            let sending = sendTo client target.Port (post "abc"B)
            let! _ = target.Next()
            stop.Cancel()
            let! outcome = sending
            Expect.equal outcome TargetOutcome.Cancelled "cancelled"
        }

        testCaseTask "a copy that comes after the others have been cancelled"
        <| fun () -> task {
            use target = TestTarget.ok ()
            use stop = new CancellationTokenSource()
            let client, connections = create TimeProvider.System timeouts stop.Token
            use _ = connections
            stop.Cancel()
            let! outcome = sendTo client target.Port (post "abc"B)
            Expect.equal outcome TargetOutcome.Cancelled "cancelled"
        }
    ]

let tests =
    testList "TargetClient" [
        for name, transport in Transports.all do
            suite name (fun clock timeouts stop ->
                TargetClient.create
                    (transport ())
                    clock
                    {
                        Timeouts = timeouts
                        MaxAge = TimeSpan.Zero
                    }
                    stop)
        suite "over SocketsHttpHandler" Baseline.SocketsHttpClient.create
    ]
