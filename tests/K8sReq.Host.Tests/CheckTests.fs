module K8sReq.Host.Tests.CheckTests

open System.IO
open Expecto
open K8sReq.Host.Commands

let private check (files: (string * string) list) =
    use folder = new TestFolder()

    for name, text in files do
        folder.Write(name, text)

    use output = new StringWriter()
    let code = Check.run output folder.Path

    code,
    output.ToString().Replace(folder.Path + "/", "").Trim().Split '\n'
    |> List.ofArray

let tests =
    testList "check" [
        test "a good folder: the table, and exit code 0" {
            let code, lines =
                check [
                    "a.yaml", Manifests.route "Hooks.Example:80" [ 9001; 9002 ]
                    "b.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: other}\n"
                ]

            Expect.equal code 0 "good"

            Expect.equal
                lines
                [
                    "HOST           REQUESTCLONE  SERVICE  ADDRESS"
                    "hooks.example  shop/copy-0   app-0    127.0.0.1:9001"
                    "hooks.example  shop/copy-1   app-1    127.0.0.1:9002"
                ]
                "the table"
        }

        test "what is not routed is listed with the reason, and the exit code is 1" {
            let code, lines =
                check [
                    "a.yaml",
                    Manifests.route "a.example" [ 9001 ]
                    + Manifests.clone "lost" "b.example" "nobody"
                    "b.yaml", Manifests.clone "bad" "b.example/path" "app-0"
                    "c.yaml", "a: b: c\n"
                ]

            Expect.equal code 1 "wrong"

            Expect.equal
                lines
                [
                    "HOST       REQUESTCLONE  SERVICE  ADDRESS"
                    "a.example  shop/copy-0   app-0    127.0.0.1:9001"
                    ""
                    "Not routed:"
                    "  RequestClone shop/lost: Service shop/nobody does not exist"
                    "  b.yaml:1: RequestClone shop/bad is not valid: spec.host is \"b.example/path\", but must be a host name without a path"
                    ""
                    "Problems:"
                    lines |> List.last
                ]
                "each once"

            Expect.stringStarts (List.last lines) "  c.yaml:1: cannot be parsed: " "the file and its line"
        }

        test "an empty folder routes nothing, which is not wrong" {
            Expect.equal (check []) (0, [ "Nothing is routed." ]) "said"
        }
    ]
