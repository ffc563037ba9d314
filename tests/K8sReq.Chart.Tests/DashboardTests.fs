/// The chart's dashboard for Grafana.
module K8sReq.Chart.Tests.DashboardTests

open System.IO
open System.Text.Json
open System.Text.RegularExpressions
open Expecto
open K8sReq.Chart.Tests.Tools
open K8sReq.Chart.Tests.Manifest

let private file = File.ReadAllText(Path.Combine(chart, "files", "dashboard.json"))

let private parsed (json: string) = (JsonDocument.Parse json).RootElement
let private dashboard = lazy (parsed file)

let private expressions () =
    DashboardLint.expressions dashboard.Value

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
                    "k8sreq_copies_in_flight"
                    "k8sreq_queue_bytes"
                    "k8sreq_queue_oldest_seconds"
                    "k8sreq_delivery_duration_seconds_bucket"
                    "k8sreq_last_sync_timestamp_seconds"
                    "k8sreq_leader"
                    "k8sreq_ready"
                    "process_cpu_seconds_total"
                    "process_resident_memory_bytes"
                 ]
                 - asked)
                "metrics that are not shown"

            for variable in DashboardLint.variables dashboard.Value do
                if text [ "type" ] variable = "query" then
                    for metric in Exposed.metricsOf (text [ "query" ] variable) do
                        Expect.isTrue (Exposed.series.Contains metric) $"the variable's metric {metric}"
        }

        test "keeps the rules of Grafana's linter" {
            Expect.equal (DashboardLint.problems dashboard.Value) [] "nothing"
        }

        for rule, before, after in
            [
                "template-datasource-rule", "\"label\": \"Data source\"", "\"label\": \"Prometheus\""
                "template-job-rule", "\"label\": \"Job\"", "\"label\": \"Jobs\""
                "template-instance-rule", "\"name\": \"instance\"", "\"name\": \"pod\""
                "template-instance-rule", "\"allValue\": \".+\"", "\"allValue\": \".*\""
                "template-on-time-change-reload-rule", "\"refresh\": 2", "\"refresh\": 1"
                "template-label-promql-rule", "label_values(k8sreq_build_info, job)", "k8sreq_build_info"
                "panel-datasource-rule", "\"uid\": \"${datasource}\"", "\"uid\": \"abc\""
                "panel-title-description-rule", "\"title\": \"Queue size\"", "\"title\": \"\""
                "panel-units-rule", "\"unit\": \"reqps\"", "\"unit\": \"requests\""
                "panel-no-targets-rule", "\"targets\"", "\"queries\""
                "target-promql-rule", "\"expr\": \"k8sreq_journal_bytes", "\"expr\": \"\", \"was\": \""
                "target-job-rule", "job=~\\\"$job\\\"", "job=\\\"k8sreq\\\""
                "target-instance-rule", ",instance=~\\\"$instance\\\"", ""
                "target-rate-interval-rule", "$__rate_interval", "5m"
                "target-counter-agg-rule", "rate(k8sreq_requests_total", "max_over_time(k8sreq_requests_total"
                "uneditable-dashboard", "\"editable\": false", "\"editable\": true"
                "a figure has thresholds", "\"steps\"", "\"was\""
                "sums name what they keep", "sum by (code)", "sum without (pod)"
                "a panel over another", "\"x\": 12", "\"x\": 11"
                "no rows", "\"type\": \"row\"", "\"type\": \"stat\""
            ] do
            test $"does not keep them with {after} in place of {before}" {
                Expect.stringContains file before "it has it"
                let problems = DashboardLint.problems (parsed (file.Replace(before, after)))

                Expect.exists
                    problems
                    (fun problem -> problem.StartsWith(rule, System.StringComparison.Ordinal))
                    rule
            }

        test "has variables for the data source, the replica and the RequestClone" {
            Expect.equal
                (DashboardLint.variables dashboard.Value |> List.map (text [ "name" ]))
                [ "datasource"; "job"; "instance"; "namespace"; "requestclone" ]
                "in this order"

            let ofClones =
                expressions ()
                |> List.filter (fun expression ->
                    Regex.IsMatch(
                        expression,
                        "k8sreq_(copies|attempts|retries|queue|backlog|dead_letters_items)"
                    ))

            Expect.isGreaterThan ofClones.Length 10 "series of RequestClones"

            for expression in ofClones do
                Expect.equal
                    (Regex.Matches(expression, @"namespace=~""\$namespace"",name=~""\$requestclone""")).Count
                    (Exposed.metricsOf expression).Length
                    expression
        }

        test "has expressions that Prometheus understands" {
            [
                for expression in expressions () do
                    expression.Replace("$__rate_interval", "5m")

                for variable in DashboardLint.variables dashboard.Value do
                    if text [ "type" ] variable = "query" then
                        Regex.Match(text [ "query" ] variable, @"^label_values\((.+), \w+\)$").Groups[1].Value
            ]
            |> Exposed.rulesOf
            |> Exposed.expectRules
        }

        test "names alerts that there are" {
            let named =
                set [
                    for panel in DashboardLint.panels dashboard.Value do
                        for alert in Regex.Matches(text [ "description" ] panel, @"\bK8sReq\w+") ->
                            alert.Value
                ]

            let runbooks = File.ReadAllText(Path.Combine(root, "docs", "operations.md"))
            Expect.isGreaterThan named.Count 5 "most of them"

            for alert in named do
                Expect.stringContains runbooks $"### {alert}\n" "its paragraph"
        }

        withHelm "is the file as it is, in a ConfigMap that Grafana's sidecar finds" (fun helm ->
            let map = configMaps helm enabled |> List.exactlyOne

            let data = fields [ "data" ] map |> Map.toList |> List.exactlyOne

            Expect.equal (fst data) "rel-k8sreq-duplicator-controller.json" "the name of a file"
            Expect.equal ((snd data).TrimEnd()) (file.TrimEnd()) "the file"
            Expect.equal (text [ "metadata"; "labels"; "grafana_dashboard" ] map) "1" "found"
            Expect.equal (text [ "metadata"; "namespace" ] map) "sys" "where")

        withHelm "leads to the runbooks where there is an address for them" (fun helm ->
            Expect.isEmpty (items [ "links" ] dashboard.Value) "none that leads nowhere"

            let map =
                configMaps
                    helm
                    (enabled
                     @ [
                         "--set"
                         "prometheusRule.alerts.runbookUrl=https://git.example/operations.md"
                     ])
                |> List.exactlyOne

            let linked = parsed (fields [ "data" ] map |> Map.toList |> List.exactlyOne |> snd)

            Expect.equal
                (items [ "links" ] linked
                 |> List.map (fun link -> text [ "title" ] link, text [ "url" ] link))
                [
                    "Runbooks", "https://git.example/operations.md#alerts"
                    "Status page", "https://git.example/operations.md#the-status-page"
                ]
                "links"

            Expect.isEmpty (DashboardLint.problems linked) "it is the dashboard still")

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
