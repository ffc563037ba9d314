/// What has to hold in any cluster. Run against the scripted API server, and against a real one where
/// `K8SREQ_TEST_KUBECONFIG` names it: there the CustomResourceDefinition is installed, namespaces and Services are created
/// (no pods are needed), and all but the definition is removed again. Copies are looked at where Services have loopback
/// addresses, on which the test's own targets can listen.
module K8sReq.Kubernetes.Tests.RealClusterTests

open System
open System.IO
open System.Text.Json
open System.Text.Json.Nodes
open System.Threading.Tasks
open Expecto
open k8s.Autorest
open K8sReq.Core
open K8sReq.Proxy
open K8sReq.Kubernetes
open K8sReq.Host.Manifests
open K8sReq.TestKit

let private spec (host: string) (service: string) (port: string) =
    $$"""{"host":"{{host}}","backend":{"serviceName":"{{service}}","servicePort":"{{port}}"} }"""

let private crdName = "requestclones.proxy.infra.doodle.com"

let private crd =
    lazy
        (match ManifestYaml.parse ClusterObjects.definition.Value with
         | Ok [ document ] -> document.Root.GetRawText()
         | other -> failwith $"{other}")

/// A cluster to test against.
type private Cluster = {
    Name: string
    IsReal: bool
    Use: (ClusterDriver -> Task<unit>) -> Task<unit>
}

let private scripted = {
    Name = "scripted"
    IsReal = false
    Use =
        fun test -> task {
            use! server = ApiServer.Create()
            server.Token <- Some "token"
            use folder = new TestFolder()
            use driver = new ClusterDriver(server.Kubeconfig folder.Path, false)
            do! test driver
        }
}

let private real = {
    Name = "real"
    IsReal = true
    Use =
        fun test -> task {
            match Environment.GetEnvironmentVariable "K8SREQ_TEST_KUBECONFIG" with
            | null
            | "" -> skiptest "K8SREQ_TEST_KUBECONFIG names no cluster"
            | kubeconfig ->
                use driver = new ClusterDriver(kubeconfig, true)
                do! driver.Install(crd.Value, crdName)
                do! test driver
        }
}

/// A replica that follows these namespaces.
let private startReplica (driver: ClusterDriver) name (namespaces: string list) arguments = task {
    let program =
        PublishedProgram.Start(
            [
                "--http-addr=127.0.0.1:0"
                "--probe-addr=127.0.0.1:0"
                "--metrics-addr=127.0.0.1:0"
                "--status-addr=127.0.0.1:0"
                "--namespaces=" + String.Join(",", namespaces)
            ]
            @ arguments,
            [ "KUBECONFIG", driver.Kubeconfig; "POD_NAME", name ]
        )

    let! port = program.Says @"Proxy listening on port (\d+)"
    let! _ = program.Says @"Routes: (\d+) hosts?"
    return program, int port
}

let private send port (host: string) = task {
    let! answer =
        TestClient.roundTrip
            port
            $"POST /x HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"

    return TestClient.status answer
}

let private answers port host status =
    Waiting.until $"{status} for {host}" (fun () -> task {
        let! answered = send port host
        return answered = status
    })

let private says (driver: ClusterDriver) ns name isReady reason =
    Waiting.until $"{reason} of {ns}/{name}" (fun () -> task {
        let! ready = driver.Ready(ns, name)
        return ready = Some(string (Some(isReady: bool)), reason)
    })

// A test that cannot see copies says so: it still sees answers and statuses.
let private takes (target: TestTarget option) : Task<unit> = task {
    match target with
    | Some target ->
        let! copy = target.Next()
        Expect.equal copy.Text "hi" "the copy"
    | None -> printfn "the Services' addresses are not loopback ones: copies are not looked at"
}

let private hostIn (ns: string) (name: string) = $"{name}.{ns}.example"

// The definition without a rule for any text of a spec: that of the program that this one replaces had none.
let private withoutRules =
    lazy
        (let rec strip (node: JsonNode | null) =
            match node with
            | :? JsonObject as fields ->
                for rule in [ "pattern"; "minLength"; "maxLength"; "x-kubernetes-validations" ] do
                    match fields[rule] with
                    | :? JsonObject -> ()
                    | _ -> fields.Remove rule |> ignore

                for field in List.ofSeq fields do
                    strip field.Value
            | :? JsonArray as items -> Seq.iter strip items
            | _ -> ()

         let whole = JsonNode.Parse crd.Value
         strip whole
         string whole)

// Whether the API server stores such a RequestClone.
let private isTaken (driver: ClusterDriver) ns name spec = task {
    try
        do! driver.Clone(ns, name, spec)
        return true
    with :? HttpOperationException as refused when int refused.Response.StatusCode = 422 ->
        return false
}

let private selections: (bool * string) list =
    let filters (filter: string) = "\"filters\":[" + filter + "]"

    let modifier (fields: string) =
        filters (
            "{\"type\":\"RequestHeaderModifier\",\"requestHeaderModifier\":{"
            + fields
            + "}}"
        )

    let rewrite (fields: string) =
        filters ("{\"type\":\"URLRewrite\",\"urlRewrite\":{" + fields + "}}")

    let times count (item: string) =
        String.concat "," (List.replicate count item)

    let header = """{"name":"A","value":"1"}"""

    let prefix =
        rewrite """"path":{"type":"ReplacePrefixMatch","replacePrefixMatch":"/"}"""

    [
        true, """"matches":[]"""
        true, """"matches":[{}]"""
        true,
        """"matches":[{"method":"VERSION-CONTROL","path":{"type":"Exact","value":"/a'b\"%2F"},"headers":[{"type":"Exact","name":"X-Event","value":"a b"}],"queryParams":[{"name":"a[b]","value":"c=d?"}]}]"""
        true, "\"matches\":[{\"headers\":[" + times 16 header + "]}]"
        false, "\"matches\":[{\"headers\":[" + times 17 header + "]}]"
        true, "\"matches\":[" + times 64 "{}" + "]"
        false, "\"matches\":[" + times 65 "{}" + "]"
        false, """"matches":[{"method":"post"}]"""
        false, """"matches":[{"path":{}}]"""
        false, """"matches":[{"path":{"value":"a"}}]"""
        false, """"matches":[{"path":{"value":"/a?b"}}]"""
        false, """"matches":[{"path":{"value":"/a b"}}]"""
        false, """"matches":[{"path":{"type":"RegularExpression","value":"/a"}}]"""
        false, """"matches":[{"headers":[{"name":"a b","value":"c"}]}]"""
        false, """"matches":[{"headers":[{"name":"a","value":" c"}]}]"""
        false, """"matches":[{"headers":[{"name":"a"}]}]"""
        false, """"matches":[{"queryParams":[{"name":"a","value":"b c"}]}]"""
        false, """"matches":[{"queryParams":[{"name":"a=b","value":"c"}]}]"""
        true,
        modifier
            """"set":[{"name":"X-A","value":"b c"}],"add":[{"name":"X-A","value":"d"}],"remove":["Authorization"]"""
        true, modifier ""
        false, modifier """"set":[{"name":"Host","value":"a"}]"""
        false, modifier """"add":[{"name":"content-LENGTH","value":"1"}]"""
        false, modifier """"remove":["via"]"""
        false, modifier """"remove":["a b"]"""
        false, modifier """"set":[{"name":"X-A","value":"a\nb"}]"""
        true,
        rewrite """"hostname":"ci.internal","path":{"type":"ReplaceFullPath","replaceFullPath":"/a%20b"}"""
        true, rewrite """"path":{"type":"ReplacePrefixMatch","replacePrefixMatch":""}"""
        false, rewrite """"hostname":"CI.internal" """
        false, rewrite """"path":{"type":"ReplaceFullPath","replaceFullPath":""}"""
        false, rewrite """"path":{"type":"ReplaceFullPath","replacePrefixMatch":"/"}"""
        false, rewrite """"path":{"type":"ReplacePrefixMatch"}"""
        false, rewrite """"path":{"type":"ReplaceFullPath","replaceFullPath":"/","replacePrefixMatch":"/"}"""
        false, filters "{}"
        false, filters """{"type":"URLRewrite"}"""
        false, filters """{"type":"RequestHeaderModifier","urlRewrite":{}}"""
        false, filters """{"type":"URLRewrite","urlRewrite":{},"requestHeaderModifier":{}}"""
        false, filters """{"type":"RequestMirror"}"""
        false, filters (times 2 """{"type":"URLRewrite","urlRewrite":{}}""")
        true, """"matches":[{"path":{"value":"/a"}},{"method":"GET"}],""" + prefix
        false,
        """"matches":[{"path":{"value":"/a"}},{"path":{"type":"Exact","value":"/b"}}],"""
        + prefix
    ]

let private suite (cluster: Cluster) =
    testSequenced
    <| testList $"any cluster, {cluster.Name}" [
        testCaseTask "routes appear, change and vanish, and statuses and events say so"
        <| fun () ->
            cluster.Use(fun driver -> task {
                let! ns = driver.Namespace "routes"
                let! target = driver.ServiceWithTarget(ns, "app")
                let a, b = hostIn ns "a", hostIn ns "b"
                do! driver.Clone(ns, "copy", spec a "app" "http")
                let! program, port = startReplica driver "replica-1" [ ns ] []
                use program = program
                do! answers port a 202
                do! takes target
                do! says driver ns "copy" true "ServiceBackendReady"
                do! driver.Clone(ns, "copy", spec b "app" "http")
                do! answers port b 202
                do! answers port a 503
                do! says driver ns "copy" true "ServiceBackendReady"
                do! driver.Clone(ns, "copy", spec b "app" "grpc")
                do! says driver ns "copy" false "ServicePortNotFound"
                do! answers port b 503
                do! driver.Clone(ns, "other", spec a "none" "80")
                do! says driver ns "other" false "ServiceNotFound"
                do! driver.HeadlessService(ns, "headless")
                do! driver.Clone(ns, "other", spec a "headless" "http")
                do! says driver ns "other" false "ServiceHeadless"
                do! driver.Clone(ns, "copy", spec b "app" "http")
                do! answers port b 202
                do! driver.DeleteService(ns, "app")
                do! answers port b 503
                do! says driver ns "copy" false "ServiceNotFound"
                let! unnamed = driver.ServiceWithTargetAt None (ns, "unnamed")
                do! driver.Clone(ns, "copy", spec b "unnamed" "")
                do! answers port b 202
                do! takes unnamed
                unnamed |> Option.iter (fun target -> (target :> IDisposable).Dispose())
                do! says driver ns "copy" true "ServiceBackendReady"
                do! driver.DeleteClone(ns, "copy")

                do!
                    Waiting.until "the events" (fun () -> task {
                        let! events = driver.Events ns

                        return
                            [
                                "Normal", "ServiceBackendReady"
                                "Warning", "ServicePortNotFound"
                                "Warning", "ServiceNotFound"
                                "Warning", "ServiceHeadless"
                            ]
                            |> List.forall (fun event -> List.contains event events)
                    })

                program.Terminate()
                let! code = program.ExitCode()
                Expect.equal code 0 "ended"
                target |> Option.iter (fun target -> (target :> IDisposable).Dispose())
            })

        testCaseTask "only the namespaces that it is told of, and only what the label selector selects"
        <| fun () ->
            cluster.Use(fun driver -> task {
                let! inside = driver.Namespace "inside"
                let! outside = driver.Namespace "outside"

                for ns in [ inside; outside ] do
                    let! target = driver.ServiceWithTarget(ns, "app")
                    target |> Option.iter (fun target -> (target :> IDisposable).Dispose())
                    do! driver.Clone(ns, "copy", spec (hostIn ns "a") "app" "http", """{"team":"a"}""")

                do! driver.Clone(inside, "unlabelled", spec (hostIn inside "b") "app" "http")

                let! program, port =
                    startReplica driver "replica-1" [ inside ] [ "--watch-label-selector=team=a" ]

                use program = program
                do! answers port (hostIn inside "a") 202
                do! says driver inside "copy" true "ServiceBackendReady"
                let! elsewhere = send port (hostIn outside "a")
                let! unlabelled = send port (hostIn inside "b")
                Expect.equal (elsewhere, unlabelled) (503, 503) "neither of the others"
                let! status = driver.Ready(outside, "copy")
                Expect.isNone status "and no status"
                Expect.isFalse program.HasExited "it goes on"
            })

        testCaseTask "one replica leads, and hands on when it stops; both route"
        <| fun () ->
            cluster.Use(fun driver -> task {
                let! ns = driver.Namespace "leader"
                let! target = driver.ServiceWithTarget(ns, "app")
                target |> Option.iter (fun target -> (target :> IDisposable).Dispose())
                let host = hostIn ns "a"
                do! driver.Clone(ns, "copy", spec host "app" "http")

                let arguments = [ "--enable-leader-election"; $"--leader-election-namespace={ns}" ]
                let! first, firstPort = startReplica driver "first" [ ns ] arguments
                use first = first
                let! _ = first.Says "first is the leader now"
                let! second, secondPort = startReplica driver "second" [ ns ] arguments
                use second = second
                do! answers firstPort host 202
                do! answers secondPort host 202
                do! says driver ns "copy" true "ServiceBackendReady"
                first.Terminate()
                let! code = first.ExitCode()
                Expect.equal code 0 "ended"
                let! _ = second.Says "second is the leader now"
                do! driver.Clone(ns, "copy", spec host "app" "grpc")
                do! says driver ns "copy" false "ServicePortNotFound"
            })

        if cluster.IsReal then
            testCaseTask "the definition refuses what can never work, and nothing that may"
            <| fun () ->
                cluster.Use(fun driver -> task {
                    let! ns = driver.Namespace "schema"

                    let withDelivery (delivery: string) =
                        let whole = spec "a.example" "app" "http"
                        // Before the brace that ends the spec.
                        whole.Remove(whole.LastIndexOf '}') + "," + delivery + "}"

                    for good in
                        [
                            spec "A.Example.:8080" "app" "http"
                            spec "[::1]:80" "app" "8080"
                            spec "[::ffff:10.0.0.1]" "app" "00080"
                            (spec "a.example" "app" "8080").Replace("\"8080\"", "8080")
                            spec
                                (String('a', 63) + "._-x." + String('b', 63) + ".:65535")
                                "app"
                                "abcdefghijklmno"
                            withDelivery
                                "\"delivery\":{\"retry\":3,\"backoffPolicy\":\"linear\",\"backoffDelay\":\"1s\"},\"timeouts\":{\"backendRequest\":\"1m30s\"}"
                        ] do
                        do! driver.Clone(ns, "good", good)

                    for bad in
                        [
                            spec "" "app" "http"
                            spec "*.example" "app" "http"
                            spec "http://a.example" "app" "http"
                            spec "a.example/x" "app" "http"
                            spec "a b" "app" "http"
                            spec "fd00::1" "app" "http"
                            spec "[fe80::1%eth0]" "app" "http"
                            spec "b\u00fccher.example" "app" "http"
                            spec (String('a', 64)) "app" "http"
                            spec "a..b" "app" "http"
                            spec "a.example:65536" "app" "http"
                            spec "a?b" "app" "http"
                            spec "a@b" "app" "http"
                            spec "a,b" "app" "http"
                            spec "a.example" "app" "a--b"
                            spec "a.example" "app" "019080"
                            spec "a.example" "app" "HTTP"
                            spec "a.example" "App" "http"
                            spec "a.example" "app" "70000"
                            spec "a.example" "app" "0"
                            withDelivery "\"delivery\":{\"retry\":101}"
                            withDelivery "\"delivery\":{\"backoffPolicy\":\"none\"}"
                            withDelivery "\"timeouts\":{\"backendRequest\":\"25h\"}"
                        ] do
                        let! taken = isTaken driver ns "bad" bad
                        Expect.isFalse taken $"refused: {bad}"
                })

            testCaseTask "the definition takes those matches and filters that the program does, and no others"
            <| fun () ->
                cluster.Use(fun driver -> task {
                    let! ns = driver.Namespace "filters"

                    for isGood, fields in selections do
                        let whole =
                            """{"host":"a.example","backend":{"serviceName":"app","servicePort":"http"},"""
                            + fields
                            + "}"

                        use document = JsonDocument.Parse("{\"spec\":" + whole + "}")

                        let read = Kind.readSpec CloneSpec.decoder ObjectOrigin.Cluster document.RootElement

                        Expect.equal (Result.isOk read) isGood $"the program: {fields}"
                        let! taken = isTaken driver ns "one" whole
                        Expect.equal taken isGood $"the API server: {fields}"
                })

            testCaseTask
                "an object of before that the definition does not take now is not routed, and holds up nobody"
            <| fun () ->
                cluster.Use(fun driver -> task {
                    let! ns = driver.Namespace "upgrade"
                    let! target = driver.ServiceWithTargetAt None (ns, "app")

                    let! program, port = task {
                        try
                            do! driver.Install(withoutRules.Value, crdName)

                            do!
                                Waiting.until "the rules to be gone" (fun () ->
                                    isTaken driver ns "bad" (spec "*.example" "App" ""))

                            do! driver.Clone(ns, "unnamed", spec (hostIn ns "a") "app" "")
                            do! driver.OldStatus(ns, "bad")
                            do! driver.OldStatus(ns, "unnamed")
                        finally
                            // Whatever has happened, the cluster is left with the definition as it is.
                            driver.Install(crd.Value, crdName).GetAwaiter().GetResult()

                        do!
                            Waiting.until "the rules to be back" (fun () -> task {
                                let! taken = isTaken driver ns "probe" (spec "*.example" "App" "")
                                return not taken
                            })

                        return! startReplica driver "replica-1" [ ns ] [ "--concurrent=1" ]
                    }

                    use program = program
                    do! says driver ns "unnamed" true "ServiceBackendReady"
                    do! answers port (hostIn ns "a") 202
                    do! takes target
                    // The server's answer decides between the two: before 1.30 it refuses this object's every write.
                    do!
                        Waiting.until "what became of the status to be told" (fun () -> task {
                            let! ready = driver.Ready(ns, "bad")

                            return
                                ready = Some(string (Some false), "InvalidSpec")
                                || (program.Output + program.Errors).Contains
                                    $"refuses the status of {ns}/bad"
                        })

                    target |> Option.iter (fun target -> (target :> IDisposable).Dispose())
                })

            testCaseTask "a host that is no ASCII text gets its status, and holds up nobody"
            <| fun () ->
                cluster.Use(fun driver -> task {
                    let! ns = driver.Namespace "emoji"
                    let! target = driver.ServiceWithTarget(ns, "app")
                    target |> Option.iter (fun target -> (target :> IDisposable).Dispose())
                    let! isStored = isTaken driver ns "emoji" (spec "🎉.example" "app" "http")
                    do! driver.Clone(ns, "other", spec (hostIn ns "a") "app" "http")
                    let! program, _ = startReplica driver "replica-1" [ ns ] [ "--concurrent=1" ]
                    use program = program
                    do! says driver ns "other" true "ServiceBackendReady"

                    if isStored then
                        do! says driver ns "emoji" false "InvalidSpec"

                    Expect.isFalse program.HasExited "it goes on"
                })

            testCaseTask "doctor finds what is granted, and what is not routed"
            <| fun () ->
                cluster.Use(fun driver -> task {
                    let! ns = driver.Namespace "doctor"
                    let! target = driver.ServiceWithTarget(ns, "app")
                    target |> Option.iter (fun target -> (target :> IDisposable).Dispose())
                    do! driver.Clone(ns, "good", spec (hostIn ns "a") "app" "http")
                    do! driver.Clone(ns, "lost", spec (hostIn ns "a") "nobody" "http")

                    use program =
                        PublishedProgram.Start(
                            [
                                "doctor"
                                "--status-addr=127.0.0.1:1"
                                "--namespaces"
                                ns
                                "--enable-leader-election"
                            ],
                            [ "KUBECONFIG", driver.Kubeconfig ]
                        )

                    let! code = program.ExitCode()
                    Expect.equal (code, program.Errors) (1, "") program.Output
                    Expect.isMatch program.Output @"ok\s+cluster" "reached"
                    Expect.isMatch program.Output @"ok\s+permissions\s+all 9 are granted" "reviewed"

                    Expect.isMatch
                        program.Output
                        @"failed\s+leader\s+there is no Lease default/"
                        "nobody leads"

                    Expect.stringContains
                        program.Output
                        $"1 of 2 not routed: {ns}/lost: Service {ns}/nobody does not exist"
                        "why"

                    Expect.isMatch
                        program.Output
                        $@"failed\s+endpoints\s+.*Service {ns}/app"
                        "there are no pods"

                    Expect.isMatch program.Output @"ok\s+clock" "the same machine"

                    if cluster.IsReal then
                        Expect.isMatch program.Output @"ok\s+crd" "this version's"
                })
    ]

let tests = testList "clusters" [ suite scripted; suite real ]
