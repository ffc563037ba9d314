/// helm and kubectl, as programs, and what they are run on.
module K8sReq.Chart.Tests.Tools

open System.IO
open Expecto
open K8sReq.TestKit

let root = PublishedProgram.Root
let chart = Path.Combine(root, "chart", "k8sreq-duplicator-controller")
let run = InstalledTool.run

/// An image, which the chart does not have of itself. It is that of the kustomize bases.
let withImage = [ "--set"; "image.repository=registry.invalid/k8sreq" ]

let succeed = InstalledTool.succeed

/// A test that gets helm's path.
let withHelm name (test: string -> unit) =
    testCase name (fun () -> test (InstalledTool.path "helm"))

let withKubectl name (test: string -> unit) =
    testCase name (fun () -> test (InstalledTool.path "kubectl"))
