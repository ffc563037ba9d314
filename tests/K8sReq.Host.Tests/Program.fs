module K8sReq.Host.Tests.Program

open System
open Expecto
open K8sReq.Kubernetes

/// What starts the program: it runs with every build of it.
let private ofTheProgram = [
    TracingTests.tests
    JsonLogFormatterTests.tests
    LogTests.tests
    PrometheusTests.tests
    MetricsTableTests.tests
    StatusBrowserTests.tests
    DeadLetterBrowserTests.tests
    ProgramTests.tests
    CommandTests.tests
    JournalTests.tests
    PostgresJournalTests.tests
    DeadLetterTests.tests
    JournalFaultTests.tests
    StalledReaderTests.tests
    WebhookTests.tests
]

let private ofItsParts = [
    ManifestFileTests.tests
    ManifestFolderTests.tests
    CommandLineTests.tests
    CheckTests.tests
    ReceiveTests.tests
    ServeTests.tests
    MetricsTests.tests
    StatusPageTests.tests
    HealthTests.tests
    StatusLayoutTests.tests
    DeadLetterPageTests.tests
    LoadTests.tests
    LayerTests.tests
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

    runTestsWithCLIArgs [] arguments (testList "Host" tests)
