/// What a collector gets from the published program, and what its copies say of it.
module K8sReq.Host.Tests.TracingTests

open System
open System.Diagnostics
open System.IO
open System.Security.Cryptography.X509Certificates
open System.Threading.Tasks
open Expecto
open K8sReq.TestKit.HttpMessage
open K8sReq.TestKit

let private server = 2
let private client = 3
let private traceId = "0af7651916cd43dd8448eb211c80319c"
let private callerSpan = "b7ad6b7169203331"
let private sampled = "traceparent", $"00-{traceId}-{callerSpan}-01"
let private notSampled = "traceparent", $"00-{traceId}-{callerSpan}-00"
let private is kind (span: ReceivedSpan) = span.Kind = kind

let private value name (message: Message) =
    match message.Values name with
    | [ value ] -> value
    | values -> failwith $"{name}: {values}"

/// Trace id, span id and flags of the one traceparent field.
let private traceparent (message: Message) =
    match (value "traceparent" message).Split '-' with
    | [| "00"; traceId; spanId; flags |] -> traceId, spanId, flags
    | _ -> failwith $"""no traceparent: {value "traceparent" message}"""

let private retrying (host: string) (ports: int list) =
    (Manifests.route host ports)
        .Replace("servicePort: http}", "servicePort: http}, delivery: {retry: 2, backoffDelay: 1ms}")

// One request to one target and a collector, with these variables more: what the target and the collector got.
let private oneRequest variables fields = task {
    use! collector = OtlpReceiver.Start()
    use target = TestTarget.ok ()

    use! program =
        TracedProgram.Start(
            Manifests.route "a.example" [ target.Port ],
            TracedProgram.Variables(collector, "grpc") @ variables
        )

    do! program.Send("GET /x", fields)
    let! message = target.Next()
    // What it has not sent it sends at its end.
    do! program.Stop()
    return message, collector.Spans
}

let private single kind (spans: ReceivedSpan list) =
    match spans |> List.filter (is kind) with
    | [ span ] -> span
    | spans -> failwith $"not one span: {spans}"

let private parentage protocol =
    testCaseTask
        $"over {protocol}: the caller's span, SERVER, CLIENT and target are one line, retries are spans too"
    <| fun () -> task {
        use! collector = OtlpReceiver.Start()
        use good = TestTarget.ok ()
        use bad = TestTarget.answering "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"
        let refused = TestTarget.refusedPort ()

        use! program =
            TracedProgram.Start(
                retrying "a.example" [ good.Port; bad.Port; refused ],
                TracedProgram.Variables(collector, protocol)
            )

        do!
            program.Send(
                "POST /hooks%2Fx?token=1",
                [ sampled; "tracestate", "a=1"; "TraceState", "b=2" ],
                "body"
            )

        let! received = good.Next()
        let! tried = bad.Take 3
        let! clients = collector.Await(7, is client)
        let! servers = collector.Await(1, is server)
        do! program.Stop()
        Expect.equal collector.Spans.Length 8 "no span besides"
        let root = servers.Head
        Expect.equal (root.TraceId, root.ParentId) (traceId, callerSpan) "the caller's"
        Expect.equal root.Name "POST" "its name"
        Expect.equal (root.Status, root.StatusMessage) (0, "") "no error"

        Expect.equal
            root.Attributes
            (Map [
                "http.request.method", "POST"
                "http.response.status_code", "202"
                "network.protocol.version", "1.1"
                "server.address", "a.example"
                "url.path", "/hooks%2Fx"
                "url.scheme", "http"
            ])
            "what it says"

        for span in clients do
            Expect.equal (span.TraceId, span.ParentId, span.Name) (traceId, root.SpanId, "POST") "a child"
            Expect.isGreaterThanOrEqual span.Start root.Start "begun after it"
            Expect.isGreaterThanOrEqual span.End span.Start "ended"

        let ofPort port =
            clients
            |> List.filter (fun span -> span.Attributes["server.port"] = string<int> port)

        let delivered = ofPort good.Port
        Expect.equal (traceparent received) (traceId, delivered.Head.SpanId, "01") "the copy names its span"
        Expect.equal (value "tracestate" received) "a=1,b=2" "both lines"
        Expect.equal received.Start "POST /hooks%2Fx?token=1 HTTP/1.1" "the copy's first line"
        Expect.equal received.Text "body" "the copy's body"

        Expect.equal
            delivered.Head.Attributes
            (Map [
                "http.request.method", "POST"
                "http.response.status_code", "200"
                "k8sreq.requestclone", "shop/copy-0"
                "network.protocol.version", "1.1"
                "server.address", "127.0.0.1"
                "server.port", string good.Port
                "url.full", $"http://127.0.0.1:{good.Port}/hooks%%2Fx"
            ])
            "what a delivery says"

        let resends spans =
            spans
            |> List.map (fun (span: ReceivedSpan) -> span.Attributes.TryFind "http.request.resend_count")

        let failed = ofPort bad.Port
        Expect.equal (resends failed) [ None; Some "1"; Some "2" ] "each attempt"

        Expect.equal
            (tried |> List.map traceparent)
            (failed |> List.map (fun span -> traceId, span.SpanId, "01"))
            "each names its own span"

        for span in failed do
            Expect.equal (span.Attributes["error.type"], span.Status) ("503", 2) "an error"
            Expect.equal span.StatusMessage "" "the status says it"

        let refusals = ofPort refused
        Expect.equal (resends refusals) [ None; Some "1"; Some "2" ] "nobody there"

        for span in refusals do
            Expect.equal (span.Attributes["error.type"], span.Status) ("connect", 2) "an error"
            Expect.isFalse (span.Attributes.ContainsKey "http.response.status_code") "no answer"
            Expect.stringContains span.StatusMessage "could not connect" "in words"

        Expect.equal root.Resource["service.name"] "k8sreq" "who says it"
        Expect.isTrue (root.Resource.ContainsKey "service.instance.id") "which of them"
    }

let private propagation =
    let b3Id (field: string) = field.Split('-')[1]

    [
        testCaseTask "nothing in: a trace of its own, told by traceparent"
        <| fun () -> task {
            let! message, spans = oneRequest [] []
            let root, copy = single server spans, single client spans
            Expect.equal (root.ParentId, copy.ParentId) ("", root.SpanId) "a root and its child"
            Expect.equal (traceparent message) (root.TraceId, copy.SpanId, "01") "told"
            Expect.isEmpty (message.Values "b3") "in this form alone"
        }

        testCaseTask "b3 in one field: told by it again, a parent of its own"
        <| fun () -> task {
            let! message, spans =
                oneRequest [] [ "B3", $"{traceId}-{callerSpan}-1-05e3ac9a4f6e3b90" ]

            let root, copy = single server spans, single client spans
            Expect.equal (root.TraceId, root.ParentId) (traceId, callerSpan) "the caller's"
            Expect.equal (value "b3" message) $"{traceId}-{copy.SpanId}-1" "told"
            Expect.isEmpty (message.Values "traceparent") "in this form alone"
        }

        testCaseTask "b3 in several fields, for debugging: the same, and still for debugging"
        <| fun () -> task {
            let! message, spans =
                oneRequest [] [
                    "x-b3-traceid", traceId
                    "X-B3-SpanId", callerSpan
                    "X-B3-ParentSpanId", "05e3ac9a4f6e3b90"
                    "X-B3-Flags", "1"
                ]

            let root, copy = single server spans, single client spans
            Expect.equal (root.TraceId, root.ParentId) (traceId, callerSpan) "the caller's"

            Expect.equal
                (value "X-B3-TraceId" message, value "X-B3-SpanId" message, value "X-B3-Flags" message)
                (traceId, copy.SpanId, "1")
                "told"

            Expect.isEmpty (message.Values "X-B3-ParentSpanId") "the caller's parent is nobody's here"
            Expect.isEmpty (message.Values "traceparent" @ message.Values "b3") "in these fields alone"
        }

        testCaseTask "W3C and b3 in: both out, of one span"
        <| fun () -> task {
            let! message, spans = oneRequest [] [ sampled; "b3", $"{traceId}-{callerSpan}-1" ]
            let copy = single client spans
            Expect.equal (traceparent message) (traceId, copy.SpanId, "01") "the one"
            Expect.equal (b3Id (value "b3" message)) copy.SpanId "the other"
        }

        testCaseTask "contexts that are none: a trace of its own, and they are gone"
        <| fun () -> task {
            let! message, spans =
                oneRequest [] [
                    "traceparent", $"00-{traceId}-0000000000000000-01"
                    "b3", "nonsense"
                    "X-B3-TraceId", traceId
                ]

            let root, copy = single server spans, single client spans
            Expect.equal root.ParentId "" "nobody's child"
            Expect.notEqual root.TraceId traceId "a trace of its own"
            Expect.equal (traceparent message) (root.TraceId, copy.SpanId, "01") "told"
            Expect.isEmpty (message.Values "b3" @ message.Values "X-B3-TraceId") "gone"
        }

        testCaseTask "OTEL_PROPAGATORS=none: nothing is read, and every field passes as it came"
        <| fun () -> task {
            let! message, spans =
                oneRequest [ "OTEL_PROPAGATORS", "none" ] [ sampled; "b3", "nonsense" ]

            Expect.equal
                (value "traceparent" message, value "b3" message)
                (snd sampled, "nonsense")
                "untouched"

            Expect.equal (single server spans).ParentId "" "a trace of its own"
        }

        testCaseTask
            "OTEL_PROPAGATORS=b3multi: read and told by it alone, the others are fields like any other"
        <| fun () -> task {
            let! message, spans =
                oneRequest [ "OTEL_PROPAGATORS", "baggage,b3multi" ] [ sampled; "baggage", "a=1" ]

            let root, copy = single server spans, single client spans
            Expect.equal root.ParentId "" "a trace of its own"

            Expect.equal
                (value "X-B3-TraceId" message, value "X-B3-SpanId" message)
                (root.TraceId, copy.SpanId)
                "told"

            Expect.equal
                (value "traceparent" message, value "baggage" message)
                (snd sampled, "a=1")
                "untouched"
        }

        testCaseTask "who is not sampled has no spans, and copies that say so"
        <| fun () -> task {
            use! collector = OtlpReceiver.Start()
            use first = TestTarget.ok ()
            use second = TestTarget.ok ()

            use! program =
                TracedProgram.Start(
                    Manifests.route "a.example" [ first.Port; second.Port ],
                    TracedProgram.Variables(collector, "grpc")
                )

            do! program.Send("POST /", [ notSampled; "tracestate", "a=1" ], "body")

            for target in [ first; second ] do
                let! message = target.Next()
                let inTrace, spanId, flags = traceparent message
                Expect.equal (inTrace, flags) (traceId, "00") "not sampled"
                Expect.notEqual spanId callerSpan "sent from here"
                Expect.equal (value "tracestate" message) "a=1" "its state"
                Expect.equal message.Text "body" "its body"

            do! program.Send("POST /", [ "b3", $"{traceId}-{callerSpan}-0" ])
            let! message = first.Next()
            Expect.stringEnds (value "b3" message) "-0" "nor by b3"
            do! program.Stop()
            Expect.isEmpty collector.Spans "no spans"
        }

        for sampler, argument in [ "always_off", ""; "parentbased_traceidratio", "0"; "traceidratio", "0" ] do
            testCaseTask $"{sampler} {argument}: no spans, and copies that say so"
            <| fun () -> task {
                let! message, spans =
                    oneRequest [ "OTEL_TRACES_SAMPLER", sampler; "OTEL_TRACES_SAMPLER_ARG", argument ] []

                let _, _, flags = traceparent message
                Expect.equal (spans, flags) ([], "00") "neither"
            }

        testCaseTask "a parent that is sampled counts for parentbased_traceidratio"
        <| fun () -> task {
            let! message, spans =
                oneRequest [
                    "OTEL_TRACES_SAMPLER", "parentbased_traceidratio"
                    "OTEL_TRACES_SAMPLER_ARG", "0"
                ] [ sampled ]

            Expect.equal spans.Length 2 "both"
            Expect.equal (traceparent message) (traceId, (single client spans).SpanId, "01") "told"
        }
    ]

let private requests = [
    testCaseTask "a span ends when its target has answered, long after the 202"
    <| fun () -> task {
        use! collector = OtlpReceiver.Start()
        let answers = TaskCompletionSource()

        use target =
            new TestTarget(fun keep stream reader -> task {
                let! message = reader.Read()
                keep message.Value
                do! answers.Task
                let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"B
                do! stream.WriteAsync(answer, 0, answer.Length)
            })

        use! program =
            TracedProgram.Start(
                Manifests.route "a.example" [ target.Port ],
                TracedProgram.Variables(collector, "grpc")
            )

        do! program.Send("GET /", [ sampled ])
        let! _ = target.Next()
        let! roots = collector.Await(1, is server)
        Expect.isEmpty (collector.Spans |> List.filter (is client)) "it is under way"
        answers.SetResult()
        let! copies = collector.Await(1, is client)
        Expect.equal copies.Head.ParentId roots.Head.SpanId "a child of what has ended"
        Expect.isGreaterThan copies.Head.End roots.Head.End "ended later"
    }

    testCaseTask "HTTP/2, any method, a host with a port; a host that nobody has"
    <| fun () -> task {
        use! collector = OtlpReceiver.Start()
        use target = TestTarget.ok ()

        use! program =
            TracedProgram.Start(
                Manifests.route "a.example" [ target.Port ],
                TracedProgram.Variables(collector, "grpc")
            )

        let! _ =
            Http2Client.get program.Port (":authority", "a.example:81") [
                ":path", "/two?x"
                sampled
                "tracestate", "a=1"
            ]

        let! message = target.Next()
        let! copies = collector.Await(1, is client)
        let! roots = collector.Await(1, is server)
        Expect.equal (traceparent message) (traceId, copies.Head.SpanId, "01") "the copy"
        Expect.equal (value "tracestate" message) "a=1" "the state"
        let said name = roots.Head.Attributes.TryFind name

        Expect.equal
            (said "network.protocol.version", said "server.address", said "server.port", said "url.path")
            (Some "2", Some "a.example", Some "81", Some "/two")
            "what it says"

        let! _ =
            TestClient.roundTrip program.Port "BREW / HTTP/1.1\r\nHost: a.example\r\n\r\n"

        let! copies =
            collector.Await(1, fun span -> span.Kind = client && span.Name = "HTTP")

        Expect.equal
            (copies.Head.Attributes["http.request.method"],
             copies.Head.Attributes["http.request.method_original"])
            ("_OTHER", "BREW")
            "a method of its own"

        let! answer = TestClient.get program.Port "nobody.example"
        Expect.equal (TestClient.status answer) 503 "nobody's"

        let! roots =
            collector.Await(1, fun span -> span.Attributes["server.address"] = "nobody.example")

        Expect.equal (roots.Head.Attributes["error.type"], roots.Head.Status) ("503", 2) "an error"
    }

    testCaseTask "long bodies, in chunks or not, arrive whole beside their context"
    <| fun () -> task {
        use! collector = OtlpReceiver.Start()
        use target = TestTarget.ok ()

        use! program =
            TracedProgram.Start(
                Manifests.route "a.example" [ target.Port ],
                TracedProgram.Variables(collector, "grpc")
            )

        for length in [ 0; 1; 5000; 200_000 ] do
            let body = String('x', length)
            do! program.Send("POST /", [ sampled; "X-Last", "1" ], body)
            let! plain = target.Next()
            let chunk = if length = 0 then "" else $"{length:x}\r\n{body}\r\n"

            let! _ =
                TestClient.roundTrip
                    program.Port
                    $"POST / HTTP/1.1\r\nHost: a.example\r\n{fst sampled}: {snd sampled}\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}0\r\n\r\n"

            let! chunked = target.Next()

            for message in [ plain; chunked ] do
                Expect.equal message.Text body $"{length} bytes"
                let inTrace, _, _ = traceparent message
                Expect.equal inTrace traceId "its trace"

        let! _ = collector.Await(8, is client)
        ()
    }

    testCaseTask "nothing that is secret is in what is exported"
    <| fun () -> task {
        use! collector = OtlpReceiver.Start()
        use good = TestTarget.ok ()
        use bad = TestTarget.answering "HTTP/1.1 SECRET-status\r\n\r\n"
        use worse = TestTarget.answering "SECRET-answer\r\n\r\n"

        use redirecting =
            TestTarget.answering "HTTP/1.1 302 SECRET\r\nLocation: /SECRET\r\nContent-Length: 0\r\n\r\n"

        use! program =
            TracedProgram.Start(
                Manifests.route "a.example" [ good.Port; bad.Port; worse.Port; redirecting.Port ],
                TracedProgram.Variables(collector, "http/protobuf")
                @ [ "OTEL_EXPORTER_OTLP_HEADERS", "authorization=SECRET" ]
            )

        let! answer =
            TestClient.roundTrip
                program.Port
                ("POST http://SECRET:SECRET@a.example/x?key=SECRET HTTP/1.1\r\nHost: a.example\r\n"
                 + $"{fst sampled}: {snd sampled}\r\nAuthorization: Bearer SECRET\r\nCookie: SECRET\r\nbaggage: a=SECRET\r\n"
                 + "User-Agent: SECRET\r\nX-Hub-Signature: SECRET\r\nContent-Length: 6\r\n\r\nSECRET")

        Expect.equal (TestClient.status answer) 202 "accepted"
        let! copies = collector.Await(4, is client)

        let errors =
            copies
            |> List.choose (fun span -> span.Attributes.TryFind "error.type")
            |> List.sort

        Expect.equal errors [ "302"; "bad_answer"; "bad_answer" ] "what became of them"
        do! program.Stop()
        Expect.isTrue (collector.Has "/x") "the path is said"
        Expect.isFalse (collector.Has "SECRET") "a secret"
    }
]

// The collector's side of TLS and what the program needs for it, in files of this folder.
let private certificates (folder: TestFolder) =
    let reloaded (certificate: X509Certificate2) =
        X509CertificateLoader.LoadPkcs12(certificate.Export X509ContentType.Pkcs12, "")

    let authority = TlsFront.Certificate "127.0.0.1" |> reloaded
    let shown = TlsFront.Certificate "k8sreq" |> reloaded
    folder.Write("ca.pem", authority.ExportCertificatePem())
    folder.Write("client.pem", shown.ExportCertificatePem())

    match shown.GetRSAPrivateKey() with
    | null -> failwith "no key"
    | key -> folder.Write("client.key", key.ExportPkcs8PrivateKeyPem())

    authority, shown

let private settings = [
    for protocol in [ "grpc"; "http/protobuf" ] do
        testCaseTask
            $"over {protocol}: the service's name, attributes, headers, TLS with a certificate of its own"
        <| fun () -> task {
            use folder = new TestFolder()
            let authority, shown = certificates folder
            use! collector = OtlpReceiver.Start(certificate = authority, client = shown)
            use target = TestTarget.ok ()

            let port =
                if protocol = "grpc" then
                    collector.GrpcPort
                else
                    collector.HttpPort

            use! program =
                TracedProgram.Start(
                    Manifests.route "a.example" [ target.Port ],
                    TracedProgram.Soon
                    @ [
                        "OTEL_EXPORTER_OTLP_ENDPOINT", $"https://127.0.0.1:{port}"
                        "OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20aGk6,x-tenant=7"
                        "OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,service.name=other"
                        "OTEL_EXPORTER_OTLP_CERTIFICATE", folder.At "ca.pem"
                        "OTEL_EXPORTER_OTLP_CLIENT_KEY", folder.At "client.key"
                        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", folder.At "client.pem"
                        "OTEL_SERVICE_NAME", "overridden"
                    ],
                    [ "--otel-service-name=hooks"; "--otel-exporter-otlp-protocol"; protocol ]
                )

            do! program.Send("GET /", [])
            let! _ = collector.Await(2, fun _ -> true)

            do! Waiting.until "metrics" (fun () -> Task.FromResult(not collector.Points.IsEmpty))

            let resources =
                (collector.Spans |> List.map _.Resource)
                @ (collector.Points |> List.map _.Resource)

            for resource in resources do
                Expect.equal
                    (resource["service.name"], resource["deployment.environment.name"])
                    ("hooks", "test")
                    "who says it"

            for export in collector.Exports do
                Expect.equal
                    (export.Headers["authorization"], export.Headers["x-tenant"])
                    ("Basic aGk6", "7")
                    "its headers"

            let paths =
                collector.Exports
                |> List.map (fun export -> export.Protocol, export.Path)
                |> set

            Expect.equal
                paths
                (if protocol = "grpc" then
                     set [
                         "HTTP/2", "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
                         "HTTP/2", "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
                     ]
                 else
                     set [ "HTTP/1.1", "/v1/traces"; "HTTP/1.1", "/v1/metrics" ])
                "how it is asked"
        }

    testCaseTask "each signal's own endpoint, protocol and headers; what has no endpoint is not sent"
    <| fun () -> task {
        use! traces = OtlpReceiver.Start()
        use! metrics = OtlpReceiver.Start()
        use target = TestTarget.ok ()

        let start variables =
            TracedProgram.Start(Manifests.route "a.example" [ target.Port ], TracedProgram.Soon @ variables)

        let forTraces = [
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", $"http://127.0.0.1:{traces.HttpPort}/v1/traces"
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf"
            "OTEL_EXPORTER_OTLP_TRACES_HEADERS", "x-for=traces"
            "OTEL_EXPORTER_OTLP_HEADERS", "x-for=all"
        ]

        use! both =
            start (
                forTraces
                @ [
                    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", $"http://127.0.0.1:{metrics.GrpcPort}"
                ]
            )

        do! both.Send("GET /", [])
        let! _ = traces.Await(2, fun _ -> true)
        do! Waiting.until "metrics" (fun () -> Task.FromResult(not metrics.Points.IsEmpty))

        let headers (receiver: OtlpReceiver) =
            receiver.Exports
            |> List.map (fun export -> export.Headers["x-for"])
            |> List.distinct

        Expect.equal (headers traces, headers metrics) ([ "traces" ], [ "all" ]) "the nearer one counts"
        Expect.isEmpty traces.Points "no metrics there"
        Expect.isEmpty metrics.Spans "no traces there"
        do! both.Stop()
        use! one = start forTraces
        let before = metrics.Exports.Length
        do! one.Send("GET /", [])
        let! _ = traces.Await(4, fun _ -> true)
        do! one.Stop()
        Expect.equal metrics.Exports.Length before "metrics have no endpoint"
    }

    testCaseTask "without an endpoint nothing is on, whatever else is set: every field passes as it came"
    <| fun () -> task {
        use target = TestTarget.ok ()

        use! program =
            TracedProgram.Start(
                Manifests.route "a.example" [ target.Port ],
                [
                    "OTEL_TRACES_SAMPLER", "always_on"
                    "OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"
                    "OTEL_PROPAGATORS", "tracecontext,b3"
                    "OTEL_SERVICE_NAME", "x"
                ]
            )

        do! program.Send("GET /", [ sampled; "tracestate", "a=1"; "b3", "0"; "X-B3-Sampled", "1" ])
        let! message = target.Next()

        Expect.equal
            (message.Fields |> List.filter (fun (name, _) -> name <> "Host" && name <> "Via"))
            [
                sampled
                "tracestate", "a=1"
                "b3", "0"
                "X-B3-Sampled", "1"
                "Content-Length", "0"
            ]
            "untouched"

        do! program.Send("GET /", [])
        let! message = target.Next()
        Expect.isEmpty (message.Values "traceparent") "nothing is added"
    }

    testCaseTask
        "a collector that is away, silent, overloaded or no collector: copies go on, and so does the end"
    <| fun () -> task {
        use silent = TestTarget.silent ()
        use garbage = TestTarget.answering "\000\001 nonsense\r\n\r\n"
        use! unavailable = OtlpReceiver.Start(how = OtlpAnswer.Unavailable)
        let refused = TestTarget.refusedPort ()

        let collectors = [
            "grpc", refused
            "http/protobuf", refused
            "grpc", silent.Port
            "http/protobuf", silent.Port
            "grpc", unavailable.GrpcPort
            "http/protobuf", unavailable.HttpPort
            "grpc", garbage.Port
            "http/protobuf", garbage.Port
        ]

        let run (protocol, port) = task {
            use target = TestTarget.ok ()

            use! program =
                TracedProgram.Start(
                    Manifests.route "a.example" [ target.Port ],
                    TracedProgram.Soon
                    @ [
                        "OTEL_EXPORTER_OTLP_PROTOCOL", protocol
                        "OTEL_EXPORTER_OTLP_ENDPOINT", $"http://127.0.0.1:{port}"
                    ]
                )

            use! client = TestClient.Connect program.Port

            for _ in 1..300 do
                do! client.Send "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"
                let! answer = client.Answer()
                Expect.equal (TestClient.status answer) 202 "accepted"

            let! _ = target.Take 300
            let stopping = Stopwatch.StartNew()
            do! program.Stop()
            // Three seconds are its bound; the rest is this machine's.
            Expect.isLessThan stopping.Elapsed.TotalSeconds 8.0 $"{protocol}, {port}: the end"

            Expect.stringContains
                program.Program.Errors
                "300 copies accepted: 300 delivered"
                "all were delivered"
        }

        let! _ = collectors |> List.map run |> Task.WhenAll
        ()
    }
]

let private metrics = [
    for protocol in [ "grpc"; "http/protobuf" ] do
        testCaseTask $"over {protocol}: metrics are those of /metrics, and vanish as they do there"
        <| fun () -> task {
            use! collector = OtlpReceiver.Start()
            use good = TestTarget.ok ()
            use bad = TestTarget.answering "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"

            use! program =
                TracedProgram.Start(
                    Manifests.route "a.example" [ good.Port; bad.Port ],
                    TracedProgram.Variables(collector, protocol)
                )

            for _ in 1..3 do
                do! program.Send("POST /", [])

            let points metric (labels: (string * string) list) =
                collector.Points
                |> List.filter (fun point -> point.Metric = metric && point.Attributes = Map labels)

            let ofClone index more =
                [ "namespace", "shop"; "name", $"copy-{index}" ] @ more

            let value metric labels =
                match points metric labels with
                | [ point ] -> Some point
                | _ -> None

            let counts metric labels expected =
                match value metric labels with
                | Some point ->
                    point.Value = expected
                    && point.Kind = "sum"
                    && point.IsMonotonic
                    && point.Temporality = 2
                | None -> false

            do!
                Waiting.until "the figures" (fun () ->
                    Task.FromResult(
                        counts "k8sreq.copies" (ofClone 0 [ "outcome", "delivered" ]) 3.0
                        && counts "k8sreq.copies" (ofClone 1 [ "outcome", "failed" ]) 3.0
                        && counts "k8sreq.copies.accepted" (ofClone 0 []) 3.0
                        && counts "k8sreq.requests" [ "code", "202" ] 3.0
                    ))

            let labels status more =
                [
                    "http.request.method", "POST"
                    "http.response.status_code", status
                    "network.protocol.version", "1.1"
                    "url.scheme", "http"
                ]
                @ more

            for metric, labels in
                [
                    "http.server.request.duration", labels "202" []
                    "http.client.request.duration", labels "200" []
                    "http.client.request.duration", labels "503" [ "error.type", "503" ]
                    "k8sreq.delivery.duration", []
                ] do
                match value metric labels with
                | Some point ->
                    Expect.equal (point.Kind, point.Count, point.Temporality) ("histogram", 3UL, 2) metric
                    Expect.equal (List.sum point.Buckets) 3UL metric
                    Expect.equal point.Buckets.Length 15 metric

                    Expect.equal
                        point.Bounds
                        [
                            0.005
                            0.01
                            0.025
                            0.05
                            0.075
                            0.1
                            0.25
                            0.5
                            0.75
                            1.0
                            2.5
                            5.0
                            7.5
                            10.0
                        ]
                        metric

                    Expect.isGreaterThan point.Value 0.0 metric
                | None -> failwith $"no {metric} in {collector.Points}"

            match value "k8sreq.hosts" [] with
            | Some point -> Expect.equal (point.Kind, point.Value) ("gauge", 1.0) "a gauge"
            | None -> failwith "no hosts"

            // Every family of the page is there, by OpenTelemetry's name.
            let! page = Scrape.text program.MetricsPort
            let plain (name: string) = name.Replace('.', '_')
            let exported = collector.Points |> List.map (fun point -> plain point.Metric) |> set

            for line in page.Split '\n' do
                if line.StartsWith "# TYPE " then
                    let name = line.Split(' ')[2]

                    let hasSamples =
                        page.Split '\n'
                        |> Array.exists (fun line -> line.StartsWith name && not (line.StartsWith '#'))

                    if hasSamples then
                        Expect.isTrue (exported |> Set.exists (fun other -> name.StartsWith other)) name

            program.Folder.Write("all.yaml", Manifests.route "a.example" [ good.Port ])

            do!
                Waiting.until "the series to vanish" (fun () ->
                    Task.FromResult(
                        not collector.Points.IsEmpty
                        && collector.Points
                           |> List.forall (fun point -> point.Attributes.TryFind "name" <> Some "copy-1")
                    ))

            Expect.isTrue
                (counts "k8sreq.copies" (ofClone 0 [ "outcome", "delivered" ]) 3.0)
                "the other's stay"
        }
]

let tests =
    testList "telemetry" [
        testList "traces" ([ parentage "grpc"; parentage "http/protobuf" ] @ propagation @ requests)
        testList "settings" settings
        testList "metrics exported" metrics
    ]
