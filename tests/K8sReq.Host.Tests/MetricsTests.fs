module K8sReq.Host.Tests.MetricsTests

open System
open System.Collections.Generic
open System.IO
open System.Net.Http
open System.Text.RegularExpressions
open System.Threading.Tasks
open Expecto
open K8sReq.TestKit

let private client = new HttpClient()

let private ofClone name metric extra =
    $"{metric}{{namespace=\"shop\",name=\"{name}\"{extra}}}"

/// accepted = delivered + failed + dropped + pending, for this RequestClone, in this scrape.
let private expectLaw (all: Map<string, float>) name =
    let value metric extra = all[ofClone name metric extra]

    let ended =
        [ "delivered"; "failed"; "dropped" ]
        |> List.sumBy (fun outcome -> value "k8sreq_copies_total" $",outcome=\"{outcome}\"")

    Expect.equal
        (value "k8sreq_copies_accepted_total" "")
        (ended + value "k8sreq_copies_pending" "")
        $"the law for {name}"

let tests =
    testList "metrics" [
        testCaseTask "what happens is counted where it belongs, and a RequestClone's series vanish with it"
        <| fun () -> task {
            use good = TestTarget.ok ()

            use bad = TestTarget.answering "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"

            use! proxy = TestProxy.Start(Manifests.route "a.example" [ good.Port; bad.Port ])

            for _ in 1..3 do
                let! answer = TestClient.get proxy.Port "a.example"
                Expect.equal (TestClient.status answer) 202 "accepted"

            let! answer = TestClient.get proxy.Port "secret-host.example"
            Expect.equal (TestClient.status answer) 503 "nobody's"
            do! proxy.Settled()
            let! text = Scrape.text proxy.MetricsPort
            let all = Scrape.series text

            for name, value in
                [
                    "k8sreq_requests_total{code=\"202\"}", 3.0
                    "k8sreq_requests_total{code=\"503\",reason=\"no_route\"}", 1.0
                    "k8sreq_requests_total{code=\"503\",reason=\"no_room\"}", 0.0
                    "k8sreq_unknown_hosts", 1.0
                    ofClone "copy-0" "k8sreq_copies_total" ",outcome=\"delivered\"", 3.0
                    ofClone "copy-0" "k8sreq_attempts_total" ",code=\"200\",error_type=\"\"", 3.0
                    ofClone "copy-1" "k8sreq_copies_total" ",outcome=\"failed\"", 3.0
                    ofClone "copy-1" "k8sreq_attempts_total" ",code=\"503\",error_type=\"status\"", 3.0
                    "k8sreq_delivery_duration_seconds_count", 3.0
                    "k8sreq_routes{state=\"routed\"}", 2.0
                    "k8sreq_hosts", 1.0
                    "k8sreq_buffer_bytes", 0.0
                    "k8sreq_buffer_limit_bytes", 268435456.0
                    "k8sreq_ready", 1.0
                    "k8sreq_build_info{version=\"test\"}", 1.0
                    "http_server_request_duration_seconds_count{http_request_method=\"GET\",http_response_status_code=\"202\",network_protocol_version=\"1.1\",url_scheme=\"http\"}",
                    3.0
                    "http_client_request_duration_seconds_count{http_request_method=\"GET\",http_response_status_code=\"503\",error_type=\"503\",network_protocol_version=\"1.1\",url_scheme=\"http\"}",
                    3.0
                ] do
                Expect.equal (all.TryFind name) (Some value) name

            expectLaw all "copy-0"
            expectLaw all "copy-1"
            Expect.isFalse (text.Contains "secret-host") "a host that matched nothing is not named"
            Expect.isFalse (text.Contains "127.0.0.1") "no address"
            Expect.isGreaterThan all["k8sreq_last_sync_timestamp_seconds"] 1.0e9 "the folder was read"
            proxy.Folder.Write("all.yaml", Manifests.route "a.example" [ good.Port ])

            do!
                Waiting.until "the series to vanish" (fun () -> task {
                    let! text = Scrape.text proxy.MetricsPort
                    return not (text.Contains "copy-1")
                })

            let! text = Scrape.text proxy.MetricsPort

            let delivered =
                (Scrape.series text)[ofClone "copy-0" "k8sreq_copies_total" ",outcome=\"delivered\""]

            Expect.equal delivered 3.0 "the other's stay"
        }

        testCaseTask "what waits is told while it waits, and the law holds meanwhile"
        <| fun () -> task {
            use target = TestTarget.silent ()

            use! proxy =
                TestProxy.Start(
                    Manifests.route "a.example" [ target.Port ],
                    fun settings -> {
                        settings with
                            Lane = { settings.Lane with Concurrency = 1 }
                            GracefulShutdownTimeout = TimeSpan.Zero
                    }
                )

            for _ in 1..3 do
                let! answer = TestClient.get proxy.Port "a.example"
                Expect.equal (TestClient.status answer) 202 "accepted"

            let! text = Scrape.text proxy.MetricsPort
            let all = Scrape.series text
            expectLaw all "copy-0"
            Expect.equal all[ofClone "copy-0" "k8sreq_copies_pending" ""] 3.0 "pending"
            Expect.equal all[ofClone "copy-0" "k8sreq_copies_in_flight" ""] 1.0 "being sent"
            Expect.equal all[ofClone "copy-0" "k8sreq_queue_items" ""] 2.0 "waiting"
            Expect.isGreaterThan all[ofClone "copy-0" "k8sreq_queue_bytes" ""] 1000.0 "what they weigh"
            Expect.isGreaterThan all[ofClone "copy-0" "k8sreq_queue_oldest_seconds" ""] 0.0 "for how long"
            Expect.isGreaterThan all["k8sreq_buffer_bytes"] 0.0 "in memory"
        }

        testCaseTask "a replica that was told to stop is not ready any more"
        <| fun () -> task {
            let clock = TestClock()
            let delay = TimeSpan.FromSeconds 5.0

            use! proxy =
                TestProxy.Start(
                    Manifests.route "a.example" [ 1 ],
                    (fun settings -> { settings with ShutdownDelay = delay }),
                    clock
                )

            let stopping = proxy.Stop()
            do! clock.TimerStarted delay
            let! text = Scrape.text proxy.MetricsPort
            let all = Scrape.series text
            Expect.equal all["k8sreq_ready"] 0.0 "not ready"
            clock.Advance delay
            let! _ = stopping |> Waiting.within "the end"
            ()
        }

        testCaseTask "OpenMetrics for who asks for it; HEAD and other paths"
        <| fun () -> task {
            use! proxy = TestProxy.Start(Manifests.route "a.example" [ 1 ])
            let url = $"http://127.0.0.1:{proxy.MetricsPort}"
            use request = new HttpRequestMessage(HttpMethod.Get, $"{url}/metrics")

            request.Headers.TryAddWithoutValidation("Accept", "application/openmetrics-text; version=1.0.0")
            |> ignore

            use! answer = client.SendAsync request
            let! text = answer.Content.ReadAsStringAsync()
            Expect.stringContains (string answer.Content.Headers.ContentType) "openmetrics" "its type"
            Expect.stringEnds text "# EOF\n" "its end"
            use! missing = client.GetAsync $"{url}/"
            Expect.equal (int missing.StatusCode) 404 "nothing else"
        }
    ]
