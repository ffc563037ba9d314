/// The table of metrics in docs/operations.md, against the program.
module K8sReq.Host.Tests.MetricsTableTests

open System
open System.IO
open System.Text.RegularExpressions
open Expecto
open K8sReq.Core
open K8sReq.Host.Admin
open K8sReq.Proxy
open K8sReq.TestKit

type private Row = {
    Name: string
    Kind: string
    Unit: string
    Labels: Set<string>
}

let private table: Row list =
    let text =
        File.ReadAllText(Path.Combine(PublishedProgram.Root, "docs", "operations.md"))

    let section =
        text.Split "\n## "
        |> Array.find (fun section -> section.StartsWith("Metrics\n", StringComparison.Ordinal))

    [
        for line in section.Split '\n' do
            match line.Split '|' |> Array.map _.Trim() with
            | [| ""; name; kind; unit; labels; meaning; "" |] when name.StartsWith '`' ->
                if meaning = "" then
                    failwith $"{name} has no meaning"

                {
                    Name = name.Trim '`'
                    Kind = kind
                    Unit = unit
                    Labels = set [ for label in Regex.Matches(labels, "`([^`]+)`") -> label.Groups[1].Value ]
                }
            | _ -> ()
    ]

/// A family as a row of the table, but for its labels.
let private rowOf (family: MetricFamily) : string * string * string =
    let name = Exposition.familyName family

    let unit =
        match family.Unit with
        | "s" -> "seconds"
        | "By" -> "bytes"
        | _ -> ""

    match family.Kind with
    | MetricKind.Counter -> name + "_total", "counter", unit
    | MetricKind.Gauge -> name, "gauge", unit
    | MetricKind.Histogram -> name, "histogram", unit

/// All that the program has with a journal.
let private families () : MetricFamily list =
    use meter = new Diagnostics.Metrics.Meter "k8sreq"
    use journal = new TestJournal()

    Metrics.families {
        Version = ""
        Http = HttpMetrics meter
        Clones = CloneDirectory()
        Source = SourceMetrics TimeProvider.System
        Budget = BufferBudget 1L
        Journal =
            Some {
                Store = journal.Store
                Limit = 1L
                Sinks = fun () -> { Sent = 0L; Refused = 0L; Failed = 0L }
            }
        UnknownHosts = fun () -> UnknownHosts.empty
        Routes = fun () -> Routing.initial.Counts
        IsReady = fun () -> false
    }

/// What is wrong with a name by Prometheus' rules for them; the program's own names only.
let private misnamed (family: MetricFamily) : string list =
    let name, kind, unit = rowOf family

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
            for family in families () do
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

        test "has every metric of the program with its type and unit, and no other" {
            let families = families () |> List.map rowOf

            let told = table |> List.map (fun row -> row.Name, row.Kind, row.Unit)
            Expect.equal (set told) (set families) "both ways"
            Expect.equal told.Length families.Length "each once"
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

            for row in table do
                let family =
                    if row.Kind = "counter" then
                        row.Name.Substring(0, row.Name.Length - "_total".Length)
                    else
                        row.Name

                Expect.equal (labels.TryFind family) (Some row.Labels) row.Name
        }
    ]
