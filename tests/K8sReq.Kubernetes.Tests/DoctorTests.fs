/// `k8sreq doctor` on a cluster. What the scripted API server answers is what a real one does: `RealClusterTests` runs it there.
module K8sReq.Kubernetes.Tests.DoctorTests

open System
open System.Text.Json
open System.Threading.Tasks
open Expecto
open K8sReq.TestKit

let private lease (renewed: DateTimeOffset) =
    $"""apiVersion: coordination.k8s.io/v1
kind: Lease
metadata: {{name: k8sreq-duplicator-controller, namespace: default}}
spec: {{holderIdentity: pod-1, renewTime: '{renewed.UtcDateTime.ToString "yyyy-MM-ddTHH:mm:ss.ffffffZ"}'}}
"""

let private endpoints (service: string) (isReady: string) =
    $"""apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {service}-1, namespace: shop, labels: {{kubernetes.io/service-name: {service}}}}}
addressType: IPv4
endpoints: [{{addresses: [127.0.0.1], conditions: {{ready: {isReady}}}}}]
"""

/// A cluster in which nothing is wrong.
let private healthy (server: ApiServer) =
    server.Put ClusterObjects.definition.Value
    server.Put(Manifests.route "a.example" [ 9001 ])
    server.Put(lease DateTimeOffset.UtcNow)
    server.Put(endpoints "app-0" "true")

/// Exit code, and state and detail of each check.
let private examine (kubeconfig: string) arguments : Task<int * Map<string, string * string>> = task {
    use program =
        PublishedProgram.Start(
            [ "doctor"; "--output=json"; "--status-addr=127.0.0.1:1" ] @ arguments,
            [ "KUBECONFIG", kubeconfig ]
        )

    let! code = program.ExitCode()
    Expect.equal program.Errors "" program.Output
    use document = JsonDocument.Parse program.Output

    return
        code,
        Map [
            for finding in document.RootElement.GetProperty("findings").EnumerateArray() ->
                string (finding.GetProperty "check"),
                (string (finding.GetProperty "state"), string (finding.GetProperty "detail"))
        ]
}

let private leader = [ "--enable-leader-election" ]

let private finds
    name
    arguments
    (change: ApiServer -> unit)
    (check: string)
    (expected: string)
    (part: string)
    =
    testCaseTask $"finds {name}"
    <| fun () -> task {
        use! server = ApiServer.Create()
        healthy server
        use folder = new TestFolder()
        let kubeconfig = server.Kubeconfig folder.Path
        change server
        let! code, findings = examine kubeconfig arguments
        let state, detail = findings[check]
        Expect.equal state expected detail
        Expect.stringContains detail part "what"
        Expect.equal code (if expected = "failed" then 1 else 0) $"%A{findings}"
    }

let tests =
    testList "doctor" [
        testCaseTask "finds nothing where nothing is wrong"
        <| fun () -> task {
            use! server = ApiServer.Create()
            healthy server
            use folder = new TestFolder()
            let! code, findings = examine (server.Kubeconfig folder.Path) leader
            Expect.equal code 0 $"%A{findings}"

            for check in [ "cluster"; "crd"; "permissions"; "leader"; "routes"; "endpoints"; "clock" ] do
                Expect.equal (fst findings[check]) "ok" (snd findings[check])
        }

        finds
            "a RequestClone that is not routed"
            []
            (fun server -> server.Put(Manifests.clone "lost" "b.example" "nobody"))
            "routes"
            "failed"
            "1 of 2 not routed: shop/lost: Service shop/nobody does not exist"

        finds
            "a Service without a ready endpoint"
            []
            (fun server -> server.Put(endpoints "app-0" "false"))
            "endpoints"
            "failed"
            "shop/app-0"

        finds
            "a permission that is missing"
            []
            (fun server -> server.IsGranted <- fun what -> what <> "patch requestclones/status")
            "permissions"
            "failed"
            "not granted: patch requestclones/status in all namespaces"

        finds
            "a definition that is missing"
            []
            (fun server ->
                server.Delete("customresourcedefinitions", "", "requestclones.proxy.infra.doodle.com")
                |> ignore)
            "crd"
            "failed"
            "there is no CustomResourceDefinition"

        finds
            "an older definition"
            []
            (fun server ->
                server.Put(ClusterObjects.definition.Value.Replace("deadLetterSink:", "olderSink:")))
            "crd"
            "failed"
            "delivery.deadLetterSink"

        finds
            "a definition that may not be read"
            []
            (fun server ->
                server.Fault <-
                    fun request ->
                        if request.Path.Contains "customresourcedefinitions" then
                            Some(Fault.Status 403)
                        else
                            None)
            "crd"
            "skipped"
            "no permission"

        finds
            "a leader that is gone"
            leader
            (fun server -> server.Put(lease (DateTimeOffset.UtcNow.AddHours -1.0)))
            "leader"
            "failed"
            "pod-1 holds Lease default/k8sreq-duplicator-controller, last renewed"

        finds
            "a lease that was never taken"
            leader
            (fun server -> server.Delete("leases", "default", "k8sreq-duplicator-controller") |> ignore)
            "leader"
            "failed"
            "there is no Lease default/k8sreq-duplicator-controller"

        finds
            "credentials that are not taken"
            []
            (fun server -> server.Token <- Some "another")
            "cluster"
            "failed"
            "Unauthorized"

        testCaseTask "finds an API server that is away"
        <| fun () -> task {
            use! server = ApiServer.Create()
            use folder = new TestFolder()
            let kubeconfig = server.Kubeconfig folder.Path
            do! server.Stop()
            let! code, findings = examine kubeconfig []
            Expect.equal (code, fst findings["cluster"]) (1, "failed") $"%A{findings}"
            Expect.isFalse (findings.ContainsKey "routes") "nothing more is asked"
        }
    ]
