module K8sReq.Proxy.Tests.HttpHandlerTests

open System.IO
open System.Text
open System.Threading.Tasks
open Expecto

open FsCheck
open FsCheck.FSharp
open Microsoft.AspNetCore.Http
open Microsoft.AspNetCore.Http.Features
open K8sReq.Core
open K8sReq.Proxy
open K8sReq.TestKit

/// A response that has started.
type private StartedResponse() =
    inherit HttpResponseFeature()
    override _.HasStarted = true

let private context () =
    let ctx = DefaultHttpContext()
    ctx.Response.Body <- new MemoryStream()
    ctx

let private trail (ctx: HttpContext) : string =
    ctx.Response.Headers["Trail"].ToString()

/// Leaves its mark and goes on.
let private mark (name: string) : HttpHandler =
    fun next ctx ->
        ctx.Response.Headers["Trail"] <- Microsoft.Extensions.Primitives.StringValues(trail ctx + name)
        next ctx

let private skip: HttpHandler = fun _ _ -> skipPipeline
let private stop: HttpHandler = fun _ ctx -> earlyReturn ctx
let private pass: HttpHandler = fun next ctx -> next ctx

/// What can be seen of a handler: whether it took the request, and what it left behind.
let private runOn (ctx: HttpContext) (handler: HttpHandler) =
    let result = (handler earlyReturn ctx).GetAwaiter().GetResult()
    result.IsSome, ctx.Response.StatusCode, trail ctx

let private run handler = runOn (context ()) handler

let private handlers =
    Gen.elements [
        "a", mark "a"
        "b", mark "b"
        "skip", skip
        "stop", stop
        "418", setStatusCode 418
        "pass", pass
    ]
    |> Arb.fromGen

let private law name property =
    testProperty name (Prop.forAll handlers property)

let private bodyOf (ctx: HttpContext) =
    Encoding.UTF8.GetString((ctx.Response.Body :?> MemoryStream).ToArray())

let private receiver: ReceiverSettings = {
    Addr = { Host = ListenHost.Any; Port = 0 }
    Name = "name"
    Status = 200
    Delay = System.TimeSpan.Zero
    FailEvery = None
}

let tests =
    testList "HttpHandler" [
        law "a handler that goes on is an identity on both sides" (fun (_, h) ->
            run (pass >=> h) = run h && run (h >=> pass) = run h)

        testProperty
            "composition is associative"
            (Prop.forAll handlers (fun (_, f) ->
                Prop.forAll handlers (fun (_, g) ->
                    Prop.forAll handlers (fun (_, h) -> run ((f >=> g) >=> h) = run (f >=> (g >=> h))))))

        testProperty
            "choose takes the first that does not skip"
            (Prop.forAll (Arb.list handlers) (fun named ->
                let expected =
                    match named |> List.tryFind (fun (name, _) -> name <> "skip") with
                    | Some(_, handler) -> run handler
                    | None -> false, 200, ""

                run (choose (List.map snd named)) = expected))

        test "choose of nothing skips" { Expect.equal (run (choose [])) (false, 200, "") "skipped" }

        test "choose nests: the outer one goes on where the inner one found nothing" {
            Expect.equal (run (choose [ choose [ skip; skip ]; mark "c" ])) (true, 200, "c") "found"
        }

        test "what comes after choose follows the branch that was taken" {
            Expect.equal (run (choose [ skip; mark "a" ] >=> mark "b")) (true, 200, "ab") "both"
        }

        test "what comes after a skip or an end is not called" {
            Expect.equal (run (skip >=> mark "a")) (false, 200, "") "skipped"
            Expect.equal (run (stop >=> mark "a")) (true, 200, "") "ended"
        }

        test "once the response has started only the final function is called" {
            let features = FeatureCollection()
            features.Set<IHttpRequestFeature>(HttpRequestFeature())
            features.Set<IHttpResponseFeature>(StartedResponse())
            let ctx = DefaultHttpContext features
            let mutable finals = 0

            let final: HttpFunc =
                fun ctx ->
                    finals <- finals + 1
                    Task.FromResult(Some ctx)

            let result = ((mark "a" >=> mark "b") final ctx).GetAwaiter().GetResult()
            Expect.isSome result "the final function's answer"
            Expect.equal (finals, trail ctx) (1, "") "and no handler's"
        }

        test "the right side is applied to the final function once, outside the request" {
            let mutable applied = 0

            let counting: HttpHandler =
                fun next ->
                    applied <- applied + 1
                    next

            let pipeline = (pass >=> counting >=> choose [ skip; counting ]) earlyReturn

            for _ in 1..3 do
                pipeline(context ()).GetAwaiter().GetResult() |> ignore

            Expect.equal applied 2 "once each, however many requests"
        }

        test "setStatusCode and setHttpHeader change the response and go on" {
            let ctx = context ()
            let taken = runOn ctx (setStatusCode 201 >=> setHttpHeader "X-A" "1" >=> mark "a")
            Expect.equal taken (true, 201, "a") "went on"
            Expect.equal (string ctx.Response.Headers["X-A"]) "1" "the header"
        }

        test "text writes its length, type and bytes, and ends the pipeline" {
            let ctx = context ()
            Expect.equal (runOn ctx (text "grüß" >=> mark "a")) (true, 200, "") "ended"
            Expect.equal (bodyOf ctx) "grüß" "the bytes"
            Expect.equal ctx.Response.ContentLength (System.Nullable 6L) "counted in bytes"
            Expect.equal (string ctx.Response.ContentType) "text/plain; charset=utf-8" "the type"
        }

        test "setBody answers HEAD with the length alone" {
            let ctx = context ()
            ctx.Request.Method <- "HEAD"
            runOn ctx (setBody "abc"B) |> ignore
            Expect.equal (bodyOf ctx, ctx.Response.ContentLength) ("", System.Nullable 3L) "no body"
        }

        test "route takes exactly its path, GET_HEAD its methods" {
            let taken (path: string) (method: string) =
                let ctx = context ()
                ctx.Request.Path <- PathString path
                ctx.Request.Method <- method
                let result, _, _ = runOn ctx (GET_HEAD >=> route "/healthz")
                result

            Expect.isTrue (taken "/healthz" "GET") "GET"
            Expect.isTrue (taken "/healthz" "HEAD") "HEAD"
            Expect.isFalse (taken "/healthz" "POST") "POST"
            Expect.isFalse (taken "/healthz/" "GET") "another path"
            Expect.isFalse (taken "/Healthz" "GET") "other letters"
        }

        test "every exported handler has the type that applications compose" {
            // The type is written out: whoever has a handler of another library has exactly this.
            let isHandler
                (_: (HttpContext -> Task<HttpContext option>) -> HttpContext -> Task<HttpContext option>)
                =
                ()

            isHandler (compose pass pass)
            isHandler (pass >=> pass)
            isHandler (choose [])
            isHandler (setStatusCode 200)
            isHandler (setHttpHeader "a" "b")
            isHandler (setBody [||])
            isHandler (text "")
            isHandler (route "/")
            isHandler GET_HEAD
            isHandler Guards.parseHead
            isHandler (Guards.requireValid System.TimeProvider.System)
            isHandler (Guards.requireTarget System.TimeProvider.System (fun () -> K8sReq.Core.HostMap.Empty))
            isHandler (Guards.requireCopyable System.TimeProvider.System "k8sreq")
            isHandler (DuplicateHandler.create (BarePipeline.services Tracing.Off))
            isHandler (K8sReq.Host.Admin.Probes.handler (fun () -> true))
            isHandler (K8sReq.Host.Commands.Receive.handler receiver TextWriter.Null)
        }
    ]
