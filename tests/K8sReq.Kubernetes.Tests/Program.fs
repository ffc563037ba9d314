module K8sReq.Kubernetes.Tests.Program

open Expecto
open K8sReq.Kubernetes

[<EntryPoint>]
let main arguments =
    // Tests make clients of their own in this process, and the first one that reads anything decides how all read.
    WatchEventJson.register ()

    runTestsWithCLIArgs
        []
        arguments
        (testList "Kubernetes" [
            PlainJsonEncoderTests.tests
            DecodeTests.tests
            ManifestTextTests.tests
            ApiServerTests.tests
            WatchStreamTests.tests
            ClusterAccessTests.tests
            ClusterTests.tests
            RealClusterTests.tests
        ])
