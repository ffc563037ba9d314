/// The rules of grafana/dashboard-linter for dashboards with a Prometheus, and some of our own. The linter itself needs a
/// newer Go than most systems have, and the network.
module K8sReq.Chart.Tests.DashboardLint

open System.Text.Json
open System.Text.RegularExpressions
open K8sReq.Chart.Tests.Manifest

// Those of Grafana's units that a proxy's figures can have.
let private units =
    set [
        "none"
        "short"
        "percent"
        "percentunit"
        "bytes"
        "Bps"
        "binBps"
        "s"
        "ms"
        "dateTimeAsIso"
        "dateTimeFromNow"
        "cps"
        "ops"
        "reqps"
        "rps"
        "bool"
        "bool_yes_no"
    ]

let private source = "${datasource}"

/// Panels that show something: all but rows.
let panels (dashboard: JsonElement) : JsonElement list =
    items [ "panels" ] dashboard
    |> List.filter (fun panel -> text [ "type" ] panel <> "row")

let rows (dashboard: JsonElement) : JsonElement list =
    items [ "panels" ] dashboard
    |> List.filter (fun panel -> text [ "type" ] panel = "row")

let variables (dashboard: JsonElement) : JsonElement list =
    items [ "templating"; "list" ] dashboard

let expressions (dashboard: JsonElement) : string list = [
    for panel in panels dashboard do
        for target in items [ "targets" ] panel -> text [ "expr" ] target
]

let private has (path: string list) (value: string) element = tryText path element = Some value

let private ofVariables (dashboard: JsonElement) : string list = [
    match
        variables dashboard
        |> List.filter (fun variable -> text [ "type" ] variable = "datasource")
    with
    | [ one ] ->
        if
            not (
                has [ "name" ] "datasource" one
                && has [ "label" ] "Data source" one
                && has [ "query" ] "prometheus" one
            )
        then
            "template-datasource-rule: not as the others are called"
    | several -> $"template-datasource-rule: {several.Length} data sources"

    for name, label in [ "job", "Job"; "instance", "Instance" ] do
        match variables dashboard |> List.filter (has [ "name" ] name) with
        | [ one ] ->
            if
                not (
                    has [ "label" ] label one
                    && has [ "type" ] "query" one
                    && has [ "multi" ] "True" one
                    && has [ "allValue" ] ".+" one
                    && has [ "datasource"; "uid" ] source one
                )
            then
                $"template-{name}-rule"
        | several -> $"template-{name}-rule: {several.Length} of them"

    for variable in variables dashboard do
        if text [ "type" ] variable = "query" then
            if not (has [ "refresh" ] "2" variable) then
                "template-on-time-change-reload-rule"

            if not (Regex.IsMatch(text [ "query" ] variable, @"^label_values\(\w+(\{[^}]+\})?, \w+\)$")) then
                "template-label-promql-rule"
]

let private ofPanel (panel: JsonElement) : string list = [
    let title = tryText [ "title" ] panel |> Option.defaultValue ""

    if title = "" || (tryText [ "description" ] panel |> Option.defaultValue "") = "" then
        "panel-title-description-rule"

    if not (has [ "datasource"; "uid" ] source panel) then
        $"panel-datasource-rule: {title}"

    match tryText [ "fieldConfig"; "defaults"; "unit" ] panel with
    | Some unit when units.Contains unit -> ()
    | _ -> $"panel-units-rule: {title}"

    if (items [ "targets" ] panel).IsEmpty then
        $"panel-no-targets-rule: {title}"

    if
        has [ "type" ] "stat" panel
        && (items [ "fieldConfig"; "defaults"; "thresholds"; "steps" ] panel).IsEmpty
    then
        $"a figure has thresholds: {title}"

    for target in items [ "targets" ] panel do
        if not (has [ "datasource"; "uid" ] source target) then
            $"panel-datasource-rule: {title}"

        let expression = text [ "expr" ] target
        let metrics = Exposed.metricsOf expression

        if metrics.IsEmpty then
            $"target-promql-rule: {title}"

        for name in [ "job"; "instance" ] do
            let matchers =
                Regex.Matches(expression, $@"\w+\{{[^}}]*\b{name}=~""\${name}""[^}}]*\}}")

            if matchers.Count <> metrics.Length then
                $"target-{name}-rule: {title}"

        for range in Regex.Matches(expression, @"(\w+)\(\w+\{[^}]*\}\[([^\]]+)\]") do
            if range.Groups[1].Value = "rate" && range.Groups[2].Value <> "$__rate_interval" then
                $"target-rate-interval-rule: {title}"

        let counters = Regex.Matches(expression, @"\w+_total\b")

        let aggregated =
            Regex.Matches(expression, @"\b(rate|irate|increase)\(\w+_total\{[^}]*\}\[[^\]]+\]\)")

        if counters.Count <> aggregated.Count then
            $"target-counter-agg-rule: {title}"

        // What is left out today is not what a label of tomorrow needs.
        if expression.Contains "without" then
            $"sums name what they keep: {title}"
]

let private ofLayout (dashboard: JsonElement) : string list = [
    let ids = items [ "panels" ] dashboard |> List.map (text [ "id" ])

    if List.distinct ids <> ids then
        "an id twice"

    let cells = [
        for panel in items [ "panels" ] dashboard do
            let number name = int (text [ "gridPos"; name ] panel)

            for x in number "x" .. number "x" + number "w" - 1 do
                for y in number "y" .. number "y" + number "h" - 1 do
                    x, y
    ]

    if (List.distinct cells).Length <> cells.Length then
        "a panel over another"

    if cells |> List.exists (fun (x, _) -> x >= 24) then
        "a row has 24 columns"

    if (rows dashboard).IsEmpty then
        "no rows"
]

/// What is wrong with it.
let problems (dashboard: JsonElement) : string list = [
    yield! ofVariables dashboard

    for panel in panels dashboard do
        yield! ofPanel panel

    yield! ofLayout dashboard

    if not (has [ "editable" ] "False" dashboard) then
        "uneditable-dashboard"
]
