module K8sReq.Proxy.Tests.Program

open Expecto
open K8sReq.Kubernetes
open K8sReq.TestKit

[<EntryPoint>]
let main arguments =
    // Tests make clients of their own in this process, and the first one that reads anything decides how all read.
    WatchEventJson.register ()
    BlockedTurns.Watch()

    runTestsWithCLIArgs
        []
        arguments
        (testList "Proxy" [
            HttpHandlerTests.tests
            RequestBufferTests.tests
            RequestCaptureTests.tests
            ConnectionFieldTests.tests
            HeadBlockTests.tests
            ByLabelTests.tests
            DurationHistogramTests.tests
            CopyAccountsTests.tests
            LaneTests.tests
            LaneDirectoryTests.tests
            DeliveryTests.tests
            FanOutTests.tests
            OfferTests.tests
            SendingTests.tests
            ConnectionStateTests.tests
            DeadlineTimerTests.tests
            PatienceTests.tests
            LibcTests.tests
            EventLoopTests.tests
            PlainConnectionTests.tests
            LoopStressTests.tests
            TargetClientTests.tests
            TargetConnectionTests.tests
            ControllerTests.tests
            ProxyRequestTests.tests
            ProxyCopyTests.tests
            ProxyMatchingTests.tests
            CloneFilterTests.tests
            IsolationTests.tests
            HostileTargetTests.tests
            OracleTests.tests
            PlainHeadOracleTests.tests
            HostileClientTests.tests
            RequestIdTests.tests
            RefusalTests.tests
            TapTests.tests
            RequestTraceTests.tests
            ObservedTests.tests
            BacklogFeederTests.tests
            CopyHistoryTests.tests
            CloneStatisticsTests.tests
            AllocationTests.tests
            EventLoopTests.nothingBlocks
        ])
