/// What is left of a request once it is answered.
module K8sReq.Proxy.Tests.ObservedTests

open System.Threading.Tasks
open Expecto
open Microsoft.AspNetCore.Http
open K8sReq.Proxy
open K8sReq.TestKit

let private answered name (services: DuplicateServices) (change: HttpContext -> unit) status =
    testCaseTask $"the server keeps contexts for later requests: nothing of one that was {name} stays in its"
    <| fun () -> task {
        let mutable told = 0

        let services = {
            services with
                Answered = fun answer -> told <- answer.Status
        }

        let ctx = BarePipeline.request "POST"
        change ctx
        let! _ = DuplicateHandler.create services earlyReturn ctx
        Expect.equal told status "answered so"
        Expect.isTrue (isNull (box (IngressRequest.TryOf ctx))) "forgotten"
    }

let tests =
    testList "Observed" [
        let services = BarePipeline.services Tracing.Off
        answered "accepted" services ignore 202
        answered "refused" services (fun ctx -> ctx.Request.Headers.Host <- "other.example") 503

        answered
            "never answered by a handler"
            {
                services with
                    Failed = ignore
                    RoutesKnown = fun () -> ValueTask<bool>(Task.FromException<bool>(exn "a defect"))
            }
            ignore
            500
    ]
