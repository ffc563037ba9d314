module K8sReq.Host.Tests.CheckTests

open System.IO
open System.Text.Json
open Expecto
open K8sReq.Core
open K8sReq.Host.Commands
open K8sReq.TestKit

let private noInput () : TextReader = failtest "nothing is to be read"

let private tableOf path = {
    Paths = [ path ]
    Output = OutputFormat.Table
}

let private check (files: (string * string) list) =
    use folder = new TestFolder()

    for name, text in files do
        folder.Write(name, text)

    use output = new StringWriter()
    let code = Check.run noInput output (tableOf folder.Path)

    code,
    output.ToString().Replace(folder.Path + "/", "").Trim().Split '\n'
    |> List.ofArray

// What standard input or, with a name, a single file gives.
let private checkText (name: string option) (text: string) =
    use folder = new TestFolder()
    use output = new StringWriter()

    let code =
        match name with
        | None -> Check.run (fun () -> new StringReader(text)) output (tableOf "-")
        | Some name ->
            folder.Write(name, text)
            Check.run noInput output (tableOf (folder.At name))

    code,
    output.ToString().Replace(folder.Path + "/", "").Trim().Split '\n'
    |> List.ofArray

/// As `kubectl get requestclones -A -o yaml` writes it.
let private kubectlList (items: string list) =
    "apiVersion: v1\nitems:\n"
    + String.concat "" [
        for item in items -> "- apiVersion: proxy.infra.doodle.com/v1beta1\n  kind: RequestClone\n" + item
    ]
    + "kind: List\nmetadata:\n  resourceVersion: \"\"\n"

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

        test "the RequestClones of a cluster, without its Services: what is wrong with them alone" {
            let item name spec =
                $"  metadata:\n    name: {name}\n    namespace: shop\n    resourceVersion: \"5\"\n    uid: u\n  spec: {spec}\n  status:\n    conditions: []\n"

            let good =
                item "good" "{host: a.example, backend: {serviceName: app, servicePort: http}}"

            Expect.equal
                (checkText None (kubectlList [ good ]))
                (0,
                 [
                     "HOST       REQUESTCLONE  SERVICE  ADDRESS"
                     "a.example  shop/good     app      not checked"
                     ""
                     "The input has no Services, so only the RequestClones themselves were checked."
                 ])
                "good"

            let code, lines =
                checkText
                    None
                    (kubectlList [
                        good
                        item "bad" "{host: '*.example', backend: {serviceName: app, servicePort: http}}"
                    ])

            Expect.equal code 1 "one is not valid"

            Expect.contains
                lines
                "  standard input:1: RequestClone shop/bad is not valid: spec.host is \"*.example\", but must be one host name; wildcards are not matched"
                "which and why"
        }

        test "JSON on standard input is read as such, and an empty list is good" {
            let code, lines = checkText None """{"apiVersion":"v1","kind":"List","items":[]}"""

            Expect.equal (code, lines) (0, [ "Nothing is routed." ]) "nothing wrong"
        }

        test "nothing on standard input is an error: what should have written it has failed" {
            let code, lines = checkText None "\n"
            Expect.equal code 1 "wrong"
            Expect.contains lines "  standard input: cannot be read: it is empty" "said"
        }

        test "a single file is checked; with a Service in it, Services are judged" {
            let route = Manifests.route "a.example" [ 9001 ]
            let lost = Manifests.clone "lost" "b.example" "nobody"
            Expect.equal (fst (checkText (Some "a.yaml") route)) 0 "good"
            Expect.equal (fst (checkText (Some "lost.yaml") lost)) 0 "without any Service"
            let code, lines = checkText (Some "both.yaml") (route + lost)
            Expect.equal code 1 "with one"
            Expect.contains lines "  RequestClone shop/lost: Service shop/nobody does not exist" "why"
        }

        test "a folder has all that is routed by: a Service that is not there is a fault" {
            Expect.equal (fst (check [ "a.yaml", Manifests.clone "lost" "b.example" "nobody" ])) 1 "wrong"
        }

        test "several inputs are put together, and may be printed as JSON" {
            use folder = new TestFolder()
            folder.Write("services/a.yaml", Manifests.route "a.example" [ 9001 ])
            folder.Write("b.yaml", Manifests.clone "lost" "b.example" "nobody")
            use output = new StringWriter()

            let code =
                Check.run
                    (fun () -> new StringReader("""{"apiVersion": "v1", "kind": "List", "items": []}"""))
                    output
                    {
                        Paths = [ folder.At "services"; folder.At "b.yaml"; "-" ]
                        Output = OutputFormat.Json
                    }

            use document = JsonDocument.Parse(output.ToString())
            let report = document.RootElement
            Expect.equal (code, report.GetProperty("ok").GetBoolean()) (1, false) "one is not routed"
            let route = report.GetProperty("routes")[0]
            Expect.equal (string (route.GetProperty "host")) "a.example" "a route"
            Expect.equal (string (route.GetProperty "address")) "127.0.0.1:9001" "its address"

            Expect.equal
                [ for line in report.GetProperty("notRouted").EnumerateArray() -> string line ]
                [ "RequestClone shop/lost: Service shop/nobody does not exist" ]
                "why not"
        }

        test "Services without any clusterIP are those of a cluster: all but their address is checked" {
            let service name =
                $"---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\nspec: {{ports: [{{name: http, port: 80}}]}}\n"

            let code, lines =
                check [ "a.yaml", Manifests.clone "copy" "a.example" "app" + service "app" ]

            Expect.equal code 0 "good"

            Expect.equal
                lines
                [
                    "HOST       REQUESTCLONE  SERVICE  ADDRESS"
                    "a.example  shop/copy     app      clusterIP:80"
                    ""
                    "No Service has a clusterIP: a cluster assigns it. Outside a cluster (--manifests) these are not routed."
                ]
                "said"

            let wrongPort =
                (Manifests.clone "copy" "a.example" "app").Replace("servicePort: http", "servicePort: grpc")

            let code, lines = check [ "a.yaml", wrongPort + service "app" ]
            Expect.equal code 1 "its port is not there"

            Expect.contains
                lines
                "  RequestClone shop/copy: Service shop/app has no port grpc: it has http (80)"
                "why"
        }

        test "where one Service has a clusterIP, one without is a fault" {
            let code, lines =
                check [
                    "a.yaml", Manifests.route "a.example" [ 9001 ]
                    "b.yaml",
                    Manifests.clone "copy" "a.example" "app"
                    + "---\napiVersion: v1\nkind: Service\nmetadata: {name: app, namespace: shop}\nspec: {ports: [{name: http, port: 80}]}\n"
                ]

            Expect.equal code 1 "wrong"
            Expect.contains lines "  RequestClone shop/copy: Service shop/app has no clusterIP" "why"
        }

        test "an empty folder routes nothing, which is not wrong" {
            Expect.equal (check []) (0, [ "Nothing is routed." ]) "said"
        }
    ]
