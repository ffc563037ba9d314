module K8sReq.Host.Tests.Program

open Expecto
open K8sReq.Kubernetes

[<EntryPoint>]
let main arguments =
    // Tests make clients of their own in this process, and the first one that reads anything decides how all read.
    WatchEventJson.register ()

    runTestsWithCLIArgs
        []
        arguments
        (testList "Host" [
            ManifestFileTests.tests
            ManifestFolderTests.tests
            CheckTests.tests
            ReceiveTests.tests
            ServeTests.tests
            MetricsTests.tests
            TracingTests.tests
            LogTests.tests
            PrometheusTests.tests
            MetricsTableTests.tests
            StatusPageTests.tests
            StatusBrowserTests.tests
            LoadTests.tests
            ProgramTests.tests
            StalledReaderTests.tests
            WebhookTests.tests
            LayerTests.tests
        ])
