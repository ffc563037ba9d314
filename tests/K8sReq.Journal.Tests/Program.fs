module K8sReq.Journal.Tests.Program

open Expecto
open K8sReq.Journal.Tests.JournalBench

[<EntryPoint>]
let main arguments =
    runTestsWithCLIArgs
        []
        arguments
        (testList "Journal" [
            ContractTests.tests
            PackTests.tests
            KeptRequestsTests.tests
            for name, create in [ "SQLite", TestPlace.folder; "PostgreSQL", TestPlace.postgres ] do
                StoreTests.tests name create
                DeadLetterTests.tests name create
                PeerFaultTests.ofEvery name create

            SqliteStoreTests.tests
            RoomTests.tests
            SendLeaseTests.tests
            PostgresTests.tests
            UpgradeTests.tests
            DamagedLogTests.tests
            PeerFaultTests.tests
        ])
