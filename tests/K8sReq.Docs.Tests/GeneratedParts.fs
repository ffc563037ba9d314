/// The parts of documents that are made from the program. In a document such a part stands between two comments, the first of
/// which names it; everything else there is written by hand.
module K8sReq.Docs.Tests.GeneratedParts

open System.IO
open System.Text.RegularExpressions

/// Each part by the name that its comment has.
let all: Map<string, unit -> string> =
    Map.ofList [
        "settings", SettingsReference.render
        "metrics", MetricsReference.render
        "names", ApiReference.renderNames
        "spec", ApiReference.renderSpec
        "rules", ApiReference.renderRules
        "status", ApiReference.renderStatus
        "reasons", ReasonReference.render
    ]

let private part =
    Regex(
        "(<!-- made by \"dotnet fsi build.fsx docs\": (\\w+) -->\n).*?(\n<!-- end -->)",
        RegexOptions.Singleline
    )

/// The names of the parts in a text.
let names (text: string) : string list = [ for found in part.Matches text -> found.Groups[2].Value ]

/// The text with its parts as the program is now.
let renew (text: string) : string =
    part.Replace(
        text,
        fun found ->
            match all.TryFind found.Groups[2].Value with
            | Some render -> found.Groups[1].Value + "\n" + render () + "\n" + found.Groups[3].Value
            | None -> failwith $"there is no part called {found.Groups[2].Value}"
    )

/// Writes the documents whose parts are not current, and gives their paths.
let write () : string list = [
    for document in Documents.all do
        let renewed = renew document.Text

        if renewed <> document.Text then
            File.WriteAllText(Path.Combine(Documents.root, document.Path), renewed)
            document.Path
]
