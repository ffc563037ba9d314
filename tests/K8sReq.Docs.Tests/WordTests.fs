/// Words of the sources that readers of the documents do not know.
module K8sReq.Docs.Tests.WordTests

open System.Text.RegularExpressions
open Expecto

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
                "troubleshooting"
                "upgrade"
            ] -> $"docs/{name}.md"
    ]

let tests =
    testList "words" [
        for document in Documents.all do
            if isForUsers document.Path then
                test $"{document.Path} has no private words" {
                    let found = [
                        for number, line in document.Text.Split '\n' |> Array.indexed do
                            for word in words.Matches line do
                                $"{document.Path}:{number + 1}: {word.Value}"
                    ]

                    Expect.isEmpty found "queue, size, again, if you"
                }
    ]
