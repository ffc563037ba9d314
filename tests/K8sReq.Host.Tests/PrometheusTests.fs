/// What Prometheus' own tools, and a Prometheus that scrapes the program, make of its metrics.
module K8sReq.Host.Tests.PrometheusTests

open System
open System.Globalization
open System.Net.Http
open System.Text.Json
open System.Threading.Tasks
open Expecto
open K8sReq.TestKit

let private client = new HttpClient()

/// A Prometheus that scrapes this port of loopback again and again.
[<Sealed>]
type private Prometheus(program: PublishedProgram, port: int, discard: unit -> unit) =
    static member Start(target: int) : Task<Prometheus> = task {
        let path = InstalledTool.path "prometheus"
        let folder = new TestFolder()

        folder.Write(
            "prometheus.yml",
            $"global: {{scrape_interval: 100ms}}\nscrape_configs:\n- job_name: k8sreq\n  static_configs: [{{targets: ['127.0.0.1:{target}']}}]\n"
        )

        let data = folder.At "data"
        let config = folder.At "prometheus.yml"

        let program =
            PublishedProgram.StartAt(
                path,
                [
                    $"--config.file={config}"
                    $"--storage.tsdb.path={data}"
                    "--web.listen-address=127.0.0.1:0"
                ],
                []
            )

        let discard () =
            // It writes into its folder until it has ended.
            program.Kill()
            program.ExitCode().GetAwaiter().GetResult() |> ignore
            (program :> IDisposable).Dispose()
            (folder :> IDisposable).Dispose()

        try
            let! port = program.Says "msg=\"Listening on\" address=127\\.0\\.0\\.1:(\\d+)"
            return new Prometheus(program, int port, discard)
        with error ->
            discard ()
            return raise error
    }

    member private _.Get(path: string) : Task<JsonElement> = task {
        // Until it has read what it stored before, it says 503.
        use! answer = client.GetAsync $"http://127.0.0.1:{port}{path}"
        let! text = answer.Content.ReadAsStringAsync()

        if answer.IsSuccessStatusCode then
            return JsonDocument.Parse(text).RootElement.GetProperty "data"
        elif int answer.StatusCode = 503 then
            return JsonDocument.Parse("{}").RootElement
        else
            return failwith $"{path}: {text}"
    }

    /// What an expression gives now: labels and value of each series.
    member prometheus.Query(expression: string) : Task<(Map<string, string> * float) list> = task {
        let! data = prometheus.Get $"/api/v1/query?query={Uri.EscapeDataString expression}"

        match data.TryGetProperty "result" with
        | false, _ -> return []
        | true, result ->
            return [
                for series in result.EnumerateArray() ->
                    Map.ofSeq [
                        for label in (series.GetProperty "metric").EnumerateObject() ->
                            label.Name, string label.Value
                    ],
                    Double.Parse(
                        series.GetProperty("value").Item(1).GetString() |> string,
                        CultureInfo.InvariantCulture
                    )
            ]
    }

    /// Waits until an expression gives exactly these, by the value of one label ("" for a series without it).
    member prometheus.Gives(expression: string, label: string, expected: (string * float) list) : Task<unit> =
        task {
            let mutable last = []

            try
                do!
                    Waiting.until expression (fun () -> task {
                        let! series = prometheus.Query expression

                        last <-
                            series
                            |> List.map (fun (labels, value) ->
                                labels.TryFind label |> Option.defaultValue "", value)
                            |> List.sort

                        return last = List.sort expected
                    })
            with error ->
                failtest $"{error.Message}: it gives {last}"
        }

    /// Type and unit by the names of metrics, as the last scrape told them.
    member prometheus.Metadata() : Task<Map<string, string * string>> = task {
        let! data = prometheus.Get "/api/v1/targets/metadata"

        return
            Map.ofSeq [
                for entry in data.EnumerateArray() ->
                    string (entry.GetProperty "metric"),
                    (string (entry.GetProperty "type"), string (entry.GetProperty "unit"))
            ]
    }

    /// Ends it in good order.
    member _.Stop() : Task<int> =
        program.Terminate()
        program.ExitCode()

    interface IDisposable with
        member _.Dispose() = discard ()

/// Expects that promtool has nothing to say against this text.
let private expectAccepted (text: string) =
    let code, output, errors =
        InstalledTool.runWith text (InstalledTool.path "promtool") [ "check"; "metrics" ]

    Expect.equal (code, output + errors) (0, "") "promtool"

let tests =
    testSequenced
    <| testList "metrics as Prometheus sees them" [
        testCaseTask "every family has series, promtool accepts them, and they are valid OpenMetrics too"
        <| fun () -> task {
            use! program = BusyProgram.Start()
            let! text = program.OpenMetrics()
            let families, wrong = OpenMetricsText.read text
            Expect.equal wrong [] "OpenMetrics"

            let silent = families |> List.filter _.Samples.IsEmpty |> List.map _.Name

            Expect.equal silent [] "each has series"
            let! text = program.Prometheus()
            expectAccepted text
        }

        testCaseTask "a Prometheus that scrapes the program finds what has happened, and its law"
        <| fun () -> task {
            // Asked for first: nothing is to be started where there is none.
            InstalledTool.path "prometheus" |> ignore
            use! program = BusyProgram.Start()
            use! prometheus = Prometheus.Start program.MetricsPort
            let requests = float BusyProgram.Requests
            do! prometheus.Gives("up", "job", [ "k8sreq", 1.0 ])
            do! prometheus.Gives("k8sreq_ready", "job", [ "k8sreq", 1.0 ])

            do!
                prometheus.Gives(
                    "sum by (outcome) (k8sreq_copies_total)",
                    "outcome",
                    [
                        "delivered", requests
                        "failed", requests
                        "dropped", 0.0
                        "expired", 0.0
                        "taken_over", 0.0
                    ]
                )

            do!
                prometheus.Gives(
                    "k8sreq_copies_pending",
                    "name",
                    [ "good", 0.0; "bad", 0.0; "silent", requests ]
                )

            do! prometheus.Gives("k8sreq_retries_total > 0", "name", [ "bad", requests ])
            do! prometheus.Gives("k8sreq_delivery_duration_seconds_count", "", [ "", requests ])

            do! prometheus.Gives("sum by (code) (k8sreq_requests_total) > 0", "code", [ "202", requests ])

            let pending =
                "sum by (name) (k8sreq_copies_accepted_total) - sum by (name) (k8sreq_copies_total) - sum by (name) (k8sreq_copies_pending)"

            let kept = [ "good", 0.0; "bad", 0.0; "silent", 0.0 ]
            do! prometheus.Gives(pending, "name", kept)

            // While copies are on their way: at every scrape that there was, not only at the last one.
            for _ in 1..200 do
                do! program.Send()

            do!
                prometheus.Gives(
                    "k8sreq_copies_total{outcome=\"delivered\"} > 3",
                    "name",
                    [ "good", requests + 200.0 ]
                )

            do! prometheus.Gives($"max_over_time(abs({pending})[5m:100ms])", "name", kept)

            // Every line that is a sample was taken for one; the unit is told by OpenMetrics alone, so that was spoken.
            let! text = program.Prometheus()
            let series = Scrape.series text

            do! prometheus.Gives("scrape_samples_scraped", "", [ "", float series.Count ])
            let! metadata = prometheus.Metadata()

            Expect.equal
                (metadata.TryFind "k8sreq_queue_oldest_seconds")
                (Some("gauge", "seconds"))
                "spoken as OpenMetrics"

            let! code = prometheus.Stop()
            Expect.equal code 0 "ended as asked"
        }
    ]
