module K8sReq.Kubernetes.Tests.Program

open System
open Expecto
open K8sReq.Kubernetes

/// What starts the program: it runs with every build of it.
let private ofTheProgram = [
    ClusterAccessTests.tests
    ClusterTests.tests
    RealClusterTests.tests
    DoctorTests.tests
]

let private ofItsParts = [
    PlainJsonEncoderTests.tests
    BackendServiceTests.tests
    ManifestTextTests.tests
    ApiServerTests.tests
    WatchStreamTests.tests
    KindTests.tests
]

[<EntryPoint>]
let main arguments =
    // Tests make clients of their own in this process, and the first one that reads anything decides how all read.
    WatchEventJson.register ()

    let tests =
        match Environment.GetEnvironmentVariable "K8SREQ_TEST_PROGRAM" with
        | null
        | "" -> ofItsParts @ ofTheProgram
        | _ -> ofTheProgram

    runTestsWithCLIArgs [] arguments (testList "Kubernetes" tests)
