module K8sReq.Journal.Tests.Program

open Expecto

[<EntryPoint>]
let main arguments =
    runTestsWithCLIArgs
        []
        arguments
        (testList "Journal" [
            ContractTests.tests
            PackTests.tests
            KeptRequestsTests.tests
            SqliteStoreTests.tests
            DeadLetterTests.tests
            UpgradeTests.tests
            DamagedLogTests.tests
            PeerFaultTests.tests
        ])
