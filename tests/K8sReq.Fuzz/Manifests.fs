/// Manifest files, spoilt at random: reading one must end soon and must not throw. What is wrong with a file is that file's
/// problem, with a place.
module K8sReq.Fuzz.Manifests

open System
open System.Diagnostics
open System.Text
open K8sReq.Kubernetes
open K8sReq.Core
open K8sReq.Host.Manifests

// As people write them, and as attackers do.
let private seeds = [|
    "apiVersion: v1\nkind: Service\nmetadata: {name: app, namespace: shop}\nspec:\n  clusterIP: 10.0.0.1\n  ports:\n    - name: http\n      port: 0100\n      appProtocol: http\n---\napiVersion: proxy.infra.doodle.com/v1beta1\nkind: RequestClone\nmetadata: {name: a}\nspec: {host: 'a.example', backend: {serviceName: app, servicePort: http}, delivery: {retry: 3, backoffDelay: 1s}}\n"
    "base: &base {x: 1, y: [1, 2, &z 3]}\nmore: &more {<<: *base, y: *z}\nall:\n  <<: [*base, *more]\n  ? key\n  : value\ntext: |\n  lines\n  of it\nfolded: >-\n  one\n  line\n"
    "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Service\n  metadata: {name: b}\n  spec: {type: ExternalName, externalName: x.example}\n- {apiVersion: proxy.infra.doodle.com/v1beta1, kind: RequestClone, metadata: {name: c}, spec: {host: c, backend: {serviceName: b, servicePort: 80}}}\n"
    "{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"\\ud83c\\udf89\",\"labels\":{\"a\":\"b\"}},\"spec\":{\"ports\":[{\"port\":80}]}}\n{\"kind\":\"List\",\"items\":[{}]}\n"
|]

let private likely = [|
    yield! "\n\t :-&*<>{}[],'\"|?!%@#~0123456789abcxyz\\".ToCharArray() |> Array.map string
    yield! [|
        "<<: "
        "*base"
        "&base "
        "*z"
        "---\n"
        "...\n"
        "? "
        ": "
        "- "
        "\\ud800"
        "\ud800"
        "\u0000"
        "\ufeff"
        "!!str "
        "{"
        "}"
        "[["
        "0x"
        "1e999"
        "null"
        "apiVersion"
        "name"
    |]
|]

let spoil (random: Random) : string =
    let text = StringBuilder(seeds[random.Next seeds.Length])

    for _ in 0 .. random.Next 8 do
        let at = random.Next(text.Length + 1)

        match random.Next 5 with
        | 0 when text.Length > 1 ->
            let from = min at (text.Length - 1)
            text.Remove(from, min (1 + random.Next 8) (text.Length - from)) |> ignore
        | 1 when text.Length > 1 && text.Length < 20_000 ->
            let from = random.Next text.Length
            let piece = text.ToString(from, min (1 + random.Next 60) (text.Length - from))
            text.Insert(at, String.replicate (1 + random.Next 3) piece) |> ignore
        | 2 -> text.Insert(at, char (random.Next 0x10000)) |> ignore
        | _ -> text.Insert(at, likely[random.Next likely.Length]) |> ignore

    text.ToString()

let private longest = TimeSpan.FromSeconds 5.0

let check (text: string) : unit =
    let watch = Stopwatch.StartNew()

    for name in [ "m.yaml"; "m.json" ] do
        match ManifestFile.parse RouteKinds.kinds name text with
        | Ok(_, problems) ->
            for problem in problems do
                ManifestProblem.describe problem |> ignore
        | Error problem -> ManifestProblem.describe problem |> ignore

    if watch.Elapsed > longest then
        failwith $"it took {watch.Elapsed.TotalSeconds:F1} s"
