/// `/dead`: dead letters for people. Only reads; its buttons ask `/api/dead`.
module K8sReq.Host.Admin.DeadLetters.DeadLetterPage

open System
open System.Text
open System.Threading.Tasks
open Microsoft.AspNetCore.Http
open K8sReq.Core
open K8sReq.Proxy
open K8sReq.Host.Admin
open K8sReq.Host.Admin.DeadLetters.DeadLetterView

let private known = set [ "id"; "clone"; "outcome"; "since"; "until" ]

let private faultsOf (ctx: HttpContext) : string list = [
    for field in ctx.Request.Query do
        if not (known.Contains field.Key) then
            $"there is no field \"{field.Key}\" here"
        elif field.Value.Count > 1 then
            $"{field.Key} is given more than once"
]

let private contentOf (service: DeadLetterService) (clock: TimeProvider) (ctx: HttpContext) = task {
    let filter =
        DeadLetterQuery.ofFields (clock.GetUtcNow()) (mostShown + 1) (QueryField.given ctx)

    match service.Now, faultsOf ctx, filter with
    | None, _, _ -> return DeadLetterContent.NoJournal
    | Some _, faults, Error others -> return DeadLetterContent.Misunderstood(faults @ others)
    | Some _, (_ :: _ as faults), Ok _ -> return DeadLetterContent.Misunderstood faults
    | Some now, [], Ok filter ->
        // All that match are those that were there when somebody looked.
        let filter = {
            filter with
                Until = Some(filter.Until |> Option.fold min now)
        }

        match! service.List filter with
        | Ok letters -> return DeadLetterContent.Letters(filter, letters)
        | Error DeadLetterError.NoJournal -> return DeadLetterContent.NoJournal
        | Error DeadLetterError.Unavailable -> return DeadLetterContent.Unavailable
}

let private statusOf (content: DeadLetterContent) : int =
    match content with
    | DeadLetterContent.NoJournal
    | DeadLetterContent.Letters _ -> StatusCodes.Status200OK
    | DeadLetterContent.Misunderstood _ -> StatusCodes.Status400BadRequest
    | DeadLetterContent.Unavailable -> StatusCodes.Status503ServiceUnavailable

let private page (service: DeadLetterService) (clock: TimeProvider) (instance: string) : HttpHandler =
    fun next ctx -> task {
        let! content = contentOf service clock ctx

        let given name =
            QueryField.given ctx name |> Option.defaultValue ""

        let body = DeadLetterView.page instance given content |> Encoding.UTF8.GetBytes

        return!
            (setStatusCode (statusOf content)
             >=> setHttpHeader "Content-Type" "text/html; charset=utf-8"
             >=> setBody body)
                next
                ctx
    }

/// The page of this replica, and what belongs to it.
let handler (service: DeadLetterService) (clock: TimeProvider) (instance: string) : HttpHandler =
    choose [
        route "/dead" >=> page service clock instance
        route "/dead.css" >=> StaticFile.css "dead.css"
        route "/dead.js" >=> StaticFile.script "dead.js"
    ]
