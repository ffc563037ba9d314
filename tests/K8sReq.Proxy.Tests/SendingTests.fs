module K8sReq.Proxy.Tests.SendingTests

open System
open System.Collections.Concurrent
open System.Threading
open System.Threading.Tasks
open Expecto
open K8sReq.Core
open K8sReq.Proxy
open K8sReq.TestKit

let private rejected = SendResult.ofOutcome (TargetOutcome.Rejected 503)

let private observer (told: ConcurrentQueue<SendResult>) = {
    new SendObserver() with
        override _.Sent result = told.Enqueue result
}

let tests =
    testList "Sending" [
        testCase "tells who waits for it once it has ended, within the same call"
        <| fun () ->
            let told = ConcurrentQueue<SendResult>()
            let sending = Sending()
            sending.Tell(observer told)
            Expect.isEmpty told "not before"
            sending.Complete rejected
            Expect.equal (List.ofSeq told) [ rejected ] "then, once"

        testCase "tells at once who asks when it has ended"
        <| fun () ->
            let told = ConcurrentQueue<SendResult>()
            (Sending.Ended rejected).Tell(observer told)
            Expect.equal (List.ofSeq told) [ rejected ] "now"

        testCase "ends once: a second end throws, and nobody is told of it"
        <| fun () ->
            let told = ConcurrentQueue<SendResult>()
            let sending = Sending()
            sending.Tell(observer told)
            sending.Complete rejected
            Expect.throwsT<InvalidOperationException> (fun () -> sending.Complete rejected) "the second"
            Expect.hasLength told 1 "one end"

        testCase "tells once who asks while it ends on another thread"
        <| fun () ->
            let told = ConcurrentQueue<SendResult>()
            let races = 20_000

            for _ in 1..races do
                let sending = Sending()
                use start = new Barrier 2

                let ending =
                    Task.Run(fun () ->
                        start.SignalAndWait()
                        sending.Complete rejected)

                start.SignalAndWait()
                sending.Tell(observer told)
                ending.Wait()

            Expect.equal (Seq.length told) races "each one"
            Expect.allEqual told rejected "as it has ended"

        testCaseTask "does not go on with a task's continuations within the call that ends it"
        <| fun () -> task {
            let sending = Sending()
            use goOn = new ManualResetEventSlim()

            let continued =
                sending
                    .AsTask()
                    .ContinueWith(
                        (fun (ended: Task<SendResult>) ->
                            goOn.Wait Waiting.patience |> ignore
                            ended.Result),
                        TaskContinuationOptions.ExecuteSynchronously
                    )

            sending.Complete rejected
            Expect.isFalse continued.IsCompleted "the call has ended before that"
            goOn.Set()
            let! result = continued |> Waiting.within "the continuation"
            Expect.equal result rejected "as it has ended"
        }
    ]
