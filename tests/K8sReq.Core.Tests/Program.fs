module K8sReq.Core.Tests.Program

open Expecto

[<EntryPoint>]
let main arguments =
    runTestsWithCLIArgs
        []
        arguments
        (testList "Core" [
            NearestNameTests.tests
            CanonicalAddressTests.tests
            HostNameTests.tests
            DeliveryPolicyTests.tests
            RequestCloneTests.tests
            RequestMatchTests.tests
            HeadEditTests.tests
            ClusterStateTests.tests
            ResolutionTests.tests
            HostMapTests.tests
            RouteTableTests.tests
            RoutingTests.tests
            ConditionsTests.tests
            StatusRetryTests.tests
            EventNameTests.tests
            WatchLoopTests.tests
            PaceTests.tests
            RotationTests.tests
            TargetPolicyTests.tests
            ConnectionLimitTests.tests
            DeliveryStepTests.tests
            DeadLetterTests.tests
            AdmissionTests.tests
            LaneLoadTests.tests
            MessageSyntaxTests.tests
            RequestTargetTests.tests
            ForwardHeadersTests.tests
            TargetOutcomeTests.tests
            GoDurationTests.tests
            ListenAddressTests.tests
            TraceContextTests.tests
            TelemetrySettingsTests.tests
            PostgresAddressTests.tests
            DurationBucketsTests.tests
            RouteHealthTests.tests
            StatusQueryTests.tests
            LogRateLimitTests.tests
            UnknownHostsTests.tests
            WebhookSignatureTests.tests
            ExpositionTests.tests
            LabelSelectorTests.tests
            LifecycleTests.tests
            SettingsTests.tests
            PurityTests.tests
            PlainHeadTests.tests
            WireHeadTests.tests
            RetryAfterTests.tests
            AnswerTests.tests
            // Of the benchmarks.
            Bench.StatisticsTests.tests
            Bench.ScheduleTests.tests
            Bench.ProcessSampleTests.tests
            Bench.MachineSampleTests.tests
            Bench.SystemCallsTests.tests
            Bench.MethodSamplesTests.tests
            Bench.ResponseHeadTests.tests
            Bench.RoundsTests.tests
            Bench.ReportTests.tests
            Bench.OptionsTests.tests
        ])
