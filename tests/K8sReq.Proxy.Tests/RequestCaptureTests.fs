module K8sReq.Proxy.Tests.RequestCaptureTests

open System
open System.IO.Pipelines
open System.Threading.Tasks
open Expecto
open Microsoft.AspNetCore.Http
open Microsoft.AspNetCore.Http.Features
open K8sReq.Proxy
open K8sReq.TestKit

/// A body that begins, and then fails in a way that nobody expects.
[<Sealed>]
type private FailingReader(beginning: byte[]) =
    inherit PipeReader()
    let mutable reads = 0

    override _.TryRead(result: byref<ReadResult>) =
        reads <- reads + 1

        if reads > 1 then
            failwith "broken"

        result <- ReadResult(Buffers.ReadOnlySequence beginning, false, false)
        true

    override _.ReadAsync _ = failwith "broken"
    override _.AdvanceTo(_: SequencePosition) = ()
    override _.AdvanceTo(_: SequencePosition, _: SequencePosition) = ()
    override _.CancelPendingRead() = ()
    override _.Complete _ = ()

let tests =
    testList "RequestCapture" [
        for length in [ Nullable 100L; Nullable() ] do
            testCaseTask $"a body of declared length {length} that fails unexpectedly leaves no memory taken"
            <| fun () -> task {
                let budget = BufferBudget 1_000_000L
                let ctx = DefaultHttpContext()
                let reader = FailingReader(Array.zeroCreate 10)

                match ctx.Features.Get<IHttpRequestFeature>() with
                | null -> failtest "no request"
                | request ->
                    request.RawTarget <- "/"
                    request.Method <- "POST"

                ctx.Request.Headers.Host <- "a.example"
                ctx.Request.ContentLength <- length

                ctx.Features.Set<IRequestBodyPipeFeature>(
                    {
                        new IRequestBodyPipeFeature with
                            member _.Reader = reader
                    }
                )

                ctx.Features.Set<IHttpRequestBodyDetectionFeature>(
                    {
                        new IHttpRequestBodyDetectionFeature with
                            member _.CanHaveBody = true
                    }
                )

                let capture () : Task =
                    RequestCapture.capture
                        TimeProvider.System
                        (TimeSpan.FromSeconds 30.0)
                        (Allowance(budget, null, null))
                        (Some 1000L)
                        (RequestCapture.headOf ctx)
                        [||]
                        ctx

                let! message = task {
                    try
                        do! capture ()
                        return "nothing was thrown"
                    with error ->
                        return error.Message
                }

                Expect.equal message "broken" "who called sees it"
                Expect.equal budget.Used 0L "given back"
            }
    ]
