/// Names of metrics by Prometheus' rules, and the labels that docs/metrics.md gives them, against the program that runs.
module K8sReq.Host.Tests.MetricsTableTests

open System
open System.IO
open System.Text.RegularExpressions
open Expecto
open K8sReq.Core
open K8sReq.TestKit

/// By metric, the labels in the table.
let private table: Map<string, Set<string>> =
    let text =
        File.ReadAllText(Path.Combine(PublishedProgram.Root, "docs", "metrics.md"))

    Map [
        for line in text.Split '\n' do
            match line.Split '|' |> Array.map _.Trim() with
            | [| ""; name; _; _; labels; _; _; "" |] when name.StartsWith '`' ->
                name.Trim '`',
                set [ for label in Regex.Matches(labels, "`([^`]+)`") -> label.Groups[1].Value ]
            | _ -> ()
    ]

/// What is wrong with a name by Prometheus' rules for them; the program's own names only.
let private misnamed (family: MetricFamily) : string list =
    let name, kind, unit =
        ExposedMetrics.name family, ExposedMetrics.kindName family, ExposedMetrics.unitName family

    let ends (suffix: string) =
        name.EndsWith(suffix, StringComparison.Ordinal)

    let isTime = family.Help.Contains "Unix time"

    [
        if not (Regex.IsMatch(name, "^[a-z][a-z0-9]*(_[a-z0-9]+)*$")) then
            "not in snake_case"
        if ends "_total" <> (kind = "counter") then
            "_total is for counters, all of them"
        if
            kind <> "counter"
            && List.exists ends [ "_count"; "_sum"; "_bucket"; "_created"; "_timestamp" ]
        then
            "a suffix that belongs to other kinds"
        if unit <> "" && not (Regex.IsMatch(name, $"_{unit}(_total)?$")) then
            "the unit is not its last word"
        if
            unit = ""
            && Regex.IsMatch(name, "_(seconds|bytes|ms|millis|milliseconds|kb|mib|percent)(_|$)")
        then
            "it has a unit by its name alone"
        // The client libraries of all languages have process_start_time_seconds: dashboards know it by that name.
        if
            isTime
            && name <> "process_start_time_seconds"
            && not (ends "_timestamp_seconds")
        then
            "a time is a _timestamp_seconds"
        if ends "_timestamp_seconds" && not isTime then
            "a _timestamp_seconds is a Unix time"
        if not (Regex.IsMatch(family.Help, @"^[A-Z1].*[.)]$")) then
            "the help is not a sentence"
    ]

let tests =
    testList "the table of metrics" [
        test "names follow Prometheus' rules" {
            for family in ExposedMetrics.families () do
                Expect.equal (misnamed family) [] family.Name

            for wrong, families in
                [
                    "a time", MetricFamily.gauge "k8sreq.last_sync" "s" "Unix time of the last sync." []
                    "a gauge", MetricFamily.gauge "k8sreq.copies.total" "{copy}" "Copies." []
                    "a unit", MetricFamily.gauge "k8sreq.queue_ms" "" "Age." []
                    "a help", MetricFamily.gauge "k8sreq.queue" "" "what waits" []
                ] do
                Expect.isNonEmpty (misnamed families) wrong
        }

        testCaseTask "has the labels that the program's series have"
        <| fun () -> task {
            use! program = BusyProgram.Start()
            let! text = program.OpenMetrics()
            let families, _ = OpenMetricsText.read text

            let labels =
                Map.ofList [
                    for family in families ->
                        family.Name,
                        set [
                            for sample in family.Samples do
                                for name, _ in sample.Labels do
                                    if name <> "le" then
                                        name
                        ]
                ]

            for KeyValue(name, ofTable) in table do
                let family =
                    if name.EndsWith("_total", StringComparison.Ordinal) then
                        name.Substring(0, name.Length - "_total".Length)
                    else
                        name

                Expect.equal (labels.TryFind family) (Some ofTable) name

            Expect.equal table.Count labels.Count "each of them"
        }
    ]
