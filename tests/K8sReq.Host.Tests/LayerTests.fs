module K8sReq.Host.Tests.LayerTests

open System.Reflection
open Expecto
open K8sReq.Core
open K8sReq.Kubernetes
open K8sReq.Proxy

let private referencesOf (assembly: Assembly) =
    assembly.GetReferencedAssemblies() |> Array.map (fun name -> string name.Name)

// Each layer, and what it must not know.
let private layers = [
    typeof<RouteTable>.Assembly, [ "K8sReq.Proxy"; "K8sReq.Kubernetes"; "k8sreq"; "KubernetesClient" ]
    typeof<Lane>.Assembly,
    [
        "K8sReq.Kubernetes"
        "K8sReq.ApiObjects"
        "k8sreq"
        "KubernetesClient"
        "YamlDotNet"
        "OpenTelemetry"
    ]
    Assembly.Load "K8sReq.Journal", [ "K8sReq.Kubernetes"; "k8sreq"; "KubernetesClient" ]
    typeof<KubernetesConnection>.Assembly, [ "k8sreq"; "OpenTelemetry"; "Giraffe.ViewEngine" ]
]

let tests =
    testList "layers" [
        for assembly, forbidden in layers do
            test $"{assembly.GetName().Name} knows only what stands below it" {
                let references = referencesOf assembly

                for name in forbidden do
                    Expect.isFalse (Array.contains name references) $"{name}"
            }
    ]
