module K8sReq.Proxy.Tests.EventLoopTests

open System
open System.Collections.Concurrent
open System.Diagnostics
open System.Net
open System.Net.Sockets
open System.Threading
open System.Threading.Tasks
open Expecto
open K8sReq.Proxy
open K8sReq.TestKit

// A loop for one test, and what it has said of defects.
let private withLoop (work: EventLoop -> ConcurrentQueue<exn> -> Task<unit>) : Task<unit> = task {
    let defects = ConcurrentQueue<exn>()
    let loop = EventLoop.Start("test", defects.Enqueue)

    try
        do! work loop defects
    finally
        loop.StopAsync().Wait Waiting.patience |> ignore
}

let private onLoop (loop: EventLoop) (work: unit -> 'T) : Task<'T> =
    let ended =
        TaskCompletionSource<'T> TaskCreationOptions.RunContinuationsAsynchronously

    loop.Post(fun () -> ended.SetResult(work ()))
    ended.Task |> Waiting.within "the loop"

let private handler (happened: int -> unit) = LoopHandler happened

// Two ends of a connection: a socket, and a descriptor that never blocks.
let private connected () : Socket * int =
    use listener =
        new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp)

    listener.Bind(IPEndPoint(IPAddress.Loopback, 0))
    listener.Listen 1

    let client =
        new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp)

    client.Connect(nonNull listener.LocalEndPoint)
    client, (Libc.accept (int listener.Handle)).Descriptor

let private watched = Events.readable ||| Events.inputEnded ||| Events.edgeTriggered

let private turns =
    testList "the clock of turns" [
        testCaseTask "stands still within a turn, and goes on with the next ones"
        <| fun () ->
            withLoop (fun loop _ -> task {
                let clock = loop.ClockOfTurns TimeProvider.System

                let! before, first, second, after =
                    onLoop loop (fun () ->
                        let first = clock.GetTimestamp()
                        let before = TimeProvider.System.GetTimestamp()
                        SpinWait.SpinUntil(fun () -> TimeProvider.System.GetTimestamp() > before + 1000L)
                        before, first, clock.GetTimestamp(), TimeProvider.System.GetTimestamp())

                Expect.equal second first "it stands still"
                Expect.isLessThanOrEqual first before "as it was when the turn began"

                do!
                    Waiting.until "a later turn" (fun () ->
                        onLoop loop (fun () -> clock.GetTimestamp() > after))
            })

        testCaseTask "is any other clock, as it is"
        <| fun () ->
            withLoop (fun loop _ -> task {
                let clock = TestClock()
                Expect.isTrue (Object.ReferenceEquals(loop.ClockOfTurns clock, clock)) "the same"
            })
    ]

let private posting =
    testList "what is posted" [
        testCaseTask "is done on the loop's thread, in its order"
        <| fun () ->
            withLoop (fun loop _ -> task {
                let seen = ConcurrentQueue<int>()

                for index in 0..99 do
                    loop.Post(fun () -> seen.Enqueue index)

                let! isThere = onLoop loop (fun () -> loop.IsHere)
                Expect.isTrue isThere "on the loop"
                Expect.isFalse loop.IsHere "not here"
                Expect.equal (List.ofSeq seen) [ 0..99 ] "all of it, in order"
            })

        // The wake-up that is lost leaves work behind for ever: what is awaited in each round finds it.
        testCaseTask "from many threads at once is all done"
        <| fun () ->
            withLoop (fun loop _ -> task {
                for round in 1..200 do
                    let mutable count = 0

                    let posters = [
                        for _ in 1..4 ->
                            Task.Run(fun () ->
                                for _ in 1..25 do
                                    loop.Post(fun () -> count <- count + 1))
                    ]

                    do! Task.WhenAll posters
                    let! seen = onLoop loop (fun () -> count)
                    Expect.equal seen 100 $"round {round}"
            })

        testCaseTask "goes on after a defect, which is told"
        <| fun () ->
            withLoop (fun loop defects -> task {
                loop.Post(fun () -> invalidOp "a defect")
                let! isThere = onLoop loop (fun () -> loop.IsHere)
                Expect.isTrue isThere "goes on"
                Expect.equal [ for defect in defects -> defect.Message ] [ "a defect" ] "told"
            })
    ]

let private watching =
    testList "a descriptor that is watched" [
        testCaseTask "is told of once for what came"
        <| fun () ->
            withLoop (fun loop _ -> task {
                let client, descriptor = connected ()
                use _ = client
                let told = ConcurrentQueue<int>()

                do! onLoop loop (fun () -> loop.Watch(descriptor, watched, handler told.Enqueue))
                client.Send "abc"B |> ignore
                do! Waiting.until "the event" (fun () -> Task.FromResult(told.Count > 0))
                // Another turn brings no other event.
                do! onLoop loop ignore
                Expect.equal told.Count 1 "once"

                let! received =
                    onLoop loop (fun () ->
                        let space = Array.zeroCreate<byte> 8
                        (Libc.receive descriptor (space.AsSpan())).Count)

                Expect.equal received 3 "all of it"
                do! onLoop loop (fun () -> loop.Close descriptor)
            })

        testCaseTask "is told of its end together with what came before"
        <| fun () ->
            withLoop (fun loop _ -> task {
                let client, descriptor = connected ()
                client.Send "abc"B |> ignore
                client.Shutdown SocketShutdown.Send
                use _ = client
                let told = ConcurrentQueue<int>()
                do! onLoop loop (fun () -> loop.Watch(descriptor, watched, handler told.Enqueue))

                do!
                    Waiting.until "the end" (fun () ->
                        told
                        |> Seq.exists (fun events -> events &&& Events.inputEnded <> 0)
                        |> Task.FromResult)

                do! onLoop loop (fun () -> loop.Close descriptor)
            })

        // Its number is the next connection's at once.
        testCaseTask "tells nothing to the connection that has its descriptor next"
        <| fun () ->
            withLoop (fun loop _ -> task {
                for _ in 1..50 do
                    let first, one = connected ()
                    let second, other = connected ()
                    let wrong = ConcurrentQueue<int>()
                    let next = ConcurrentQueue<int>()
                    let isOver = ref false

                    // A socket that is not connected has nothing to read.
                    let watchNext () =
                        match Libc.openSocket AddressFamily.InterNetwork with
                        | Ok descriptor ->
                            next.Enqueue descriptor

                            loop.Watch(
                                descriptor,
                                watched,
                                handler (fun events ->
                                    if events &&& Events.hungUp = 0 then
                                        wrong.Enqueue events)
                            )
                        | Error error -> failwith $"{error}"

                    // The first event closes both; their descriptors get new sockets in the same turn, whose handlers are not to
                    // hear of what was still to be told.
                    let replaceBoth _ =
                        if not isOver.Value then
                            isOver.Value <- true
                            loop.Close one
                            loop.Close other

                            // Lower numbers may be free, too.
                            for _ in 1..8 do
                                watchNext ()

                    do!
                        onLoop loop (fun () ->
                            loop.Watch(one, watched, handler replaceBoth)
                            loop.Watch(other, watched, handler replaceBoth)
                            first.Send "a"B |> ignore
                            second.Send "b"B |> ignore)

                    do! onLoop loop ignore
                    do! onLoop loop ignore
                    Expect.isTrue isOver.Value "both were closed"
                    Expect.isEmpty wrong "nothing of the connection before"

                    do!
                        onLoop loop (fun () ->
                            for descriptor in next do
                                loop.Close descriptor)

                    first.Dispose()
                    second.Dispose()
            })
    ]

// Requests have followed upon each other: what targets tell may wait.
let private makePatient (loop: EventLoop) : Task<unit> =
    let ended =
        TaskCompletionSource<unit> TaskCreationOptions.RunContinuationsAsynchronously

    // A request in each turn, one turn at once after the other.
    let rec ask () =
        loop.Patience.Sent()
        loop.Patience.Ended()

        if loop.Patience.IsPatient then
            ended.SetResult()
        else
            loop.Later(fun () -> ask ())

    loop.Post(fun () -> ask ())
    ended.Task |> Waiting.within "patience"

let private ofTargets =
    testList "a target's connection" [
        for isPatient in [ false; true ] do
            testCaseTask (
                if isPatient then
                    "is told of in the next turn, where the loop is patient"
                else
                    "wakes the loop"
            )
            <| fun () ->
                withLoop (fun loop _ -> task {
                    let target, descriptor = connected ()
                    use _ = target
                    let told = ConcurrentQueue<int>()

                    do! onLoop loop (fun () -> loop.WatchTarget(descriptor, watched, handler told.Enqueue))

                    if isPatient then
                        do! makePatient loop

                    target.Send "abc"B |> ignore

                    do!
                        Waiting.until "the event" (fun () -> task {
                            // Nothing is awaited: a patient loop sleeps until something else wakes it.
                            if isPatient then
                                do! onLoop loop ignore

                            return told.Count > 0
                        })

                    do! onLoop loop (fun () -> loop.CloseTarget descriptor)
                })

        testCaseTask "is told of by a patient loop that nothing else wakes, where an answer is awaited"
        <| fun () ->
            withLoop (fun loop _ -> task {
                let target, descriptor = connected ()
                use _ = target
                let told = ConcurrentQueue<int>()

                do! onLoop loop (fun () -> loop.WatchTarget(descriptor, watched, handler told.Enqueue))
                do! makePatient loop
                do! onLoop loop loop.Patience.Sent
                // By its time, or as it is patient no more.
                target.Send "abc"B |> ignore
                do! Waiting.until "the event" (fun () -> Task.FromResult(told.Count > 0))
                do! onLoop loop (fun () -> loop.CloseTarget descriptor)
            })

        testCaseTask "is told of before what clients have sent"
        <| fun () ->
            withLoop (fun loop _ -> task {
                let target, ofTarget = connected ()
                let client, ofClient = connected ()
                use _ = target
                use _ = client
                let told = ConcurrentQueue<string>()

                do!
                    onLoop loop (fun () ->
                        loop.Watch(ofClient, watched, handler (fun _ -> told.Enqueue "client"))
                        loop.WatchTarget(ofTarget, watched, handler (fun _ -> told.Enqueue "target"))
                        // Both are there when this turn has ended.
                        client.Send "abc"B |> ignore
                        target.Send "abc"B |> ignore)

                do! Waiting.until "both events" (fun () -> Task.FromResult(told.Count = 2))
                Expect.equal (List.ofSeq told) [ "target"; "client" ] "a request finds targets as they are"

                do!
                    onLoop loop (fun () ->
                        loop.Close ofClient
                        loop.CloseTarget ofTarget)
            })
    ]

/// Counts the turns of a loop.
type private TurnCounter() =
    let mutable turns = 0
    member _.Turns = Volatile.Read &turns

    interface TurnObserver with
        member _.Began() = Interlocked.Increment &turns |> ignore
        member _.Ended _ = ()

// As many events of targets as come at once leave open whether there are more.
let private rests =
    testCaseTask "a loop rests after as many events of targets as it takes at once"
    <| fun () -> task {
        let counter = TurnCounter()
        let defects = ConcurrentQueue<exn>()
        let loop = EventLoop.Start("test", defects.Enqueue, counter)
        let pairs = [ for _ in 1 .. Epoll.Most -> connected () ]
        let told = ConcurrentQueue<int>()

        try
            for target, _ in pairs do
                target.Send "abc"B |> ignore

            // All of them in one turn.
            do!
                onLoop loop (fun () ->
                    for _, descriptor in pairs do
                        loop.WatchTarget(
                            descriptor,
                            Events.readable ||| Events.edgeTriggered,
                            handler told.Enqueue
                        ))

            do! Waiting.until "the events" (fun () -> Task.FromResult(told.Count = Epoll.Most))
            let before = counter.Turns
            let posts = 200

            for _ in 1..posts do
                do! onLoop loop ignore

            Expect.isLessThanOrEqual
                (counter.Turns - before)
                (posts + 2)
                "it turns for what is posted, and for nothing else"

            do!
                onLoop loop (fun () ->
                    for _, descriptor in pairs do
                        loop.CloseTarget descriptor)

            Expect.isEmpty defects "no defect"
        finally
            for target, _ in pairs do
                target.Dispose()

            loop.StopAsync().Wait Waiting.patience |> ignore
    }

let private watchdog =
    testCaseTask "the watchdog of the tests finds a turn that sleeps, and not one that works"
    <| fun () -> task {
        let found = ConcurrentQueue<string>()
        let defects = ConcurrentQueue<exn>()
        let loop = EventLoop.Start("test", defects.Enqueue, BlockedTurns found)

        let work () =
            let began = Stopwatch.GetTimestamp()

            while (Stopwatch.GetElapsedTime began).TotalMilliseconds < 15.0 do
                ()

        for _ in 1..5 do
            do! onLoop loop work

        Expect.isEmpty found "work"

        // What is compiled or collected meanwhile is the runtime's: once is not always enough.
        do!
            Waiting.until "it to be found" (fun () -> task {
                do! onLoop loop (fun () -> Thread.Sleep 15)
                return not found.IsEmpty
            })

        do! loop.StopAsync()
    }

let private stalls =
    testList "a turn that takes too long" [
        testCaseTask "is counted"
        <| fun () ->
            withLoop (fun loop _ -> task {
                do! onLoop loop (fun () -> Thread.Sleep 30)
                // It ends after what ended it was told.
                do! onLoop loop ignore
                Expect.isGreaterThanOrEqual loop.Stalls.Count 1L "counted"
                Expect.isGreaterThanOrEqual loop.Stalls.Longest.TotalMilliseconds 10.0 "how long"
            })
    ]

let tests =
    testList "EventLoop" [ turns; posting; watching; ofTargets; rests; watchdog; stalls ]

// A page fault or a machine that is held up may look like it, now and then; code that blocks does so each time.
let private mostByChance = 5

/// To be run after all others.
let nothingBlocks =
    testSequenced (
        testList "the loops of all proxies" [
            testCase "have not blocked, in all tests before"
            <| fun () ->
                Expect.isLessThanOrEqual BlockedTurns.Found.Length mostByChance $"{BlockedTurns.Found}"
        ]
    )
