/// Every manifest in the documents is read by `k8sreq check`, and by a cluster where `K8SREQ_TEST_KUBECONFIG` names one.
module K8sReq.Docs.Tests.YamlBlockTests

open System
open System.IO
open System.Text.Json.Nodes
open Expecto
open K8sReq.Host.Commands
open K8sReq.Kubernetes
open K8sReq.TestKit
open K8sReq.Docs.Tests.Documents

/// A document of a YAML block, as JSON.
type private Manifest = {
    /// Where the block begins.
    Place: string
    Object: JsonNode
}

let private field (name: string) (object: JsonNode) : string option =
    match object with
    | :? JsonObject as fields -> fields[name] |> Option.ofObj |> Option.map string
    | _ -> None

let private blocks = [
    for document in Documents.all do
        for block in snd (split document) do
            if block.Language = "yaml" then
                $"{document.Path}:{block.Line}", block.Text
]

let private documents (place: string, text: string) : Manifest list =
    match ManifestYaml.parse text with
    | Error error -> failtest $"{place}: line {error.Line}: {error.Reason}"
    | Ok documents -> [
        for document in documents ->
            {
                Place = place
                Object = nonNull (JsonNode.Parse(document.Root.GetRawText()))
            }
      ]

let private isOf (kinds: string list) (manifest: Manifest) =
    field "kind" manifest.Object
    |> Option.exists (fun kind -> List.contains kind kinds)

let private check (manifest: Manifest) : int * string =
    use output = new StringWriter()
    // A Service of a cluster has the address that it is given there; each document is checked alone.
    let code =
        Check.run (fun () -> new StringReader(manifest.Object.ToJsonString())) output {
            Paths = [ "-" ]
            Output = K8sReq.Core.OutputFormat.Table
        }

    code, string output

/// In the test's own namespace, whichever it names: that of the document is not there.
let private inNamespace (ns: string) (manifest: Manifest) : string =
    let copy = manifest.Object.DeepClone()

    match copy["metadata"] with
    | :? JsonObject as metadata -> metadata["namespace"] <- JsonValue.Create ns
    | _ -> ()

    copy.ToJsonString()

let tests =
    testList "YAML blocks" [
        test "there are some" { Expect.isGreaterThan blocks.Length 10 "README and recipes" }

        for place, text in blocks do
            test $"{place} is read by check" {
                for manifest in documents (place, text) do
                    if isOf [ "RequestClone"; "Service" ] manifest then
                        let code, output = check manifest
                        Expect.equal code 0 $"{place}: {output}"
            }

        test "a RequestClone with a wrong field is found" {
            let wrong =
                "apiVersion: proxy.infra.doodle.com/v1beta1\nkind: RequestClone\nmetadata: {name: a}\nspec: {host: a.example, backend: {serviceName: a, servicePort: http}, sample: 5}\n"

            for manifest in documents ("here", wrong) do
                Expect.equal (fst (check manifest)) 1 "spec.sample"
        }

        testCaseTask "a cluster takes each of them"
        <| fun () -> task {
            match Environment.GetEnvironmentVariable "K8SREQ_TEST_KUBECONFIG" with
            | null
            | "" -> skiptest "K8SREQ_TEST_KUBECONFIG names no cluster"
            | kubeconfig ->
                let kubectl = InstalledTool.path "kubectl"
                use driver = new ClusterDriver(kubeconfig, true)
                let crd = "chart/k8sreq-duplicator-controller/crds"

                InstalledTool.succeed kubectl [
                    "--kubeconfig"
                    kubeconfig
                    "apply"
                    "--server-side"
                    "--force-conflicts"
                    "-f"
                    Path.Combine(root, crd)
                ]
                |> ignore

                let! ns = driver.Namespace "docs"

                // Kinds that every cluster has, once its definition of RequestClones is ours.
                let known = [
                    "RequestClone"
                    "Service"
                    "EndpointSlice"
                    "Deployment"
                    "Ingress"
                    "Pod"
                    "NetworkPolicy"
                ]

                for block in blocks do
                    for manifest in documents block do
                        if isOf known manifest then
                            let code, _, errors =
                                InstalledTool.runWith (inNamespace ns manifest) kubectl [
                                    "--kubeconfig"
                                    kubeconfig
                                    "apply"
                                    "--dry-run=server"
                                    "-f"
                                    "-"
                                ]

                            Expect.equal code 0 $"{manifest.Place}: {errors}"
        }
    ]
