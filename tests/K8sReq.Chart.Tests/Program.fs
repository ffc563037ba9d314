module K8sReq.Chart.Tests.Program

open Expecto

[<EntryPoint>]
let main arguments =
    runTestsWithCLIArgs
        []
        arguments
        (testList "Chart" [
            ChartTests.tests
            PersistenceTests.tests
            AlertTests.tests
            DashboardTests.tests
            CrdTests.tests
            ImageTests.tests
            ValuesTests.tests
            ReleaseTests.tests
            ReadmeWalkTests.tests
        ])
