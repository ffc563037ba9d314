/// Where those go on who wait for a commit.
module K8sReq.Journal.Tests.KeptRequestsTests

open System
open System.Collections.Concurrent
open System.Threading
open System.Threading.Tasks
open Expecto
open K8sReq.Core
open K8sReq.Proxy
open K8sReq.Journal
open K8sReq.Journal.Sqlite
open K8sReq.TestKit
open K8sReq.Journal.Tests.JournalBench

/// On this thread at once, where the task's end is told.
let private goOn (waiting: TaskCompletionSource<bool>) (work: bool -> 'T) : Task<'T> =
    waiting.Task.ContinueWith(
        (fun (told: Task<bool>) -> work told.Result),
        TaskContinuationOptions.ExecuteSynchronously
    )

let private thread () = Thread.CurrentThread.ManagedThreadId

let private light () =
    requestOf "abc"B [ shop "a", false ] ignore

let private large () =
    requestOf (Array.zeroCreate 20_000) [ shop "a", false ] ignore

let private manyCopies () =
    requestOf "abc"B [ for n in 1..9 -> shop $"a{n}", false ] ignore

let tests =
    testList "who waits for a commit" [
        testCaseTask
            "goes on on the journal's thread with a small request, in the pool with a large one or many copies"
        <| fun () -> task {
            let kept = KeptRequests()

            let threads =
                [ light (); large (); manyCopies () ]
                |> List.map (fun request ->
                    let waiting = TaskCompletionSource<bool>()
                    kept.Add(request, waiting)
                    goOn waiting (fun isKept -> isKept, thread ()))

            // A thread of its own, so that none of the pool is the same.
            let mutable own = 0

            let telling =
                Thread(fun () ->
                    own <- thread ()
                    kept.Tell())

            telling.Start()
            telling.Join()
            let! threads = Task.WhenAll threads |> Waiting.within "all"
            Expect.all threads fst "kept"

            Expect.equal
                (threads |> Array.map (fun (_, thread) -> thread = own))
                [| true; false; false |]
                "on the journal's"
        }

        testCaseTask "goes on on the event loop where it began to wait, in its order, whatever its size"
        <| fun () -> task {
            if Transport.hasLoops then
                let defects = ConcurrentQueue<exn>()
                let loop = EventLoop.Start("kept", defects.Enqueue)
                let other = EventLoop.Start("other", defects.Enqueue)

                let waitOn (loop: EventLoop) : Task<KeptSignal> =
                    let made =
                        TaskCompletionSource<KeptSignal> TaskCreationOptions.RunContinuationsAsynchronously

                    loop.Post(fun () -> made.SetResult(KeptSignal()))
                    made.Task |> Waiting.within "the loop"

                let kept = KeptRequests()
                let order = ConcurrentQueue<int>()
                let seen = ResizeArray<Task<bool>>()

                // More than one turn of a loop tells.
                for index in 0..149 do
                    let! waiting = waitOn loop
                    kept.Add((if index % 7 = 0 then large () else light ()), waiting)

                    seen.Add(
                        goOn waiting (fun isKept ->
                            order.Enqueue index
                            isKept && loop.IsHere)
                    )

                let! elsewhere = waitOn other
                kept.Add(light (), elsewhere)
                seen.Add(goOn elsewhere (fun isKept -> isKept && other.IsHere))
                kept.Tell()
                let! onIt = Task.WhenAll seen |> Waiting.within "all"
                Expect.all onIt id "each on its loop"
                Expect.equal (List.ofSeq order) [ 0..149 ] "in their order"
                Expect.isEmpty defects "no defect"
                do! loop.StopAsync()
                do! other.StopAsync()
        }

        testCaseTask "that one takes its time holds up neither the others nor the journal for long"
        <| fun () -> task {
            let kept = KeptRequests()
            let waiting = [ for _ in 1..5 -> TaskCompletionSource<bool>() ]
            let last = TaskCompletionSource<bool>()
            kept.Add(large (), last)

            for one in waiting do
                kept.Add(light (), one)

            use lastWentOn = new ManualResetEventSlim()

            let others =
                goOn last (fun _ ->
                    lastWentOn.Set()
                    0)
                :: (waiting
                    |> List.mapi (fun index one ->
                        goOn one (fun _ ->
                            if index = 0 then
                                // As long as the heavy one takes to go on, and longer than the journal has.
                                lastWentOn.Wait Waiting.patience |> ignore
                                Thread.Sleep 20

                            thread ())))

            let mutable own = 0

            let telling =
                Thread(fun () ->
                    own <- thread ()
                    kept.Tell())

            telling.Start()
            let! threads = Task.WhenAll others |> Waiting.within "all"
            Expect.isTrue (telling.Join Waiting.patience) "it is over"
            Expect.equal threads[1] own "the first, on the journal's thread"
            Expect.all threads[2..] (fun thread -> thread <> own) "the others, in the pool"
        }

        testCaseTask "may end the journal"
        <| fun () -> task {
            use folder = new TestFolder()
            let bench = new Bench(folder.At "journal")
            let! _ = bench.Found
            let request = light ()
            Expect.isTrue (bench.Store.TryReserve (shop "a") request.Bytes) "room"

            let ended =
                TaskCompletionSource<unit>(TaskCreationOptions.RunContinuationsAsynchronously)

            let waiting = (bench.Store.Append request).AsTask()

            waiting.ContinueWith(
                (fun (_: Task<bool>) ->
                    (bench :> IDisposable).Dispose()
                    ended.SetResult()),
                TaskContinuationOptions.ExecuteSynchronously
            )
            |> ignore

            do! ended.Task |> Waiting.within "the end"
            // The file is closed soon after.
            use next = new Bench(folder.At "journal")
            let! found = next.Found
            Expect.equal (found.Waiting |> List.map (fun (clone, _) -> clone)) [ shop "a" ] "it was kept"
        }
    ]
