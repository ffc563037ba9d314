module K8sReq.Host.Tests.Program

open Expecto
open K8sReq.Host.Sources.Kubernetes

[<EntryPoint>]
let main arguments =
    // Tests make clients of their own in this process, and the first one that reads anything decides how all read.
    WatchEventJson.register ()

    runTestsWithCLIArgs
        []
        arguments
        (testList "Host" [
            HttpHandlerTests.tests
            RequestBufferTests.tests
            RequestCaptureTests.tests
            ConnectionFieldTests.tests
            PlainJsonEncoderTests.tests
            HeadBlockTests.tests
            CopyLedgerTests.tests
            LaneTests.tests
            HostIndexTests.tests
            LaneDirectoryTests.tests
            DeliveryTests.tests
            FanOutTests.tests
            ConnectionStateTests.tests
            TargetClientTests.tests
            TargetConnectionTests.tests
            ControllerTests.tests
            DecodeTests.tests
            ManifestTextTests.tests
            ManifestFileTests.tests
            ManifestFolderTests.tests
            CheckTests.tests
            ReceiveTests.tests
            ProxyRequestTests.tests
            ProxyCopyTests.tests
            ProxyMatchingTests.tests
            IsolationTests.tests
            HostileTargetTests.tests
            OracleTests.tests
            HostileClientTests.tests
            ServeTests.tests
            MetricsTests.tests
            RefusalTests.tests
            RequestTraceTests.tests
            TracingTests.tests
            LogTests.tests
            PrometheusTests.tests
            MetricsTableTests.tests
            CopyHistoryTests.tests
            StatusPageTests.tests
            StatusBrowserTests.tests
            LoadTests.tests
            ProgramTests.tests
            AllocationTests.tests
            StalledReaderTests.tests
            ApiServerTests.tests
            WatchStreamTests.tests
            ClusterAccessTests.tests
            ClusterTests.tests
            RealClusterTests.tests
            WebhookTests.tests
        ])
