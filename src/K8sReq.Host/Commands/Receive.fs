/// A receiver to try things out with: prints every request that it gets, and answers as it is asked to.
module K8sReq.Host.Commands.Receive

open System
open System.Buffers
open System.IO
open System.Text
open System.Text.Encodings.Web
open System.Text.Json
open System.Text.Unicode
open System.Threading
open System.Threading.Tasks
open Microsoft.AspNetCore.Http
open Microsoft.Extensions.Logging
open K8sReq.Core
open K8sReq.Proxy

let private indented =
    JsonWriterOptions(Indented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping)

let private tryIndent (body: byte[]) =
    try
        use document = JsonDocument.Parse(ReadOnlyMemory body)
        use stream = new MemoryStream()

        do
            use writer = new Utf8JsonWriter(stream, indented)
            document.WriteTo writer

        Some(Encoding.UTF8.GetString(stream.ToArray()))
    with :? JsonException ->
        None

/// The body as people can read it.
let private renderBody (body: byte[]) =
    match tryIndent body with
    | Some json -> json
    | None when Utf8.IsValid body && not (Array.contains 0uy body) -> Encoding.UTF8.GetString body
    | None -> $"({body.Length} bytes that are no text)"

/// A request as it is printed.
let render (name: string) (number: int) (ctx: HttpContext) (body: byte[]) : string =
    let output = StringBuilder()
    let line (text: string) = output.AppendLine text |> ignore
    line $"--- {name}, request {number}"
    line $"{ctx.Request.Method} {RequestCapture.rawTarget ctx} {ctx.Request.Protocol}"

    for struct (field, value) in RequestCapture.headerLines ctx.Request.Headers do
        line $"{field}: {value}"

    if body.Length > 0 then
        line ""
        line (renderBody body)

    output.ToString()

// The status of the response to the request with this number, from 1.
let private statusOf (settings: ReceiverSettings) (number: int) : int =
    match settings.FailEvery with
    | Some every when number % every <> 0 -> StatusCodes.Status200OK
    | Some _
    | None -> settings.Status

/// Prints to `output`, one request after the other, and answers as the settings say.
let handler (settings: ReceiverSettings) (output: TextWriter) : HttpHandler =
    let gate = obj ()
    let mutable count = 0

    fun next ctx -> task {
        use body = new MemoryStream()
        do! ctx.Request.Body.CopyToAsync body

        let number =
            lock gate (fun () ->
                count <- count + 1
                output.WriteLine(render settings.Name count ctx (body.ToArray()))
                output.Flush()
                count)

        if settings.Delay > TimeSpan.Zero then
            do! Task.Delay(settings.Delay, ctx.RequestAborted)

        ctx.Response.StatusCode <- statusOf settings number
        return! next ctx
    }

// One client, on the same machine.
let private limits: ServerLimits = {
    Headers = TimeSpan.FromSeconds 30.0
    Idle = TimeSpan.FromSeconds 130.0
    Connections = None
    Memory = None
    HighestDescriptor = Int32.MaxValue
    Exhausted = ignore
}

/// Receives until `signalled`, and gives the exit code: 1 where its address cannot be listened on.
let run
    (loggers: ILoggerFactory)
    (signalled: Task<string>)
    (output: TextWriter)
    (settings: ReceiverSettings)
    : Task<int> = task {
    match! HttpServer.start loggers ServerTransport.Pooled limits settings.Addr (handler settings output) with
    | Error error ->
        eprintfn $"""k8sreq: {BindError.describe "--addr" "--addr" error}"""
        return 1
    | Ok server ->
        output.WriteLine $"{settings.Name} receives on port {server.Port}"
        let! _ = signalled
        use giveUp = new CancellationTokenSource(TimeSpan.FromSeconds 1.0)
        do! server.StopAsync giveUp.Token
        return 0
}
