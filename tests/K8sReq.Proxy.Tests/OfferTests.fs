module K8sReq.Proxy.Tests.OfferTests

open System.Collections.Concurrent
open System.Threading.Tasks
open Expecto
open K8sReq.Core
open K8sReq.Proxy
open K8sReq.TestKit

// One request to two targets: what happened, in its order, up to the answer.
let private answerOne (happened: ConcurrentQueue<string>) =
    let services = BarePipeline.services Tracing.Off

    let client =
        InMemoryDelivery.clientOf (fun target _ ->
            happened.Enqueue target.Clone.Name
            ValueTask<SendResult>(SendResult.ofOutcome (TargetOutcome.Delivered 200)))

    let handler =
        DuplicateHandler.create
            {
                services with
                    Delivery.Client = client
            }
            earlyReturn

    let ctx = BarePipeline.request "GET"
    let answering = handler ctx
    Expect.isTrue answering.IsCompletedSuccessfully "nothing is waited for"
    happened.Enqueue $"{ctx.Response.StatusCode}"

let tests =
    testList "Offer" [
        testCaseTask "on an event loop a client is answered before its copies are sent"
        <| fun () -> task {
            let happened = ConcurrentQueue<string>()
            let loop = EventLoop.Start("test", (fun error -> happened.Enqueue error.Message))

            try
                loop.Post(fun () -> answerOne happened)
                do! Waiting.until "the copies" (fun () -> Task.FromResult(happened.Count = 3))
            finally
                loop.StopAsync().Wait Waiting.patience |> ignore

            Expect.equal (List.ofSeq happened) [ "202"; "a"; "b" ] "in this order"
        }

        test "elsewhere its copies are sent at once" {
            let happened = ConcurrentQueue<string>()
            answerOne happened
            Expect.equal (List.ofSeq happened) [ "a"; "b"; "202" ] "in this order"
        }
    ]
