/// The chart's alerts: what Prometheus makes of them, and what values make of them.
module K8sReq.Chart.Tests.AlertTests

open System.IO
open System.Text.Json
open System.Text.RegularExpressions
open Expecto
open K8sReq.Chart.Tests.Tools
open K8sReq.Chart.Tests.Manifest

let private cases =
    File.ReadAllText(Path.Combine(root, "tests", "K8sReq.Chart.Tests", "alerts.yaml"))

let private rulesFor helm arguments : JsonElement =
    succeed
        helm
        ([
            "template"
            "rel"
            chart
            "--namespace"
            "sys"
            "--set"
            "prometheusRule.enabled=true"
         ]
         @ withImage
         @ arguments)
    |> parse
    |> fun objects -> at [ "spec" ] (theOnly objects "PrometheusRule")

let private set (value: string) = [ "--set"; "prometheusRule." + value ]

let private rules (spec: JsonElement) =
    items [ "groups" ] spec |> List.collect (items [ "rules" ])

/// Alerts by their names.
let private alerts (spec: JsonElement) =
    Map.ofList [ for rule in rules spec -> text [ "alert" ] rule, rule ]

let private names spec = alerts spec |> Map.keys |> List.ofSeq

/// The alerts that the cases expect to fire, and those that they expect not to.
let private expected =
    [
        for case in items [ "tests" ] (parse cases |> List.exactlyOne) do
            for test in items [ "alert_rule_test" ] case ->
                text [ "alertname" ] test, not (items [ "exp_alerts" ] test).IsEmpty
    ]
    |> List.distinct
    |> List.sort

// What is no longer so with them, one for each alert.
let private changes = [
    "copiesFailing.ratio=0.3"
    "copiesFailing.copies=1000"
    "copiesFailing.copies=1"
    "copiesDropped.copies=100"
    "routesOutOfDate.seconds=3000"
    "noReplicaReady.for=0m"
    "replicaNotReady.for=1h"
    "noLeader.enabled=false"
    "memoryBudgetNearlySpent.ratio=0.95"
    "requestsWithoutRoute.requests=1000"
    "backlogOld.seconds=7200"
    "journalNearlyFull.ratio=0.95"
    "journalFailing.enabled=false"
    "deadLettersGrowing.copies=10"
    "matchers=job=\"other\""
    "labels.team=a"
    "copiesFailing.severity=critical"
    "runbook=https://runbooks.example"
]

let tests =
    testList "alerts" [
        withHelm "are rules that Prometheus takes, which fire when they should and only then" (fun helm ->
            let spec = rulesFor helm []
            Exposed.expectRules (spec.GetRawText())

            Expect.equal
                expected
                [
                    for name in names spec do
                        name, false
                        name, true
                ]
                "each has cases of both kinds"

            let isSo, said = Exposed.testRules (spec.GetRawText()) cases
            Expect.isTrue isSo said)

        for change in changes do
            withHelm $"are others with {change}" (fun helm ->
                let spec = rulesFor helm (set ("alerts." + change))
                Exposed.expectRules (spec.GetRawText())
                let isSo, _ = Exposed.testRules (spec.GetRawText()) cases
                Expect.isFalse isSo "the cases are not so any more")

        withHelm "ask for metrics that the program has" (fun helm ->
            for rule in rules (rulesFor helm []) do
                let expression = text [ "expr" ] rule
                let metrics = Exposed.metricsOf expression
                Expect.isNonEmpty metrics expression

                for metric in metrics do
                    Expect.isTrue
                        (metric = "up" || Exposed.series.Contains metric)
                        $"{metric} is one of them"

                // Another release's series are none of its business.
                Expect.equal
                    (Regex.Matches(expression, @"\w+\{job=""sys/rel-k8sreq-duplicator-controller""")).Count
                    metrics.Length
                    expression)

        withHelm "each say how bad it is, what is so, and where to read on" (fun helm ->
            let paragraphs =
                File.ReadAllText(Path.Combine(root, "docs", "operations.md")).Split "\n## "
                |> Array.find (fun section -> section.StartsWith "Alerts\n")
                |> fun section -> [
                    for heading in Regex.Matches(section, "(?m)^### (.+)$") -> heading.Groups[1].Value
                ]

            let spec = rulesFor helm []
            Expect.equal (List.sort paragraphs) (names spec) "each has a paragraph"

            for KeyValue(name, rule) in alerts spec do
                Expect.contains [ "warning"; "critical" ] (text [ "labels"; "severity" ] rule) "severity"
                Expect.isNotEmpty (text [ "annotations"; "summary" ] rule) "summary"
                Expect.isNotEmpty (text [ "annotations"; "description" ] rule) "description"

                Expect.equal
                    (text [ "annotations"; "runbook" ] rule)
                    // As the headings of a file are called where it is shown.
                    $"docs/operations.md#{name.ToLowerInvariant()}"
                    "runbook"

                // A link that leads nowhere is worse than none.
                Expect.isNone (tryAt [ "annotations"; "runbook_url" ] rule) "no link without an address")

        withHelm "have a link to their paragraph where there is an address for it" (fun helm ->
            let anchors =
                Set.ofList [
                    for heading in
                        Regex.Matches(
                            File.ReadAllText(Path.Combine(root, "docs", "operations.md")),
                            "(?m)^#+ (.+)$"
                        ) ->
                        // As hosts of Markdown make them.
                        Regex
                            .Replace(heading.Groups[1].Value.ToLowerInvariant(), @"[^\w\- ]", "")
                            .Replace(' ', '-')
                ]

            let address = "https://git.example/k8sreq/docs/operations.md"
            let rules = alerts (rulesFor helm (set $"alerts.runbookUrl={address}"))
            Expect.isNonEmpty rules "alerts"

            for KeyValue(_, rule) in rules do
                match (text [ "annotations"; "runbook_url" ] rule).Split '#' with
                | [| file; anchor |] ->
                    Expect.equal file address "the document"
                    Expect.isTrue (anchors.Contains anchor) $"{anchor} is a heading of it"
                | _ -> failtest "no anchor"

            Expect.isTrue (anchors.Contains "alerts") "what the dashboard leads to"
            Expect.isTrue (anchors.Contains "the-status-page") "and the page")

        withHelm "are beside the rules of users, and go where they are not wanted" (fun helm ->
            let own = [
                "--set"
                "prometheusRule.rules[0].alert=Mine"
                "--set"
                "prometheusRule.rules[0].expr=absent(up{job=\"{{ .Release.Name }}\"})"
            ]

            let both = rulesFor helm own
            let mine = Map.find "Mine" (alerts both)
            Expect.equal (text [ "expr" ] mine) "absent(up{job=\"rel\"})" "a template"
            Expect.equal (names both).Length 13 "twelve of ours"
            let theirs = rulesFor helm (own @ set "alerts.enabled=false")
            Expect.equal (names theirs) [ "Mine" ] "theirs only"

            let none =
                rulesFor helm [
                    for name in
                        [
                            "copiesFailing"
                            "copiesDropped"
                            "routesOutOfDate"
                            "noReplicaReady"
                            "replicaNotReady"
                            "noLeader"
                            "memoryBudgetNearlySpent"
                            "requestsWithoutRoute"
                            "backlogOld"
                            "journalNearlyFull"
                            "journalFailing"
                            "deadLettersGrowing"
                        ] do
                        yield! set $"alerts.{name}.enabled=false"
                ]

            Expect.isEmpty (rules none) "one by one"
            Exposed.expectRules (none.GetRawText()))

        withHelm "ask for a leader only where one is elected" (fun helm ->
            for arguments in
                [
                    [ "--set"; "leaderElection.enabled=false" ]
                    [ "--set-string"; "env.ENABLE_LEADER_ELECTION=false" ]
                ] do
                let names = names (rulesFor helm arguments)
                Expect.isFalse (List.contains "K8sReqNoLeader" names) $"{arguments}"
                Expect.equal names.Length 11 "the others are there")

        for value in
            [
                "alerts.copiesFailing.ratio=2"
                "alerts.copiesFailing.for=soon"
                "alerts.copiesFailing.for=1s1h"
                "alerts.copiesFailing.window="
                "alerts.copiesFailing.nope=1"
                "alerts.nope.enabled=true"
                "alerts.runbookUrl=docs/operations.md"
            ] do
            withHelm $"{value} is refused" (fun helm ->
                let code, _, errors =
                    run
                        helm
                        ([ "template"; "rel"; chart; "--set"; "prometheusRule.enabled=true" ]
                         @ withImage
                         @ set value)

                Expect.notEqual code 0 "refused"
                Expect.stringContains errors "prometheusRule" "why")
    ]
