/// Objects of a cluster as JSON, the way kubectl would send them.
module K8sReq.TestKit.ClusterObjects

open System.IO
open System.Text.Json.Nodes

/// The CustomResourceDefinition, in YAML, as the chart has it.
let definition: Lazy<string> =
    lazy
        File.ReadAllText(
            Path.Combine(
                PublishedProgram.Root,
                "chart",
                "k8sreq-duplicator-controller",
                "crds",
                "proxy.infra.doodle.com_requestclones.yaml"
            )
        )

let clone (ns: string) (name: string) (host: string) (service: string) (port: string) =
    $$"""{"apiVersion":"proxy.infra.doodle.com/v1beta1","kind":"RequestClone","metadata":{"namespace":"{{ns}}","name":"{{name}}"},"spec":{"host":"{{host}}","backend":{"serviceName":"{{service}}","servicePort":"{{port}}"} } }"""

let labelled (label: string) (value: string) (object: string) =
    object.Replace(@"""metadata"":{", $$""" "metadata":{"labels":{"{{label}}":"{{value}}"},""")

let service (ns: string) (name: string) (address: string) (port: int) =
    $$"""{"apiVersion":"v1","kind":"Service","metadata":{"namespace":"{{ns}}","name":"{{name}}"},"spec":{"type":"ClusterIP","clusterIP":"{{address}}","ports":[{"name":"http","port":{{port}},"protocol":"TCP"}]} }"""

/// The Ready condition of a RequestClone: status, reason and the generation that it is about.
let ready (server: ApiServer) ns name =
    let text (name: string) (node: JsonNode) =
        match node[name] with
        | null -> ""
        | value -> string value

    match server.Get("requestclones", ns, name) with
    | None -> None
    | Some object ->
        match object["status"] with
        | :? JsonObject as status ->
            match status["conditions"] with
            | :? JsonArray as conditions ->
                conditions
                |> Seq.choose Option.ofObj
                |> Seq.tryFind (fun condition -> text "type" condition = "Ready")
                |> Option.map (fun condition ->
                    text "status" condition, text "reason" condition, text "observedGeneration" condition)
            | _ -> None
        | _ -> None
