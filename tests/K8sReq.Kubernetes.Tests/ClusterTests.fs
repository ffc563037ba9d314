/// The published program against an API server: routes, statuses, and everything that goes wrong between the two.
module K8sReq.Kubernetes.Tests.ClusterTests

open System
open System.IO
open System.Text.Json.Nodes
open System.Threading.Tasks
open Expecto
open K8sReq.TestKit.ClusterObjects
open K8sReq.TestKit

/// A replica of the program that follows the server.
[<Sealed>]
type private Replica(program: PublishedProgram, port: int, probePort: int) =
    static member Start(server: ApiServer, folder: TestFolder, name: string, arguments: string list) = task {
        let kubeconfig = server.Kubeconfig folder.Path

        let program =
            PublishedProgram.Start(
                [
                    "--http-addr=127.0.0.1:0"
                    "--probe-addr=127.0.0.1:0"
                    "--metrics-addr=127.0.0.1:0"
                    "--status-addr=127.0.0.1:0"
                ]
                @ arguments,
                [ "KUBECONFIG", kubeconfig; "POD_NAME", name ]
            )

        let! probePort = program.Says @"Probes listening on port (\d+)"
        return program, int probePort
    }

    /// Started, and its routes known.
    static member Ready(server: ApiServer, folder: TestFolder, name: string, arguments: string list) = task {
        let! program, probePort = Replica.Start(server, folder, name, arguments)
        let! port = program.Says @"Proxy listening on port (\d+)"
        let! _ = program.Says @"Routes: (\d+) hosts?"
        return new Replica(program, int port, probePort)
    }

    member _.Program = program

    member _.Send(host: string) : Task<int> = task {
        let! answer =
            TestClient.roundTrip
                port
                $"POST /x HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"

        return TestClient.status answer
    }

    member replica.Answers(host: string, status: int) : Task<unit> =
        Waiting.until $"{status} for {host}" (fun () -> task {
            let! answered = replica.Send host
            return answered = status
        })

    member _.Probe(path: string) : Task<int> = task {
        let! answer =
            TestClient.roundTrip probePort $"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

        return TestClient.status answer
    }

    interface IDisposable with
        member _.Dispose() = (program :> IDisposable).Dispose()

let private isReady server ns name expected =
    let mutable last = None

    Waiting.until $"the status {expected} of {ns}/{name}" (fun () ->
        last <- ready server ns name
        Task.FromResult((last = Some expected)))

let private statusWrites (server: ApiServer) =
    server.Calls
    |> List.filter (fun call ->
        call.Request.Method = "PATCH"
        && call.Request.Subresource = Some "status"
        && call.Code < 300)
    |> List.length

let private events (server: ApiServer) = [
    for event in server.All "events" -> string event["type"], string event["reason"]
]

/// Whom leases were written to name, one after the other; "" for nobody.
let private leaseHolders (server: ApiServer) =
    let holder (lease: string) =
        JsonNode.Parse lease
        |> Option.ofObj
        |> Option.bind (fun lease -> Option.ofObj lease["spec"])
        |> Option.map (fun spec -> string spec["holderIdentity"])
        |> Option.defaultValue ""

    (server.Calls
     |> List.filter (fun call ->
         call.Request.Resource = "leases"
         && call.Request.Body <> ""
         && call.Code > 0
         && call.Code < 300)
     |> List.map (fun call -> holder call.Request.Body),
     [])
    ||> List.foldBack (fun holder later ->
        match later with
        | next :: _ when next = holder -> later
        | _ -> holder :: later)

/// A server, a target, and a route to it, before any replica is started.
let private withServer (test: ApiServer -> TestFolder -> TestTarget -> Task<unit>) = task {
    use! server = ApiServer.Create()
    server.Token <- Some "first"
    use folder = new TestFolder()
    use target = TestTarget.ok ()
    server.Put(service "shop" "app" "127.0.0.1" target.Port)
    server.Put(clone "shop" "copy" "a.example" "app" "http")
    do! test server folder target
}

let private following arguments (test: ApiServer -> TestTarget -> Replica -> Task<unit>) = task {
    do!
        withServer (fun server folder target -> task {
            use! replica = Replica.Ready(server, folder, "replica-1", arguments)
            do! test server target replica
        })
}

/// Takes copies until one is for this host.
let private copyFor (target: TestTarget) (host: string) : Task<unit> = task {
    let mutable isHere = false

    while not isHere do
        let! copy = target.Next()
        isHere <- copy.Values "Host" = [ host ]
}

let tests =
    testList "a cluster" [
        testCaseTask "routes appear, change and vanish, and statuses and events say so"
        <| fun () -> task {
            do!
                following [] (fun server target replica -> task {
                    let! first = replica.Send "a.example"
                    Expect.equal first 202 "routed from the start"
                    do! copyFor target "a.example"
                    do! isReady server "shop" "copy" ("True", "ServiceBackendReady", "1")
                    // Another one, and its Service after it.
                    server.Put(clone "blog" "late" "b.example" "app" "80")
                    do! isReady server "blog" "late" ("False", "ServiceNotFound", "1")
                    let! unrouted = replica.Send "b.example"
                    Expect.equal unrouted 503 "not routed"

                    server.Put(
                        (service "blog" "app" "127.0.0.1" target.Port)
                            .Replace("\"port\":", "\"port\":80,\"x\":")
                    )

                    do! isReady server "blog" "late" ("True", "ServiceBackendReady", "1")
                    // The host changes.
                    server.Put(clone "shop" "copy" "C.example:80" "app" "http")
                    do! replica.Answers("c.example", 202)
                    do! copyFor target "c.example"
                    do! replica.Answers("a.example", 503)
                    do! isReady server "shop" "copy" ("True", "ServiceBackendReady", "2")
                    // The port goes.
                    server.Put(clone "shop" "copy" "c.example" "app" "grpc")
                    do! isReady server "shop" "copy" ("False", "ServicePortNotFound", "3")
                    do! replica.Answers("c.example", 503)
                    server.Put(clone "shop" "copy" "c.example" "app" "http")
                    do! replica.Answers("c.example", 202)
                    // The Service goes.
                    server.Delete("services", "shop", "app") |> ignore
                    do! isReady server "shop" "copy" ("False", "ServiceNotFound", "4")
                    do! replica.Answers("c.example", 503)
                    server.Delete("requestclones", "shop", "copy") |> ignore

                    do!
                        Waiting.until "the events" (fun () ->
                            let told = events server

                            Task.FromResult(
                                List.contains ("Warning", "ServicePortNotFound") told
                                && (told |> List.filter ((=) ("Warning", "ServiceNotFound"))).Length = 2
                            ))

                    let event =
                        server.All "events"
                        |> List.find (fun event -> string event["reason"] = "ServicePortNotFound")

                    Expect.equal (string event["reportingInstance"]) "replica-1" "who says it"
                    Expect.stringContains (string event["note"]) "has no port grpc" "what"
                    let writes = statusWrites server
                    Expect.isLessThanOrEqual writes 9 "one write for each change, and none for its echo"
                })
        }

        testCaseTask "every kind of Service that cannot be sent to has its reason"
        <| fun () -> task {
            do!
                following [] (fun server _ replica -> task {
                    server.Put(service "shop" "headless" "None" 80)
                    server.Put(service "shop" "new" "" 80)

                    server.Put(
                        (service "shop" "tls" "127.0.0.1" 443)
                            .Replace("\"port\":", "\"appProtocol\":\"https\",\"port\":")
                    )

                    server.Put(
                        """{"apiVersion":"v1","kind":"Service","metadata":{"namespace":"shop","name":"alias"},"spec":{"type":"ExternalName","externalName":"x.example"}}"""
                    )

                    for name, reason in
                        [
                            "headless", "ServiceHeadless"
                            "new", "ServiceAddressMissing"
                            "alias", "ServiceExternalName"
                            "tls", "ServicePortProtocolUnsupported"
                            "none", "ServiceNotFound"
                        ] do
                        server.Put(clone "shop" name $"{name}.example" name "http")
                        do! isReady server "shop" name ("False", reason, "1")
                        let! status = replica.Send $"{name}.example"
                        Expect.equal status 503 "not routed"

                    server.Put(clone "shop" "wild" "*.example" "app" "http")
                    do! isReady server "shop" "wild" ("False", "InvalidSpec", "1")
                })
        }

        testCaseTask "conditions of other types stay, and the time moves only when the status flips"
        <| fun () -> task {
            do!
                following [] (fun server _ _ -> task {
                    let other =
                        """{"type":"Seen","status":"True","reason":"Yes","message":"","lastTransitionTime":"2020-01-01T00:00:00Z"}"""

                    let old =
                        """{"type":"Ready","status":"True","reason":"Old","message":"","lastTransitionTime":"2020-02-02T00:00:00Z"}"""

                    let object = clone "shop" "copy2" "a2.example" "app" "http"

                    server.Put(
                        object.Substring(0, object.Length - 1)
                        + $$""","status":{"conditions":[{{other}},{{old}}]} }"""
                    )

                    do! isReady server "shop" "copy2" ("True", "ServiceBackendReady", "1")

                    let text =
                        server.Get("requestclones", "shop", "copy2") |> Option.get |> _.ToJsonString()

                    Expect.stringContains text "\"type\":\"Seen\"" "the other one is there"
                    Expect.stringContains text "2020-02-02T00:00:00Z" "it was ready before"
                })
        }

        testCaseTask
            "the API server goes away: requests are copied as before, and what was missed is caught up with"
        <| fun () -> task {
            do!
                following [] (fun server target replica -> task {
                    server.Put(clone "shop" "goes" "goes.example" "app" "http")
                    do! replica.Answers("goes.example", 202)
                    do! server.Stop()
                    let! during = replica.Send "a.example"
                    let! ready = replica.Probe "/readyz"
                    Expect.equal (during, ready) (202, 200) "it goes on, and is ready"
                    let! _ = replica.Program.Says "the API server cannot be reached"
                    // Nobody sees these happen.
                    server.Put(clone "shop" "new" "new.example" "app" "http")
                    server.Put(clone "shop" "copy" "moved.example" "app" "http")
                    server.Delete("requestclones", "shop", "goes") |> ignore
                    server.Forget()
                    do! server.Start()
                    do! replica.Answers("new.example", 202)
                    do! copyFor target "new.example"
                    do! replica.Answers("moved.example", 202)
                    do! replica.Answers("a.example", 503)
                    do! replica.Answers("goes.example", 503)
                    let! _ = replica.Program.Says "watching again"
                    do! isReady server "shop" "new" ("True", "ServiceBackendReady", "1")
                })
        }

        for inStream in [ false; true ] do
            let form = if inStream then "in the stream" else "at once"

            testCaseTask $"a version that is forgotten, said {form}, leads to a new list"
            <| fun () -> task {
                do!
                    following [] (fun server _ replica -> task {
                        server.Expiry <-
                            if inStream then
                                ExpiryAnswer.ErrorEvent
                            else
                                ExpiryAnswer.Status
                        // No watch may see the change happen.
                        server.Fault <- fun request -> if request.IsWatch then Some Fault.Reset else None
                        server.ResetWatches() |> ignore

                        do!
                            Waiting.until "the watches to be gone" (fun () ->
                                Task.FromResult(server.OpenWatches = 0))

                        server.Put(clone "shop" "new" "new.example" "app" "http")
                        server.Forget()
                        server.Fault <- fun _ -> None
                        do! replica.Answers("new.example", 202)
                        let! ready = replica.Probe "/readyz"
                        Expect.equal ready 200 "ready all along"
                    })
            }

        testCaseTask "watches that are closed, reset, or say what cannot be read go on where they were"
        <| fun () -> task {
            do!
                following [] (fun server _ replica -> task {
                    let disturbances = [
                        server.CloseWatches
                        server.ResetWatches
                        fun () -> server.SendRaw "this is no JSON"
                        fun () ->
                            server.SendRaw
                                """{"type":"ERROR","object":{"kind":"Status","code":500,"message":"oops"}}"""
                    ]

                    for n, disturb in List.indexed disturbances do
                        do!
                            Waiting.until "both watches" (fun () ->
                                Task.FromResult((server.OpenWatches = 2)))

                        disturb () |> ignore
                        server.Put(clone "shop" $"new{n}" $"new{n}.example" "app" "http")
                        do! replica.Answers($"new{n}.example", 202)

                    // Every one of them was caught up with by the watch, from the version that it had.
                    let lists =
                        server.Calls
                        |> List.filter (fun call ->
                            call.Request.Resource = "requestclones"
                            && call.Request.Method = "GET"
                            && not call.Request.IsWatch)

                    Expect.hasLength lists 1 "listed once"
                })
        }

        testCaseTask "a server that answers 500, 429 or nothing is asked again"
        <| fun () -> task {
            do!
                withServer (fun server folder _ -> task {
                    server.Fault <- fun _ -> Some(Fault.Status 500)
                    let! program, _ = Replica.Start(server, folder, "replica-1", [])
                    use program = program
                    let! _ = program.Says "the API server cannot be reached"
                    server.Fault <- fun _ -> Some(Fault.TooManyRequests 1)

                    do!
                        Waiting.until "a 429" (fun () ->
                            Task.FromResult(server.Calls |> List.exists (fun call -> call.Code = 429)))

                    server.Fault <- fun _ -> None
                    let! port = program.Says @"Proxy listening on port (\d+)"
                    use replica = new Replica(program, int port, 0)
                    do! replica.Answers("a.example", 202)
                })
        }

        testCaseTask "a permission that is missing is said plainly, and the program waits for it, unready"
        <| fun () -> task {
            do!
                withServer (fun server folder _ -> task {
                    server.Fault <-
                        fun request ->
                            if request.Resource = "services" then
                                Some(Fault.Status 403)
                            else
                                None

                    let! program, probePort = Replica.Start(server, folder, "replica-1", [])
                    use program = program
                    let! _ = program.Says "Services in all namespaces: a permission is missing"

                    let! answer =
                        TestClient.roundTrip probePort "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"

                    Expect.equal (TestClient.status answer) 503 "not ready: the routes are not known"
                    server.Fault <- fun _ -> None
                    let! port = program.Says @"Proxy listening on port (\d+)"
                    let! _ = program.Says "Services in all namespaces: watching again"
                    let! _ = program.Says @"Routes: (\d+) hosts?"
                    use replica = new Replica(program, int port, probePort)
                    let! ready = replica.Probe "/readyz"
                    Expect.equal ready 200 "ready"
                    do! replica.Answers("a.example", 202)
                })
        }

        for kinds in [ [ "services" ]; [ "requestclones" ]; [ "services"; "requestclones" ] ] do
            let names = String.concat " and " kinds

            testCaseTask
                $"a namespace whose {names} may not be read is passed over, and followed when they may"
            <| fun () -> task {
                do!
                    withServer (fun server folder target -> task {
                        server.Put(service "blog" "app" "127.0.0.1" target.Port)
                        server.Put(clone "blog" "copy" "b.example" "app" "http")

                        server.Fault <-
                            fun request ->
                                if
                                    request.Namespace = Some "blog" && List.contains request.Resource kinds
                                then
                                    Some(Fault.Status 403)
                                else
                                    None

                        use! replica =
                            Replica.Ready(
                                server,
                                folder,
                                "replica-1",
                                [ "--namespaces=shop,blog"; "--enable-leader-election" ]
                            )

                        let! _ = replica.Program.Says "in namespace blog: a permission is missing"
                        let! isReady' = replica.Probe "/readyz"
                        Expect.equal isReady' 200 "ready"
                        do! replica.Answers("a.example", 202)
                        do! isReady server "shop" "copy" ("True", "ServiceBackendReady", "1")
                        let! hidden = replica.Send "b.example"
                        Expect.equal hidden 503 "not known"
                        Expect.isNone (ready server "blog" "copy") "nothing is said of it that is not known"
                        server.Fault <- fun _ -> None
                        do! replica.Answers("b.example", 202)
                        do! isReady server "blog" "copy" ("True", "ServiceBackendReady", "1")
                    })
            }

        testCaseTask "a CustomResourceDefinition that is missing is said plainly, and waited for"
        <| fun () -> task {
            do!
                withServer (fun server folder _ -> task {
                    server.Fault <-
                        fun request ->
                            if request.Resource = "requestclones" then
                                Some Fault.MissingResource
                            else
                                None

                    let! program, _ = Replica.Start(server, folder, "replica-1", [])
                    use program = program
                    let! _ = program.Says "is its CustomResourceDefinition installed"
                    server.Fault <- fun _ -> None
                    let! port = program.Says @"Proxy listening on port (\d+)"
                    use replica = new Replica(program, int port, 0)
                    do! replica.Answers("a.example", 202)
                })
        }

        testCaseTask
            "told to end while the CustomResourceDefinition is missing, the leader gives its lease back"
        <| fun () -> task {
            do!
                withServer (fun server folder _ -> task {
                    server.Fault <-
                        fun request ->
                            if request.Resource = "requestclones" then
                                Some Fault.MissingResource
                            else
                                None

                    let! program, _ =
                        Replica.Start(server, folder, "replica-1", [ "--enable-leader-election" ])

                    use program = program

                    do!
                        Waiting.until "the lease to be held" (fun () ->
                            Task.FromResult((leaseHolders server = [ "replica-1" ])))

                    program.Terminate()
                    let! code = program.ExitCode()
                    Expect.equal code 0 "ended as asked"
                    Expect.equal (leaseHolders server) [ "replica-1"; "" ] "given back"
                })
        }

        testCaseTask "told to end while nothing is answered any more, the leader does not wait for its lease"
        <| fun () -> task {
            do!
                withServer (fun server folder _ -> task {
                    server.Fault <-
                        fun request ->
                            if request.Resource = "requestclones" then
                                Some Fault.MissingResource
                            else
                                None

                    let! program, _ =
                        Replica.Start(server, folder, "replica-1", [ "--enable-leader-election" ])

                    use program = program

                    do!
                        Waiting.until "the lease to be held" (fun () ->
                            Task.FromResult((leaseHolders server = [ "replica-1" ])))

                    server.Fault <- fun _ -> Some Fault.Stall
                    program.Terminate()
                    let! code = program.ExitCode()
                    Expect.equal code 0 "ended as asked"
                })
        }

        testCaseTask "credentials that have expired are read again"
        <| fun () -> task {
            do!
                withServer (fun server folder _ -> task {
                    use! replica = Replica.Ready(server, folder, "replica-1", [])
                    do! replica.Answers("a.example", 202)
                    server.Token <- Some "second"
                    server.ResetWatches() |> ignore
                    let! _ = replica.Program.Says "rejects the credentials"
                    server.Put(clone "shop" "new" "new.example" "app" "http")
                    server.Kubeconfig folder.Path |> ignore
                    do! replica.Answers("new.example", 202)
                    do! isReady server "shop" "new" ("True", "ServiceBackendReady", "1")
                })
        }

        testCaseTask "credentials that have expired are read again for the election as well"
        <| fun () -> task {
            do!
                withServer (fun server folder _ -> task {
                    use! replica =
                        Replica.Ready(server, folder, "replica-1", [ "--enable-leader-election" ])

                    do! isReady server "shop" "copy" ("True", "ServiceBackendReady", "1")
                    server.Token <- Some "second"
                    server.ResetWatches() |> ignore
                    let! _ = replica.Program.Says "Leader election failed"
                    server.Kubeconfig folder.Path |> ignore

                    let renewals () =
                        server.Calls
                        |> List.filter (fun call ->
                            call.Request.Resource = "leases" && call.Code > 0 && call.Code < 300)
                        |> List.length

                    let before = renewals ()

                    do!
                        Waiting.until "the lease to be renewed" (fun () ->
                            Task.FromResult(renewals () > before + 1))

                    server.Put(clone "shop" "new" "new.example" "app" "http")
                    do! isReady server "shop" "new" ("True", "ServiceBackendReady", "1")
                })
        }

        testCaseTask "NAMESPACES: these alone are asked for, routed and given statuses"
        <| fun () -> task {
            do!
                withServer (fun server folder target -> task {
                    server.Put(service "blog" "app" "127.0.0.1" target.Port)
                    server.Put(clone "blog" "copy" "b.example" "app" "http")
                    server.Put(service "other" "app" "127.0.0.1" target.Port)
                    server.Put(clone "other" "copy" "c.example" "app" "http")

                    use! replica =
                        Replica.Ready(server, folder, "replica-1", [ "--namespaces=shop,blog" ])

                    do! replica.Answers("a.example", 202)
                    do! replica.Answers("b.example", 202)
                    let! outside = replica.Send "c.example"
                    Expect.equal outside 503 "not routed"
                    do! isReady server "blog" "copy" ("True", "ServiceBackendReady", "1")
                    Expect.isNone (ready server "other" "copy") "no status"

                    let asked =
                        server.Calls
                        |> List.filter (fun call -> call.Request.Method = "GET")
                        |> List.map (fun call -> call.Request.Namespace)
                        |> List.distinct
                        |> List.sort

                    Expect.equal asked [ Some "blog"; Some "shop" ] "nothing else is asked for"
                })
        }

        testCaseTask "WATCH_LABEL_SELECTOR: a RequestClone counts for as long as it has the labels"
        <| fun () -> task {
            do!
                following [ "--watch-label-selector=team=a" ] (fun server _ replica -> task {
                    let! unlabelled = replica.Send "a.example"
                    Expect.equal unlabelled 503 "not selected"
                    let mine = clone "shop" "mine" "mine.example" "app" "http"
                    server.Put(labelled "team" "a" mine)
                    do! replica.Answers("mine.example", 202)
                    do! isReady server "shop" "mine" ("True", "ServiceBackendReady", "1")
                    server.Put(labelled "team" "b" mine)
                    do! replica.Answers("mine.example", 503)
                    do! isReady server "shop" "mine" ("False", "NotSelected", "1")
                    server.Put(labelled "team" "a" mine)
                    do! replica.Answers("mine.example", 202)
                    do! isReady server "shop" "mine" ("True", "ServiceBackendReady", "1")
                    server.Delete("requestclones", "shop", "mine") |> ignore
                    do! replica.Answers("mine.example", 503)
                    Expect.isFalse replica.Program.HasExited "one that is deleted is gone, and no more"
                })
        }

        testCaseTask
            "the last words on a RequestClone that left the selector are said, though the server fails at first"
        <| fun () -> task {
            do!
                following [ "--watch-label-selector=team=a" ] (fun server _ _ -> task {
                    let mine = clone "shop" "mine" "mine.example" "app" "http"
                    server.Put(labelled "team" "a" mine)
                    do! isReady server "shop" "mine" ("True", "ServiceBackendReady", "1")
                    let mutable failed = 0

                    server.Fault <-
                        fun request ->
                            if request.Method = "PATCH" && failed < 2 then
                                failed <- failed + 1
                                Some(Fault.Status 500)
                            else
                                None

                    server.Put(labelled "team" "b" mine)
                    do! isReady server "shop" "mine" ("False", "NotSelected", "1")
                    Expect.equal failed 2 "the server has failed"
                })
        }

        testCaseTask "thousands of objects come in pages, and a page that expires begins the list again"
        <| fun () -> task {
            do!
                withServer (fun server folder target -> task {
                    for n in 1..1200 do
                        server.Put(service "shop" $"app{n}" "127.0.0.1" target.Port)
                        server.Put(clone "shop" $"copy{n}" $"h{n}.example" $"app{n}" "http")

                    let mutable isFirst = true

                    server.Fault <-
                        fun request ->
                            if request.Query.ContainsKey "continue" && isFirst then
                                isFirst <- false
                                Some(Fault.Status 410)
                            else
                                None

                    use! replica = Replica.Ready(server, folder, "replica-1", [ "--concurrent=8" ])

                    for n in [ 1; 500; 501; 1200 ] do
                        let! status = replica.Send $"h{n}.example"
                        Expect.equal status 202 $"host {n}"

                    do! Waiting.until "all statuses" (fun () -> Task.FromResult(statusWrites server >= 1201))
                })
        }

        testCaseTask "a status that is never answered is given up and written later; requests do not notice"
        <| fun () -> task {
            do!
                withServer (fun server folder _ -> task {
                    server.Fault <-
                        fun request -> if request.Method = "PATCH" then Some Fault.Stall else None

                    use! replica = Replica.Ready(server, folder, "replica-1", [])
                    do! replica.Answers("a.example", 202)
                    let! _ = replica.Program.Says "Cannot write the status of shop/copy"
                    server.Fault <- fun _ -> None
                    do! isReady server "shop" "copy" ("True", "ServiceBackendReady", "1")
                })
        }

        for code in [ 400; 403; 404; 409; 422 ] do
            testCaseTask $"a status that is refused with {code} holds up nobody else's, and is logged once"
            <| fun () -> task {
                do!
                    withServer (fun server folder _ -> task {
                        // First in every round, and the only one that may be written at a time.
                        server.Put(clone "shop" "a-refused" "refused.example" "app" "http")

                        let isRefused (request: ApiRequest) =
                            request.Method = "PATCH" && request.Name = Some "a-refused"

                        server.Fault <-
                            fun request -> if isRefused request then Some(Fault.Status code) else None

                        use! replica = Replica.Ready(server, folder, "replica-1", [ "--concurrent=1" ])
                        do! isReady server "shop" "copy" ("True", "ServiceBackendReady", "1")

                        for n in 1..20 do
                            server.Put(clone "shop" $"later-{n}" $"later-{n}.example" "app" "http")
                            do! isReady server "shop" $"later-{n}" ("True", "ServiceBackendReady", "1")

                        let refusals =
                            server.Calls |> List.filter (fun call -> isRefused call.Request) |> List.length

                        // Each round would have tried it without a backoff of its own.
                        Expect.isLessThan refusals 10 "it is not tried with every other"
                        server.Fault <- fun _ -> None
                        // What changes is tried at once.
                        server.Put(clone "shop" "a-refused" "mended.example" "app" "http")
                        do! isReady server "shop" "a-refused" ("True", "ServiceBackendReady", "2")

                        let lines =
                            replica.Program.Errors.Split '\n'
                            |> Array.filter (fun line ->
                                line.Contains "refuses the status of shop/a-refused")

                        Expect.hasLength lines (if code = 404 || code = 409 then 0 else 1) "logged once"
                    })
            }

        testCaseTask "a server that fails over one status alone goes on with the others"
        <| fun () -> task {
            do!
                withServer (fun server folder _ -> task {
                    server.Put(clone "shop" "a-broken" "broken.example" "app" "http")

                    server.Fault <-
                        fun request ->
                            if request.Method = "PATCH" && request.Name = Some "a-broken" then
                                Some(Fault.Status 500)
                            else
                                None

                    use! replica = Replica.Ready(server, folder, "replica-1", [ "--concurrent=1" ])
                    do! isReady server "shop" "copy" ("True", "ServiceBackendReady", "1")
                    server.Put(clone "shop" "later" "later.example" "app" "http")
                    do! isReady server "shop" "later" ("True", "ServiceBackendReady", "1")
                    Expect.isFalse replica.Program.HasExited "it goes on"
                })
        }

        testCaseTask "a status with any character is written"
        <| fun () -> task {
            do!
                following [] (fun server _ _ -> task {
                    for host in [ "🎉.example"; "grüße.example"; @"\u0001\""\\.example" ] do
                        server.Put(clone "shop" "odd" host "app" "http")

                        do!
                            Waiting.until $"the status for {host}" (fun () ->
                                Task.FromResult(
                                    match ready server "shop" "odd" with
                                    | Some("False", "InvalidSpec", _) -> true
                                    | _ -> false
                                ))

                        server.Delete("requestclones", "shop", "odd") |> ignore
                })
        }

        testCaseTask "the status says which generation it is about, for tools that wait for that"
        <| fun () -> task {
            do!
                following [] (fun server _ _ -> task {
                    do! isReady server "shop" "copy" ("True", "ServiceBackendReady", "1")
                    server.Put(clone "shop" "copy" "other.example" "app" "http")
                    do! isReady server "shop" "copy" ("True", "ServiceBackendReady", "2")

                    let generations = [
                        for stored in server.All "requestclones" do
                            match Json.child "status" stored, Json.child "metadata" stored with
                            | Some status, Some metadata ->
                                string status["observedGeneration"], string metadata["generation"]
                            | _ -> ()
                    ]

                    Expect.equal generations [ "2", "2" ] "status.observedGeneration"
                })
        }

        testCaseTask "a status that cannot be written now is written later; requests do not notice"
        <| fun () -> task {
            do!
                withServer (fun server folder _ -> task {
                    server.Fault <-
                        fun request ->
                            if request.Method = "PATCH" then
                                Some(Fault.Status 500)
                            else
                                None

                    use! replica = Replica.Ready(server, folder, "replica-1", [])
                    let! _ = replica.Program.Says "Cannot write the status of shop/copy"
                    do! replica.Answers("a.example", 202)
                    server.Fault <- fun _ -> None
                    do! isReady server "shop" "copy" ("True", "ServiceBackendReady", "1")
                })
        }

        testCaseTask
            "with leader election one replica writes, all of them route, and the lease goes on when its holder stops"
        <| fun () -> task {
            do!
                withServer (fun server folder _ -> task {
                    let arguments = [ "--enable-leader-election"; "--leader-election-namespace=shop" ]
                    use! first = Replica.Ready(server, folder, "first", arguments)
                    let! _ = first.Program.Says "first is the leader now"
                    use! second = Replica.Ready(server, folder, "second", arguments)
                    do! isReady server "shop" "copy" ("True", "ServiceBackendReady", "1")

                    for replica in [ first; second ] do
                        let! status = replica.Send "a.example"
                        Expect.equal status 202 "every replica routes"

                    let writesBefore = statusWrites server
                    server.Put(clone "shop" "copy" "b.example" "app" "http")
                    do! isReady server "shop" "copy" ("True", "ServiceBackendReady", "2")
                    Expect.equal (statusWrites server) (writesBefore + 1) "one of them writes"
                    first.Program.Terminate()
                    let! code = first.Program.ExitCode()
                    Expect.equal code 0 "ended"
                    let! _ = second.Program.Says "second is the leader now"
                    // It was given back: nobody had to wait until it ran out.
                    Expect.equal (leaseHolders server) [ "first"; ""; "second" ] "who had the lease"
                    server.Put(clone "shop" "copy" "c.example" "app" "http")
                    do! isReady server "shop" "copy" ("True", "ServiceBackendReady", "3")
                })
        }

        testCaseTask
            "a leader that is killed is replaced, and the other replica goes on meanwhile; a lost lease touches no request"
        <| fun () -> task {
            do!
                withServer (fun server folder _ -> task {
                    let arguments = [ "--enable-leader-election"; "--leader-election-namespace=shop" ]
                    use! first = Replica.Ready(server, folder, "first", arguments)
                    let! _ = first.Program.Says "first is the leader now"
                    use! second = Replica.Ready(server, folder, "second", arguments)
                    first.Program.Kill()

                    let! _ =
                        task {
                            while not (second.Program.Errors.Contains "second is the leader now") do
                                let! status = second.Send "a.example"
                                Expect.equal status 202 "answered all along"
                                do! Task.Delay 100
                        }
                        |> Waiting.within "another leader"

                    server.Put(clone "shop" "copy" "b.example" "app" "http")
                    do! isReady server "shop" "copy" ("True", "ServiceBackendReady", "2")
                    // Nobody can hold the lease any more.
                    server.Fault <-
                        fun request ->
                            if request.Resource = "leases" then
                                Some(Fault.Status 500)
                            else
                                None

                    let! _ = second.Program.Says "second is no longer the leader"
                    let! status = second.Send "b.example"
                    Expect.equal status 202 "requests are copied all the same"
                    server.Put(clone "shop" "copy" "c.example" "app" "http")
                    do! second.Answers("c.example", 202)

                    Expect.notEqual
                        (ready server "shop" "copy")
                        (Some("True", "ServiceBackendReady", "3"))
                        "no status"

                    server.Fault <- fun _ -> None
                    do! isReady server "shop" "copy" ("True", "ServiceBackendReady", "3")
                })
        }

        testCaseTask "without any cluster the program says where it looked, and exits 2"
        <| fun () -> task {
            use program = PublishedProgram.Start([], [ "KUBECONFIG", "/nowhere/config" ])
            let! code = program.ExitCode()
            Expect.equal code 2 "not asked properly"
            Expect.stringContains program.Errors "/nowhere/config" "where it looked"
            Expect.stringContains program.Errors "--manifests" "and the other way"
            Expect.isFalse (File.Exists "/nowhere/config") "there is none"
        }
    ]
