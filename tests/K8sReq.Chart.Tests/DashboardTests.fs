/// The chart's dashboard for Grafana.
module K8sReq.Chart.Tests.DashboardTests

open System.IO
open System.Text.Json
open System.Text.RegularExpressions
open Expecto
open K8sReq.Chart.Tests.Tools
open K8sReq.Chart.Tests.Manifest

let private file = File.ReadAllText(Path.Combine(chart, "files", "dashboard.json"))

let private dashboard = lazy (JsonDocument.Parse file).RootElement
let private panels () = items [ "panels" ] dashboard.Value

let private expressions () = [
    for panel in panels () do
        for target in items [ "targets" ] panel -> text [ "expr" ] target
]

let private configMaps helm arguments =
    let objects =
        succeed helm ([ "template"; "rel"; chart; "--namespace"; "sys" ] @ withImage @ arguments)
        |> parse

    kind objects "ConfigMap"

let private enabled = [ "--set"; "grafanaDashboard.enabled=true" ]

let tests =
    testList "dashboard" [
        test "asks for metrics that the program has, and shows those that matter" {
            let asked =
                set [
                    for expression in expressions () do
                        yield! Exposed.metricsOf expression
                ]

            Expect.isEmpty (asked - Exposed.series) "metrics that there are not"

            Expect.isEmpty
                (set [
                    "k8sreq_requests_total"
                    "k8sreq_copies_total"
                    "k8sreq_copies_pending"
                    "k8sreq_in_flight"
                    "k8sreq_queue_bytes"
                    "k8sreq_queue_oldest_seconds"
                    "k8sreq_delivery_duration_seconds_bucket"
                    "k8sreq_last_sync_seconds"
                    "k8sreq_leader"
                    "k8sreq_ready"
                    "process_cpu_seconds_total"
                    "process_resident_memory_bytes"
                 ]
                 - asked)
                "metrics that are not shown"

            let variables = items [ "templating"; "list" ] dashboard.Value

            for variable in variables |> List.filter (fun variable -> text [ "type" ] variable = "query") do
                let metric =
                    Regex.Match(text [ "query" ] variable, @"^label_values\((\w+), job\)$").Groups[1].Value

                Expect.isTrue (Exposed.series.Contains metric) $"the variable's metric {metric}"
        }

        test "has expressions that Prometheus understands, of the chosen jobs alone" {
            let expressions = expressions ()

            for expression in expressions do
                Expect.equal
                    (Regex.Matches(expression, @"\w+\{job=~""\$job""")).Count
                    (Exposed.metricsOf expression).Length
                    expression

            expressions
            |> List.map (fun expression -> expression.Replace("$__rate_interval", "5m"))
            |> Exposed.rulesOf
            |> Exposed.expectRules
        }

        test "has panels with a title and an explanation, one beside the other" {
            let panels = panels ()
            let ids = panels |> List.map (text [ "id" ])
            Expect.equal (List.distinct ids) ids "ids"

            for panel in panels do
                Expect.isNotEmpty (text [ "title" ] panel) "title"
                Expect.isNotEmpty (text [ "description" ] panel) "explanation"

            let cells = [
                for panel in panels do
                    let number name = int (text [ "gridPos"; name ] panel)

                    for x in number "x" .. number "x" + number "w" - 1 do
                        for y in number "y" .. number "y" + number "h" - 1 do
                            x, y
            ]

            Expect.equal (List.distinct cells).Length cells.Length "none over another"
            Expect.isTrue (cells |> List.forall (fun (x, _) -> x < 24)) "a row has 24 columns"
        }

        withHelm "is the file as it is, in a ConfigMap that Grafana's sidecar finds" (fun helm ->
            let map = configMaps helm enabled |> List.exactlyOne

            let data = fields [ "data" ] map |> Map.toList |> List.exactlyOne

            Expect.equal (fst data) "rel-k8sreq-duplicator-controller.json" "the name of a file"
            Expect.equal ((snd data).TrimEnd()) (file.TrimEnd()) "the file"
            Expect.equal (text [ "metadata"; "labels"; "grafana_dashboard" ] map) "1" "found"
            Expect.equal (text [ "metadata"; "namespace" ] map) "sys" "where")

        withHelm "is not there unless it is wanted, and then as it is wanted" (fun helm ->
            Expect.isEmpty (configMaps helm []) "by default"

            let map =
                configMaps
                    helm
                    (enabled
                     @ [
                         "--set"
                         "grafanaDashboard.namespace=monitoring"
                         "--set-string"
                         "grafanaDashboard.labels.grafana_dashboard=null,grafanaDashboard.labels.team=a"
                         "--set-string"
                         "grafanaDashboard.annotations.grafana_folder=Webhooks"
                     ])
                |> List.exactlyOne

            Expect.equal (text [ "metadata"; "namespace" ] map) "monitoring" "namespace"
            Expect.equal (text [ "metadata"; "labels"; "team" ] map) "a" "a label of their own"

            Expect.equal
                (text [ "metadata"; "annotations"; "grafana_folder" ] map)
                "Webhooks"
                "an annotation")
    ]
