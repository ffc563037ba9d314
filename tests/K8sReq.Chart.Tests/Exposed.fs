/// The series that the program exposes, and those that an expression asks for.
module K8sReq.Chart.Tests.Exposed

open System
open System.IO
open System.Text.Json
open System.Text.RegularExpressions
open Expecto
open K8sReq.Core
open K8sReq.Host.Admin
open K8sReq.Proxy
open K8sReq.TestKit

/// Names of series, as a scrape has them.
let series: Set<string> =
    set [
        for family in ExposedMetrics.families () do
            let name = Exposition.familyName family

            match family.Kind with
            | MetricKind.Counter -> name + "_total"
            | MetricKind.Gauge -> name
            | MetricKind.Histogram -> yield! [ name + "_bucket"; name + "_sum"; name + "_count" ]
    ]

/// The metrics that an expression of PromQL names: what has matchers, or begins like one of the program's.
let metricsOf (expression: string) : string list = [
    for found in Regex.Matches(expression, @"\b(?:k8sreq|http|process|dotnet)_\w+|\b\w+(?=\s*\{)") ->
        found.Value
]

/// Runs promtool on a file of rules in a folder of its own, with what else it needs there.
let private inFolder (rules: string) (others: (string * string) list) (run: string -> string -> 'T) : 'T =
    let promtool = InstalledTool.path "promtool"

    let folder =
        Directory.CreateDirectory(
            Path.Combine(Path.GetTempPath(), "k8sreq-rules-" + Guid.NewGuid().ToString "N")
        )

    try
        File.WriteAllText(Path.Combine(folder.FullName, "rules.json"), rules)

        for name, text in others do
            File.WriteAllText(Path.Combine(folder.FullName, name), text)

        run promtool folder.FullName
    finally
        folder.Delete true

/// Expects that Prometheus would take these rules.
let expectRules (rules: string) : unit =
    inFolder rules [] (fun promtool folder ->
        InstalledTool.succeed promtool [ "check"; "rules"; Path.Combine(folder, "rules.json") ]
        |> ignore)

/// Whether these rules do what a file of unit tests says, and what promtool says to that.
let testRules (rules: string) (tests: string) : bool * string =
    inFolder rules [ "tests.yaml", tests ] (fun promtool folder ->
        let code, output, errors =
            InstalledTool.run promtool [ "test"; "rules"; Path.Combine(folder, "tests.yaml") ]

        code = 0, output + errors)

/// Recording rules with these expressions, to have them parsed.
let rulesOf (expressions: string list) : string =
    JsonSerializer.Serialize {|
        groups = [|
            {|
                name = "expressions"
                rules = [|
                    for index, expression in List.indexed expressions ->
                        {|
                            record = $"expression_{index}"
                            expr = expression
                        |}
                |]
            |}
        |]
    |}
