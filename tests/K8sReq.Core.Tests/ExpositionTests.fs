module K8sReq.Core.Tests.ExpositionTests

open System
open System.Text.RegularExpressions
open Expecto
open K8sReq.Core

let private lines (format: ExpositionFormat) (families: MetricFamily list) =
    (Exposition.render format families).Split('\n', StringSplitOptions.RemoveEmptyEntries)
    |> List.ofArray

let private requests =
    MetricFamily.counter "k8sreq.requests" "{request}" "Answered." [
        MetricSample.number [ "code", "202" ] 3.0
    ]

let private duration =
    MetricFamily.histogram "http.server.request.duration" "s" "How long." [
        MetricSample.distribution [ "http.request.method", "GET" ] {
            Bounds = [| 0.5; 1.0 |]
            Counts = [| 2L; 0L; 1L |]
            Sum = 4.25
        }
    ]

/// What a label's value says, read back the way the format's readers do.
let private unescape (text: string) =
    Regex.Replace(
        text,
        @"\\(.)",
        fun found ->
            match found.Groups[1].Value with
            | "n" -> "\n"
            | other -> other
    )

let tests =
    testList "Exposition" [
        test "a counter and a histogram, as Prometheus reads them" {
            Expect.equal
                (lines ExpositionFormat.Prometheus [ requests; duration ])
                [
                    "# HELP k8sreq_requests_total Answered."
                    "# TYPE k8sreq_requests_total counter"
                    "k8sreq_requests_total{code=\"202\"} 3"
                    "# HELP http_server_request_duration_seconds How long."
                    "# TYPE http_server_request_duration_seconds histogram"
                    "http_server_request_duration_seconds_bucket{http_request_method=\"GET\",le=\"0.5\"} 2"
                    "http_server_request_duration_seconds_bucket{http_request_method=\"GET\",le=\"1\"} 2"
                    "http_server_request_duration_seconds_bucket{http_request_method=\"GET\",le=\"+Inf\"} 3"
                    "http_server_request_duration_seconds_sum{http_request_method=\"GET\"} 4.25"
                    "http_server_request_duration_seconds_count{http_request_method=\"GET\"} 3"
                ]
                "the text"
        }

        test "as OpenMetrics: the family without its suffix, units, bounds with a point, an end" {
            Expect.equal
                (lines ExpositionFormat.OpenMetrics [ requests; duration ])
                [
                    "# HELP k8sreq_requests Answered."
                    "# TYPE k8sreq_requests counter"
                    "k8sreq_requests_total{code=\"202\"} 3"
                    "# HELP http_server_request_duration_seconds How long."
                    "# TYPE http_server_request_duration_seconds histogram"
                    "# UNIT http_server_request_duration_seconds seconds"
                    "http_server_request_duration_seconds_bucket{http_request_method=\"GET\",le=\"0.5\"} 2"
                    "http_server_request_duration_seconds_bucket{http_request_method=\"GET\",le=\"1.0\"} 2"
                    "http_server_request_duration_seconds_bucket{http_request_method=\"GET\",le=\"+Inf\"} 3"
                    "http_server_request_duration_seconds_sum{http_request_method=\"GET\"} 4.25"
                    "http_server_request_duration_seconds_count{http_request_method=\"GET\"} 3"
                    "# EOF"
                ]
                "the text"
        }

        test "names: units are appended once, what is counted is no unit" {
            let nameOf name unit =
                Exposition.familyName (MetricFamily.gauge name unit "" [])

            Expect.equal
                [
                    nameOf "k8sreq.queue.bytes" "By"
                    nameOf "k8sreq.queue.oldest" "s"
                    nameOf "k8sreq.copies" "{copy}"
                    nameOf "k8sreq.leader" ""
                ]
                [
                    "k8sreq_queue_bytes"
                    "k8sreq_queue_oldest_seconds"
                    "k8sreq_copies"
                    "k8sreq_leader"
                ]
                "names"
        }

        testProperty "a label's value is one line, and reads back as it was" (fun (value: string | null) ->
            let value = string value

            let rendered =
                Exposition.render ExpositionFormat.Prometheus [
                    MetricFamily.gauge "a" "" "" [ MetricSample.number [ "b", value ] 1.0 ]
                ]

            let found =
                Regex.Match(
                    rendered,
                    "^a\\{b=\"((?:[^\"\\\\\n]|\\\\.)*)\"\\} 1\n\\z",
                    RegexOptions.Multiline ||| RegexOptions.Singleline
                )

            found.Success && unescape found.Groups[1].Value = value)

        testCase "who asks for OpenMetrics gets it"
        <| fun () ->
            let prometheus =
                "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1"

            Expect.equal (Exposition.formatFor prometheus) ExpositionFormat.OpenMetrics "asked for"
            Expect.equal (Exposition.formatFor "*/*") ExpositionFormat.Prometheus "a browser"
    ]
