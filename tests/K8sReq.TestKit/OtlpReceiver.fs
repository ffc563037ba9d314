namespace K8sReq.TestKit

open System
open System.Buffers.Binary
open System.Collections.Concurrent
open System.IO
open System.Net
open System.Security.Cryptography.X509Certificates
open System.Text
open System.Threading
open System.Threading.Tasks
open Microsoft.AspNetCore.Builder
open Microsoft.AspNetCore.Hosting
open Microsoft.AspNetCore.Hosting.Server
open Microsoft.AspNetCore.Hosting.Server.Features
open Microsoft.AspNetCore.Http
open Microsoft.AspNetCore.Server.Kestrel.Core
open Microsoft.AspNetCore.Server.Kestrel.Https
open Microsoft.Extensions.DependencyInjection
open Microsoft.Extensions.Logging

/// The fields of a protobuf message by their numbers, read without a schema:
/// https://protobuf.dev/programming-guides/encoding/
module Protobuf =
    [<RequireQualifiedAccess>]
    type Value =
        | Number of uint64
        | Bytes of byte[]

    /// Every field in its order.
    let fields (bytes: byte[]) : (int * Value) list =
        let mutable at = 0

        let varint () =
            let mutable value = 0UL
            let mutable shift = 0
            let mutable goesOn = true

            while goesOn do
                let next = bytes[at]
                at <- at + 1
                value <- value ||| ((uint64 next &&& 0x7FUL) <<< shift)
                shift <- shift + 7
                goesOn <- next >= 0x80uy

            value

        let take count =
            let taken = bytes[at .. at + count - 1]
            at <- at + count
            taken

        [
            while at < bytes.Length do
                let key = varint ()
                let number = int (key >>> 3)

                match int key &&& 7 with
                | 0 -> number, Value.Number(varint ())
                | 1 -> number, Value.Number(BinaryPrimitives.ReadUInt64LittleEndian(take(8).AsSpan()))
                | 2 ->
                    let length = int (varint ())
                    number, Value.Bytes(take length)
                | 5 ->
                    number, Value.Number(uint64 (BinaryPrimitives.ReadUInt32LittleEndian(take(4).AsSpan())))
                | kind -> failwith $"a field of the unknown kind {kind}"
        ]

    let all (number: int) (message: byte[]) : byte[] list =
        fields message
        |> List.choose (fun (field, value) ->
            match value with
            | Value.Bytes bytes when field = number -> Some bytes
            | _ -> None)

    let bytes number message =
        all number message |> List.tryLast |> Option.defaultValue [||]

    let text number message =
        Encoding.UTF8.GetString(bytes number message)

    let hex number message =
        Convert.ToHexStringLower(bytes number message)

    /// 0 for a field that is not there, as protobuf has it.
    let number (number: int) (message: byte[]) : uint64 =
        fields message
        |> List.choose (fun (field, value) ->
            match value with
            | Value.Number value when field = number -> Some value
            | _ -> None)
        |> List.tryLast
        |> Option.defaultValue 0UL

    let float field message =
        BitConverter.UInt64BitsToDouble(number field message)

    /// A repeated field of eight bytes each, packed into one.
    let packed (field: int) (message: byte[]) : uint64 list = [
        for block in all field message do
            for start in 0..8 .. block.Length - 1 ->
                BinaryPrimitives.ReadUInt64LittleEndian(block.AsSpan(start, 8))
    ]

/// A span as it arrived.
type ReceivedSpan = {
    Name: string
    TraceId: string
    SpanId: string
    ParentId: string
    /// 2 for SERVER, 3 for CLIENT.
    Kind: int
    Start: uint64
    End: uint64
    TraceState: string
    Attributes: Map<string, string>
    /// 0 for unset, 2 for an error.
    Status: int
    StatusMessage: string
    Resource: Map<string, string>
}

/// A point of a metric as it arrived.
type ReceivedPoint = {
    Metric: string
    /// sum, gauge or histogram.
    Kind: string
    IsMonotonic: bool
    /// 2 for cumulative.
    Temporality: int
    Attributes: Map<string, string>
    Value: float
    Count: uint64
    Bounds: float list
    Buckets: uint64 list
    Resource: Map<string, string>
}

/// One export: a call or a request.
type ReceivedExport = {
    Path: string
    Protocol: string
    ContentType: string
    Headers: Map<string, string>
    /// The message, without framing.
    Message: byte[]
    Spans: ReceivedSpan list
    Points: ReceivedPoint list
}

/// The public messages of OTLP (opentelemetry-proto), as far as they are looked at here.
module Otlp =
    open Protobuf

    let private valueOf (any: byte[]) : string =
        match fields any with
        | (1, Value.Bytes bytes) :: _ -> Encoding.UTF8.GetString bytes
        | (2, Value.Number flag) :: _ -> if flag = 1UL then "true" else "false"
        | (3, Value.Number number) :: _ -> string<int64>(int64 number)
        | (4, Value.Number bits) :: _ -> string<float>(BitConverter.UInt64BitsToDouble bits)
        | other -> $"{other}"

    let private attributes (field: int) (message: byte[]) : Map<string, string> =
        Map [ for pair in all field message -> text 1 pair, valueOf (bytes 2 pair) ]

    let private span resource (message: byte[]) : ReceivedSpan =
        let status = bytes 15 message

        {
            TraceId = hex 1 message
            SpanId = hex 2 message
            TraceState = text 3 message
            ParentId = hex 4 message
            Name = text 5 message
            Kind = int (number 6 message)
            Start = number 7 message
            End = number 8 message
            Attributes = attributes 9 message
            StatusMessage = text 2 status
            Status = int (number 3 status)
            Resource = resource
        }

    /// The spans of an ExportTraceServiceRequest.
    let spans (request: byte[]) : ReceivedSpan list = [
        for ofResource in all 1 request do
            let resource = attributes 1 (bytes 1 ofResource)

            for ofScope in all 2 ofResource do
                for message in all 2 ofScope -> span resource message
    ]

    // Of a sum or a gauge, with the number of the field that holds its points.
    let private numbers resource (metric: byte[]) (kind: string) (field: int) : ReceivedPoint list = [
        for data in all field metric do
            for message in all 1 data ->
                {
                    Metric = text 1 metric
                    Kind = kind
                    IsMonotonic = kind = "sum" && number 3 data = 1UL
                    Temporality = if kind = "sum" then int (number 2 data) else 0
                    Attributes = attributes 7 message
                    Value =
                        match fields message |> List.tryFind (fun (field, _) -> field = 6) with
                        | Some(_, Value.Number whole) -> Operators.float (int64 whole)
                        | _ -> float 4 message
                    Count = 0UL
                    Bounds = []
                    Buckets = []
                    Resource = resource
                }
    ]

    let private histograms resource (metric: byte[]) : ReceivedPoint list = [
        for data in all 9 metric do
            for message in all 1 data ->
                {
                    Metric = text 1 metric
                    Kind = "histogram"
                    IsMonotonic = false
                    Temporality = int (number 2 data)
                    Attributes = attributes 9 message
                    Value = float 5 message
                    Count = number 4 message
                    Bounds = packed 7 message |> List.map BitConverter.UInt64BitsToDouble
                    Buckets = packed 6 message
                    Resource = resource
                }
    ]

    /// The points of an ExportMetricsServiceRequest.
    let metrics (request: byte[]) : ReceivedPoint list = [
        for ofResource in all 1 request do
            let resource = attributes 1 (bytes 1 ofResource)

            for ofScope in all 2 ofResource do
                for metric in all 2 ofScope do
                    yield! numbers resource metric "gauge" 5
                    yield! numbers resource metric "sum" 7
                    yield! histograms resource metric
    ]

/// How a receiver answers.
[<RequireQualifiedAccess>]
type OtlpAnswer =
    | Taken
    /// UNAVAILABLE, 503.
    | Unavailable

/// A collector on loopback that reads what it gets: gRPC over HTTP/2 on one port, protobuf over HTTP/1.1 on another. With
/// a certificate, over TLS; then whoever connects may have to show one as well.
[<Sealed>]
type OtlpReceiver
    private
    (
        app: WebApplication,
        exports: ConcurrentQueue<ReceivedExport>,
        failures: ConcurrentQueue<exn>,
        grpcPort: int,
        httpPort: int
    ) =

    static let unframed (body: byte[]) =
        // Not compressed, and the length of what follows.
        if
            body[0] <> 0uy
            || BinaryPrimitives.ReadInt32BigEndian(ReadOnlySpan(body, 1, 4)) <> body.Length - 5
        then
            failwith "not one uncompressed gRPC message"

        body[5..]

    static let answer (answer: OtlpAnswer) (isGrpc: bool) (ctx: HttpContext) : Task = task {
        let response = ctx.Response

        match answer, isGrpc with
        | OtlpAnswer.Taken, false -> response.ContentType <- "application/x-protobuf"
        | OtlpAnswer.Unavailable, false -> response.StatusCode <- 503
        | OtlpAnswer.Taken, true ->
            response.ContentType <- "application/grpc"
            do! response.Body.WriteAsync(Array.zeroCreate<byte> 5, 0, 5)
            response.AppendTrailer("grpc-status", "0")
        | OtlpAnswer.Unavailable, true ->
            response.ContentType <- "application/grpc"
            response.Headers["grpc-status"] <- "14"
    }

    static let receive
        (exports: ConcurrentQueue<ReceivedExport>)
        (how: OtlpAnswer)
        (ctx: HttpContext)
        : Task = task {
        let request = ctx.Request
        let isGrpc = string request.ContentType = "application/grpc"
        use body = new MemoryStream()
        do! request.Body.CopyToAsync body
        let message = if isGrpc then unframed (body.ToArray()) else body.ToArray()
        let path = string request.Path.Value

        let isTraces =
            path = "/v1/traces"
            || path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"

        exports.Enqueue {
            Path = path
            Protocol = request.Protocol
            ContentType = string request.ContentType
            Headers =
                Map [
                    for KeyValue(name, values) in request.Headers -> name.ToLowerInvariant(), string values
                ]
            Message = message
            Spans = if isTraces then Otlp.spans message else []
            Points = if isTraces then [] else Otlp.metrics message
        }

        do! answer how isGrpc ctx
    }

    static member Start
        (?how: OtlpAnswer, ?certificate: X509Certificate2, ?client: X509Certificate2)
        : Task<OtlpReceiver> = task {
        let exports = ConcurrentQueue()
        let failures = ConcurrentQueue()
        let builder = WebApplication.CreateSlimBuilder()
        builder.Logging.ClearProviders() |> ignore

        let listen protocol (options: ListenOptions) =
            options.Protocols <- protocol

            match certificate with
            | None -> ()
            | Some certificate ->
                options.UseHttps(fun https ->
                    https.ServerCertificate <- certificate

                    match client with
                    | None -> ()
                    | Some expected ->
                        https.ClientCertificateMode <- ClientCertificateMode.RequireCertificate

                        https.ClientCertificateValidation <-
                            fun shown _ _ -> shown.GetCertHashString() = expected.GetCertHashString())
                |> ignore

        builder.WebHost
            .UseKestrelHttpsConfiguration()
            .ConfigureKestrel(fun kestrel ->
                kestrel.Listen(IPAddress.Loopback, 0, listen HttpProtocols.Http2)
                kestrel.Listen(IPAddress.Loopback, 0, listen HttpProtocols.Http1))
        |> ignore

        let app = builder.Build()
        let receive = receive exports (defaultArg how OtlpAnswer.Taken)

        app.Run(
            RequestDelegate(fun ctx -> task {
                try
                    do! receive ctx
                with error ->
                    // Whoever looks at what has come is told.
                    failures.Enqueue error
            })
        )

        do! app.StartAsync()

        let ports =
            match app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>() with
            | null -> failwith "no addresses"
            | feature -> feature.Addresses |> Seq.map (fun url -> Uri(url).Port) |> Array.ofSeq

        return new OtlpReceiver(app, exports, failures, ports[0], ports[1])
    }

    member _.GrpcPort = grpcPort
    member _.HttpPort = httpPort

    member _.Exports =
        match failures.TryPeek() with
        | true, failure -> failwith $"an export could not be read: {failure}"
        | _ -> List.ofSeq exports

    member receiver.Spans = receiver.Exports |> List.collect _.Spans

    /// The points of the last export that had any.
    member receiver.Points =
        receiver.Exports
        |> List.filter (fun export -> not export.Points.IsEmpty)
        |> List.tryLast
        |> Option.map _.Points
        |> Option.defaultValue []

    /// Whether any message has these bytes in it.
    member receiver.Has(text: string) =
        let bytes = Encoding.UTF8.GetBytes text

        receiver.Exports
        |> List.exists (fun export ->
            MemoryExtensions.IndexOf(ReadOnlySpan export.Message, ReadOnlySpan bytes) >= 0)

    /// Waits until so many spans have come of which this is true, and gives them, in the order in which they began.
    member receiver.Await(count: int, what: ReceivedSpan -> bool) : Task<ReceivedSpan list> = task {
        let found () = receiver.Spans |> List.filter what

        do!
            Waiting.until $"{count} spans, of {receiver.Spans.Length} that came" (fun () ->
                Task.FromResult(found().Length >= count))

        return found () |> List.sortBy _.Start
    }

    interface IDisposable with
        member _.Dispose() =
            use giveUp = new CancellationTokenSource(TimeSpan.FromSeconds 1.0)
            app.StopAsync(giveUp.Token).GetAwaiter().GetResult()
            (app :> IDisposable).Dispose()
