/// What the documents for users say: no words that only the sources know, and nothing that the program does not say or have.
module K8sReq.Docs.Tests.WordTests

open System.Text.RegularExpressions
open Expecto
open K8sReq.Core
open K8sReq.TestKit

let private words =
    Regex(@"\b(whoever|anew|weigh|weighs|weighed|lane|lanes)\b", RegexOptions.IgnoreCase)

/// Those for readers who use the program, not for those who change it.
let private isForUsers (path: string) =
    path = "README.md"
    || path.StartsWith "docs/recipes/"
    || List.contains path [
        for name in
            [
                "alternatives"
                "api"
                "configuration"
                "delivery"
                "http-behaviour"
                "metrics"
                "security"
                "status-page"
                "troubleshooting"
                "upgrade"
            ] -> $"docs/{name}.md"
    ]

let private forUsers =
    Documents.all |> List.filter (fun document -> isForUsers document.Path)

/// The names of series: those of a histogram have endings of their own.
let private metricNames =
    lazy
        (set [
            for family in ExposedMetrics.families () do
                let name = ExposedMetrics.name family
                name
                name + "_bucket"
                name + "_sum"
                name + "_count"
        ])

let private metric = Regex @"\bk8sreq_[a-z_]*[a-z]\b"

let private settingNames =
    set [ for spec in KnownSettings.specs -> SettingSpec.variable spec ]

// Named as code, as a setting or a metric is; with an underscore, which tells them from other capitals.
let private setting = Regex "`([A-Z]+(?:_[A-Z]+)+)(?:=[^`]*)?`"

let tests =
    testList "words" [
        for document in forUsers do
            let each (found: string -> string seq) = [
                for number, line in document.Text.Split '\n' |> Array.indexed do
                    for word in found line do
                        $"{document.Path}:{number + 1}: {word}"
            ]

            test $"{document.Path} has no private words" {
                let found = each (fun line -> words.Matches line |> Seq.map _.Value)
                Expect.isEmpty found "queue, size, again, if you"
            }

            test $"{document.Path} names metrics that there are" {
                let unknown =
                    each (fun line ->
                        metric.Matches line
                        |> Seq.map _.Value
                        |> Seq.filter (metricNames.Value.Contains >> not))

                Expect.isEmpty unknown "/metrics"
            }

            test $"{document.Path} names settings that there are" {
                let unknown =
                    each (fun line ->
                        setting.Matches line
                        |> Seq.map _.Groups[1].Value
                        |> Seq.filter (fun name ->
                            not (
                                settingNames.Contains name
                                || Regex.IsMatch(name, "^(OTEL|HTTP_PROXY|POD_NAME|K8SREQ_TEST|PGPASSWORD)")
                            )))

                Expect.isEmpty unknown "--help"
            }

        test "the responses in docs/troubleshooting.md are the program's" {
            let text = (Documents.read "docs/troubleshooting.md").Text

            for refusal in [ Refusal.NoTarget; Refusal.RoutesUnknown; Refusal.Busy; Refusal.NotKept ] do
                Expect.stringContains
                    text
                    $"| `{Refusal.text refusal}` | `{Refusal.word refusal}` |"
                    "text and reason"
        }
    ]
