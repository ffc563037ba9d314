/// How Services are read as a cluster has them. Manifests are read by the same functions: see ManifestFileTests.
module K8sReq.Kubernetes.Tests.BackendServiceTests

open System.Text.Json
open Expecto
open k8s
open k8s.Models
open K8sReq.Core
open K8sReq.Proxy
open K8sReq.Kubernetes
open K8sReq.Host.Manifests
open K8sReq.TestKit

// As the client library writes what it has read.
let private service address appProtocol =
    V1Service(
        Metadata = V1ObjectMeta(NamespaceProperty = "shop", Name = "app"),
        Spec =
            V1ServiceSpec(
                ClusterIP = address,
                Ports = [| V1ServicePort(Name = "http", Port = 80, AppProtocol = appProtocol) |]
            )
    )
    |> KubernetesJson.Serialize
    |> KubernetesJson.Deserialize<JsonElement>
    |> BackendService.kind.Read ObjectOrigin.Cluster (ObjectKey.create "shop" "app")

let private isUnreadable (service: BackendService) =
    match service.Address with
    | ServiceAddress.Unreadable _ -> true
    | ServiceAddress.ClusterIP _
    | ServiceAddress.Headless
    | ServiceAddress.ExternalName _
    | ServiceAddress.Unassigned -> false

let tests =
    testList "BackendService" [
        test "an address in another than the canonical spelling is not read as any" {
            for text in [ "127.0.0.010"; "127.1"; "2130706433"; "0x7f.0.0.1"; "fe80::1%eth0"; "[::1]" ] do
                Expect.isTrue (isUnreadable (service text null)) text

            Expect.isFalse (isUnreadable (service "10.0.0.1" null)) "and this is one"
        }

        test "what is spoken over a port" {
            let said appProtocol =
                (service "10.0.0.1" appProtocol).Ports |> List.map _.AppProtocol

            Expect.equal (said null) [ None ] "nothing"
            Expect.equal (said "https") [ Some "https" ] "https"
        }
    ]
