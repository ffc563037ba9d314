/// The table of the chart's values in its README.
module K8sReq.Chart.Tests.ValuesTests

open System.IO
open System.Text.Json
open Expecto
open K8sReq.Build
open K8sReq.Build.ValuesTable
open K8sReq.Chart.Tests.Tools

let private ofChart =
    lazy (File.ReadAllText(Path.Combine(chart, "values.yaml")) |> ValuesTable.parse)

// Whether the schema knows this path. Maps without names of their own take any.
let rec private isInSchema (path: string list) (schema: JsonElement) =
    match path, schema.TryGetProperty "properties" with
    | [], _ -> true
    | name :: rest, (true, properties) ->
        match properties.TryGetProperty name with
        | true, inner -> isInSchema rest inner
        | false, _ -> false
    | _, (false, _) -> false

let tests =
    testList "values" [
        test "the table in the README is that of values.yaml" {
            let readme = File.ReadAllText(Path.Combine(chart, "README.md"))

            Expect.equal
                (ValuesTable.tryReplace (ValuesTable.render ofChart.Value) readme)
                (Some readme)
                "`dotnet fsi build.fsx values` writes it"
        }

        test "every value has a description, and is in the schema" {
            use schema =
                JsonDocument.Parse(File.ReadAllText(Path.Combine(chart, "values.schema.json")))

            Expect.isGreaterThan ofChart.Value.Length 100 "all of them"

            for value in ofChart.Value do
                Expect.isNotEmpty value.Description $"{value.Path} has a comment"

                Expect.isTrue
                    (isInSchema (List.ofArray (value.Path.Split '.')) schema.RootElement)
                    $"{value.Path} is in values.schema.json"
        }

        test "a comment is of the key below it, and a map without comments is one value" {
            let yaml =
                "# First.\n# Goes on.\na: 1\nb: []\n#  - example\n\n# A group | of two.\nc:\n  # Inner.\n  d: \"x\"\n  # A map.\n  e:\n    f:\n      g: 1\n    h: [2]\ni:\n  j: 3\n"

            Expect.equal
                (ValuesTable.parse yaml)
                [
                    {
                        Path = "a"
                        Default = Some "1"
                        Description = "First. Goes on."
                    }
                    {
                        Path = "b"
                        Default = Some "[]"
                        Description = ""
                    }
                    {
                        Path = "c"
                        Default = None
                        Description = "A group | of two."
                    }
                    {
                        Path = "c.d"
                        Default = Some "\"x\""
                        Description = "Inner."
                    }
                    {
                        Path = "c.e"
                        Default = Some "{f: {g: 1}, h: [2]}"
                        Description = "A map."
                    }
                    {
                        Path = "i"
                        Default = Some "{j: 3}"
                        Description = ""
                    }
                ]
                "values"

            Expect.stringContains
                (ValuesTable.render (ValuesTable.parse yaml))
                "| `c` |  | A group \\| of two. |\n| `c.d` | `\"x\"` | Inner. |"
                "as a table"
        }
    ]
