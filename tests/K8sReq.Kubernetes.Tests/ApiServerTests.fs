module K8sReq.Kubernetes.Tests.ApiServerTests

open System
open System.Collections.Generic
open System.IO
open System.Net
open System.Net.Http
open System.Net.Http.Headers
open System.Net.Sockets
open System.Text
open System.Text.Json
open System.Text.Json.Nodes
open System.Threading
open System.Threading.Tasks
open Expecto
open k8s
open k8s.Autorest
open k8s.LeaderElection
open k8s.LeaderElection.ResourceLock
open k8s.Models
open K8sReq.TestKit

let private group = "proxy.infra.doodle.com"
let private everywhere = $"/apis/{group}/v1beta1/requestclones"
let private clones = $"/apis/{group}/v1beta1/namespaces/shop/requestclones"

let private labelled (name: string) (labels: string) (host: string) =
    $$$"""{"apiVersion":"{{{group}}}/v1beta1","kind":"RequestClone","metadata":{"name":"{{{name}}}","namespace":"shop","labels":{{{labels}}}},"spec":{"host":"{{{host}}}"}}"""

let private clone (name: string) (host: string) = labelled name "{}" host

let private json (text: string) = Some("application/json", text)

let private merge (text: string) =
    Some("application/merge-patch+json", text)

let private apply (text: string) =
    Some("application/apply-patch+yaml", text)

let private client (server: ApiServer) =
    new HttpClient(BaseAddress = Uri server.Url)

let private request (verb: string) (path: string) (body: (string * string) option) =
    let request = new HttpRequestMessage(HttpMethod.Parse verb, path)

    match body with
    | Some(kind, text) ->
        let content = new StringContent(text, Encoding.UTF8)
        content.Headers.ContentType <- MediaTypeHeaderValue kind
        request.Content <- content
    | None -> ()

    request

let private send (server: ApiServer) verb path body : Task<int * JsonObject> = task {
    use client = client server

    use! response =
        client.SendAsync(request verb path body) |> Waiting.within "an answer"

    let! text = response.Content.ReadAsStringAsync()
    return int response.StatusCode, Json.parseObject text
}

/// The text at "metadata.name", "items.0.spec.host"; empty if there is none.
let private at (path: string) (node: JsonObject) : string =
    let step (node: JsonNode | null) (name: string) : JsonNode | null =
        match node with
        | :? JsonObject as parent -> parent[name]
        | :? JsonArray as items when int name < items.Count -> items[int name]
        | _ -> null

    match path.Split '.' |> Array.fold step (node :> (JsonNode | null)) with
    | null -> ""
    | found -> string found

let private names (list: JsonObject) =
    match list["items"] with
    | :? JsonArray as items -> items |> Seq.choose Json.asObject |> Seq.map (at "metadata.name") |> List.ofSeq
    | _ -> failwith "no list"

/// The lines of a watch.
[<Sealed>]
type private Watch private (client: HttpClient, response: HttpResponseMessage, reader: StreamReader) =
    static member Open(server: ApiServer, path: string) : Task<Watch> = task {
        let client = client server

        let! response =
            client.SendAsync(request "GET" path None, HttpCompletionOption.ResponseHeadersRead)
            |> Waiting.within "the head of a watch"

        let! stream = response.Content.ReadAsStreamAsync()
        return new Watch(client, response, new StreamReader(stream))
    }

    member _.Code = int response.StatusCode

    /// None at the end of the stream.
    member _.Line() : Task<string option> = task {
        let! line = reader.ReadLineAsync() |> Waiting.within "a line of a watch"

        return
            match line with
            | null -> None
            | line -> Some line
    }

    /// Type, name and resourceVersion of the next event.
    member watch.Event() : Task<string * JsonObject> = task {
        match! watch.Line() with
        | None -> return failtest "the watch has ended"
        | Some line ->
            let event = Json.parseObject line
            return at "type" event, (Json.child "object" event).Value
    }

    /// Type and name of the next event.
    member watch.Next() : Task<string * string> = task {
        let! kind, node = watch.Event()
        return kind, at "metadata.name" node
    }

    interface IDisposable with
        member _.Dispose() =
            response.Dispose()
            client.Dispose()

// What an attempt has failed with, innermost first.
let private failure (attempt: unit -> Task<'T>) : Task<exn> = task {
    try
        let! _ = attempt ()
        return failtest "it did not fail"
    with
    | :? AssertException as error -> return raise error
    | error -> return error
}

let rec private causes (error: exn) : exn list =
    match error.InnerException with
    | null -> [ error ]
    | inner -> error :: causes inner

let private isReset (error: exn) =
    causes error
    |> List.exists (fun cause ->
        match cause with
        | :? SocketException as socket -> socket.SocketErrorCode = SocketError.ConnectionReset
        | _ -> false)

let private objects =
    testList "objects" [
        testCaseTask "one is created once, read, and gone"
        <| fun () -> task {
            use! server = ApiServer.Create()
            let body = json (clone "a" "a.example")
            let! created, first = send server "POST" clones body
            let! again, refused = send server "POST" clones body
            let! read, second = send server "GET" (clones + "/a") None
            let! deleted, _ = send server "DELETE" (clones + "/a") None
            let! missing, status = send server "GET" (clones + "/a") None
            Expect.equal [ created; again; read; deleted; missing ] [ 201; 409; 200; 200; 404 ] "the codes"
            Expect.isTrue (JsonNode.DeepEquals(first, second)) "the same object"
            Expect.equal (at "reason" refused) "AlreadyExists" "why not twice"

            Expect.equal
                (at "kind" status, at "status" status, at "reason" status, at "code" status)
                ("Status", "Failure", "NotFound", "404")
                "a Status"

            Expect.isTrue
                ([ "uid"; "creationTimestamp"; "resourceVersion" ]
                 |> List.forall (fun name -> at $"metadata.{name}" first <> ""))
                "metadata"

            Expect.equal
                (server.Calls |> List.map (fun call -> call.Request.Method, call.Code))
                [ "POST", 201; "POST", 409; "GET", 200; "DELETE", 200; "GET", 404 ]
                "the log"
        }

        testCaseTask "a name can be generated, and has to be there otherwise"
        <| fun () -> task {
            use! server = ApiServer.Create()

            let body =
                (clone "x" "a.example").Replace("\"name\":\"x\"", "\"generateName\":\"x-\"")

            let! _, first = send server "POST" clones (json body)
            let! _, second = send server "POST" clones (json body)

            let! code, _ =
                send server "POST" clones (json (body.Replace("generateName", "other")))

            Expect.stringStarts (at "metadata.name" first) "x-" "generated"
            Expect.notEqual (at "metadata.name" first) (at "metadata.name" second) "another one"
            Expect.equal code 422 "none"
        }

        testCaseTask "a PUT needs the latest resourceVersion"
        <| fun () -> task {
            use! server = ApiServer.Create()
            let! _, first = send server "POST" clones (json (clone "a" "a.example"))

            let withVersion (host: string) (version: string) =
                let node = Json.parseObject (first.ToJsonString())
                (Json.child "spec" node).Value[ "host" ] <- JsonValue.Create host
                (Json.child "metadata" node).Value[ "resourceVersion" ] <- JsonValue.Create version
                json (node.ToJsonString())

            let version = at "metadata.resourceVersion" first

            let! code, second =
                send server "PUT" (clones + "/a") (withVersion "b.example" version)

            let! stale, refused =
                send server "PUT" (clones + "/a") (withVersion "c.example" version)

            let! blind, _ = send server "PUT" (clones + "/a") (withVersion "c.example" "")
            let! absent, _ = send server "PUT" (clones + "/b") (json (clone "b" "b.example"))
            Expect.equal [ code; stale; blind; absent ] [ 200; 409; 422; 404 ] "the codes"
            Expect.equal (at "reason" refused) "Conflict" "the reason"
            Expect.equal (at "metadata.generation" second) "2" "the spec changed"
            Expect.equal (at "metadata.uid" second) (at "metadata.uid" first) "the same object"
            let latest = at "metadata.resourceVersion" second
            let! _, third = send server "PUT" (clones + "/a") (withVersion "b.example" latest)
            Expect.equal (at "metadata.resourceVersion" third) latest "nothing changed"
        }

        testCaseTask "status changes through its subresource only, and nothing else does"
        <| fun () -> task {
            use! server = ApiServer.Create()
            let! _, _ = send server "POST" clones (json (clone "a" "a.example"))
            let patch = merge """{"spec":{"host":"b.example"},"status":{"seen":1}}"""
            let! _, main = send server "PATCH" (clones + "/a") patch
            Expect.equal (at "spec.host" main, at "status.seen" main) ("b.example", "") "the main resource"
            let patch = merge """{"spec":{"host":"c.example"},"status":{"seen":1}}"""
            let! _, status = send server "PATCH" (clones + "/a/status") patch
            Expect.equal (at "spec.host" status, at "status.seen" status) ("b.example", "1") "the subresource"
            Expect.equal (at "metadata.generation" status) "2" "a status is no new generation"
            let! _, same = send server "PATCH" (clones + "/a/status") patch

            Expect.equal
                (at "metadata.resourceVersion" same)
                (at "metadata.resourceVersion" status)
                "nothing changed"

            let! _, gone =
                send server "PATCH" (clones + "/a/status") (merge """{"status":{"seen":null}}""")

            Expect.equal (at "status.seen" gone) "" "null removes"

            let stale = merge """{"metadata":{"resourceVersion":"1"},"status":{"seen":2}}"""
            let! code, _ = send server "PATCH" (clones + "/a/status") stale
            Expect.equal code 409 "a patch may name a version too"
        }

        testCaseTask "server-side apply merges conditions by their type"
        <| fun () -> task {
            use! server = ApiServer.Create()
            server.Put(clone "a" "a.example")

            let patch (conditions: string) =
                apply
                    $$$"""{"apiVersion":"{{{group}}}/v1beta1","kind":"RequestClone","status":{"conditions":[{{{conditions}}}]}}"""

            let path = clones + "/a/status?fieldManager="
            let ready = """{"type":"Ready","status":"True","reason":"One"}"""
            let! _, first = send server "PATCH" (path + "one") (patch ready)
            let! _, same = send server "PATCH" (path + "one") (patch ready)
            let other = """{"type":"Other","status":"False"}"""
            let! _, both = send server "PATCH" (path + "two") (patch other)
            Expect.equal (at "status.conditions.0.reason" first) "One" "applied"
            Expect.equal (at "metadata.resourceVersion" same) (at "metadata.resourceVersion" first) "once"
            Expect.equal (at "status.conditions.0.type" both) "Ready" "kept"
            Expect.equal (at "status.conditions.1.type" both) "Other" "added"
            let contested = patch """{"type":"Ready","status":"False"}"""
            let! conflict, refused = send server "PATCH" (path + "two") contested
            Expect.equal (conflict, at "reason" refused) (409, "Conflict") "owned by another"
            let! _, forced = send server "PATCH" (path + "two&force=true") contested
            Expect.equal (at "status.conditions.0.status" forced) "False" "taken over"
            Expect.equal (at "status.conditions.1.type" forced) "" "no longer applied"
            let! nobody, _ = send server "PATCH" (clones + "/a/status") (patch ready)

            let! strategic, _ =
                send server "PATCH" (clones + "/a") (Some("application/strategic-merge-patch+json", "{}"))

            let! absent, _ =
                send server "PATCH" (clones + "/b/status?fieldManager=one") (patch ready)

            Expect.equal [ nobody; strategic; absent ] [ 422; 415; 404 ] "refused"
        }

        testCaseTask "leases and events are created by a PUT, others are not"
        <| fun () -> task {
            use! server = ApiServer.Create()
            let path = "/apis/coordination.k8s.io/v1/namespaces/shop/leases/a"

            let! code, lease =
                send server "PUT" path (json """{"metadata":{"name":"a"},"spec":{}}""")

            Expect.equal (code, at "kind" lease) (201, "Lease") "created"
        }

        testCaseTask "what is no resource, no object or no method is refused"
        <| fun () -> task {
            use! server = ApiServer.Create()
            use client = client server
            use! unknown = client.GetAsync "/apis/example.org/v1/things"
            let! text = unknown.Content.ReadAsStringAsync()

            Expect.equal
                (unknown.StatusCode, text)
                (HttpStatusCode.NotFound, "404 page not found\n")
                "unknown"

            let! wrong, _ =
                send server "POST" clones (json """{"kind":"Service","metadata":{"name":"a"}}""")

            let! broken, _ = send server "POST" clones (json "{")
            let! list, _ = send server "POST" clones (json "[]")
            let! nowhere, _ = send server "POST" everywhere (json (clone "a" "a.example"))
            let! version, _ = send server "GET" (clones + "?watch=true&resourceVersion=x") None
            let! selector, _ = send server "GET" (clones + "?labelSelector=a%20b") None
            let! field, _ = send server "GET" (clones + "?fieldSelector=spec.host%3Dx") None

            Expect.equal
                [ wrong; broken; list; nowhere; version; selector; field ]
                [ 400; 400; 400; 405; 400; 400; 400 ]
                "the codes"
        }

        testCaseTask "the test puts manifests in JSON and YAML, and gets what is there"
        <| fun () -> task {
            use! server = ApiServer.Create()
            server.Put(Manifests.route "a.example" [ 8080; 8081 ])
            let! _, services = send server "GET" "/api/v1/services" None
            Expect.equal (names services) [ "app-0"; "app-1" ] "services"
            Expect.equal (at "items.0.spec.ports.0.port" services) "8080" "a number"
            Expect.equal (at "items.0.kind" services) "" "as the real server lists what is built in"
            Expect.equal (server.All "requestclones" |> List.length) 2 "clones"
            Expect.isTrue (server.Delete("services", "shop", "app-0")) "deleted"
            Expect.isFalse (server.Delete("services", "shop", "app-0")) "once"
            Expect.isNone (server.Get("services", "shop", "app-0")) "gone"
        }
    ]

let private lists =
    testList "lists" [
        testCaseTask "pages show one snapshot, until it is forgotten"
        <| fun () -> task {
            use! server = ApiServer.Create()

            for index in 0..6 do
                server.Put(clone $"c-{index}" "a.example")

            let page (token: string) =
                send server "GET" $"{everywhere}?limit=3&continue={Uri.EscapeDataString token}" None

            let! _, first = page ""
            server.Put(clone "c-7" "a.example")
            server.Delete("requestclones", "shop", "c-4") |> ignore
            let! _, second = page (at "metadata.continue" first)
            let! _, third = page (at "metadata.continue" second)

            Expect.equal
                (List.map names [ first; second; third ])
                [ [ "c-0"; "c-1"; "c-2" ]; [ "c-3"; "c-4"; "c-5" ]; [ "c-6" ] ]
                "the names"

            Expect.equal
                (List.map (at "metadata.remainingItemCount") [ first; second; third ])
                [ "4"; "1"; "" ]
                "how many are left"

            Expect.allEqual
                (List.map (at "metadata.resourceVersion") [ first; second; third ])
                (at "metadata.resourceVersion" first)
                "one version"

            Expect.equal (at "metadata.continue" third) "" "the end"
            server.Forget()
            let! code, gone = page (at "metadata.continue" first)
            Expect.equal (code, at "reason" gone) (410, "Expired") "forgotten"
            let! code, _ = page "nonsense"
            Expect.equal code 400 "no token"
        }

        testCaseTask "selectors choose"
        <| fun () -> task {
            use! server = ApiServer.Create()
            server.Put(labelled "a" """{"tier":"web","env":"prod"}""" "a.example")
            server.Put(labelled "b" """{"tier":"db"}""" "a.example")
            server.Put(clone "c" "a.example")

            for selector, expected in
                [
                    "labelSelector=tier=web", [ "a" ]
                    "labelSelector=tier==web,env=prod", [ "a" ]
                    "labelSelector=tier!=web", [ "b"; "c" ]
                    "labelSelector=tier in (web, db)", [ "a"; "b" ]
                    "labelSelector=tier in (web,db),!env", [ "b" ]
                    "labelSelector=tier notin (web)", [ "b"; "c" ]
                    "labelSelector=env", [ "a" ]
                    "labelSelector=!tier", [ "c" ]
                    "labelSelector=", [ "a"; "b"; "c" ]
                    "fieldSelector=metadata.name=b", [ "b" ]
                    "fieldSelector=metadata.name!=b,metadata.namespace=shop", [ "a"; "c" ]
                ] do
                let name, value = selector.Split('=', 2) |> fun parts -> parts[0], parts[1]
                let! _, list = send server "GET" $"{clones}?{name}={Uri.EscapeDataString value}" None
                Expect.equal (names list) expected selector
        }

        testCaseTask "a namespace's list has only its own objects"
        <| fun () -> task {
            use! server = ApiServer.Create()
            server.Put(clone "a" "a.example")
            server.Put((clone "b" "a.example").Replace("shop", "other"))
            let! _, shop = send server "GET" clones None
            let! _, all = send server "GET" everywhere None
            Expect.equal (names shop, names all) ([ "a" ], [ "b"; "a" ]) "by namespace"
            Expect.equal (at "kind" all) "RequestCloneList" "the list's kind"
            Expect.equal (at "items.0.kind" all) "RequestClone" "and the items'"
        }
    ]

let private watches =
    testList "watches" [
        testCaseTask "each change comes at once, and a write that changes nothing does not"
        <| fun () -> task {
            use! server = ApiServer.Create()

            use! watch =
                Watch.Open(server, $"{clones}?watch=true&resourceVersion={server.ResourceVersion}")

            server.Put(clone "a" "a.example")
            let! added = watch.Next()
            server.Put(clone "a" "a.example")
            server.Put(clone "a" "b.example")
            let! kind, modified = watch.Event()
            server.Put((clone "x" "a.example").Replace("shop", "other"))
            server.Delete("requestclones", "shop", "a") |> ignore
            let! deletion, deleted = watch.Event()
            Expect.equal added ("ADDED", "a") "added"
            Expect.equal (kind, at "spec.host" modified) ("MODIFIED", "b.example") "modified"
            Expect.equal (deletion, at "metadata.name" deleted) ("DELETED", "a") "deleted"

            Expect.isGreaterThan
                (int64 (at "metadata.resourceVersion" deleted))
                (int64 (at "metadata.resourceVersion" modified))
                "a deletion has a version of its own"
        }

        testCaseTask
            "one without a resourceVersion begins with what there is, one with it with what it missed"
        <| fun () -> task {
            use! server = ApiServer.Create()
            server.Put(clone "a" "a.example")
            let before = server.ResourceVersion
            server.Put(clone "b" "a.example")
            server.Delete("requestclones", "shop", "a") |> ignore
            use! fresh = Watch.Open(server, $"{clones}?watch=true")
            use! since = Watch.Open(server, $"{clones}?watch=true&resourceVersion={before}")
            let! first = fresh.Next()
            let! second = since.Next()
            let! third = since.Next()
            Expect.equal first ("ADDED", "b") "what there is"
            Expect.equal [ second; third ] [ "ADDED", "b"; "DELETED", "a" ] "what was missed"
            Expect.equal server.OpenWatches 2 "both are open"
        }

        testCaseTask "an object that begins or ceases to match is added or deleted"
        <| fun () -> task {
            use! server = ApiServer.Create()
            use! watch = Watch.Open(server, $"{clones}?watch=true&labelSelector=on%%3Dyes")
            server.Put(labelled "a" """{"on":"no"}""" "a.example")
            server.Put(labelled "a" """{"on":"yes"}""" "a.example")
            server.Put(labelled "a" """{"on":"yes"}""" "b.example")
            server.Put(labelled "a" """{"on":"no"}""" "c.example")
            server.Delete("requestclones", "shop", "a") |> ignore
            server.Put(labelled "b" """{"on":"yes"}""" "a.example")
            let! first = watch.Next()
            let! second = watch.Next()
            let! kind, left = watch.Event()
            let! last = watch.Next()
            Expect.equal [ first; second; last ] [ "ADDED", "a"; "MODIFIED", "a"; "ADDED", "b" ] "the events"

            Expect.equal
                (kind, at "spec.host" left, at "metadata.labels.on" left)
                ("DELETED", "b.example", "yes")
                "as it was when it matched"
        }

        testCaseTask "bookmarks go to those who asked for them"
        <| fun () -> task {
            use! server = ApiServer.Create()
            use! watch = Watch.Open(server, $"{clones}?watch=true&allowWatchBookmarks=true")
            use! other = Watch.Open(server, $"{clones}?watch=true")
            server.Put(Manifests.service "elsewhere" 1)
            Expect.equal (server.SendBookmarks()) 1 "to one of two"
            let! kind, bookmark = watch.Event()

            Expect.equal
                (kind, at "metadata.resourceVersion" bookmark, at "kind" bookmark)
                ("BOOKMARK", server.ResourceVersion, "RequestClone")
                "a version and nothing else"

            server.CloseWatches() |> ignore
            let! line = other.Line()
            Expect.isNone line "nothing but the end"
        }

        testCaseTask "one ends after its timeout, with a bookmark"
        <| fun () -> task {
            use! server = ApiServer.Create()

            use! watch =
                Watch.Open(server, $"{clones}?watch=true&allowWatchBookmarks=true&timeoutSeconds=1")

            let! kind, _ = watch.Event()
            let! line = watch.Line()
            Expect.equal (kind, line) ("BOOKMARK", None) "the end"
            do! Waiting.until "no open watch" (fun () -> task { return server.OpenWatches = 0 })
        }

        testCaseTask "a forgotten resourceVersion is gone, in either way"
        <| fun () -> task {
            use! server = ApiServer.Create()
            let before = server.ResourceVersion
            server.Forget()
            let path = $"{clones}?watch=true&resourceVersion={before}"
            use! watch = Watch.Open(server, path)
            let! kind, status = watch.Event()
            let! line = watch.Line()
            Expect.equal (watch.Code, kind, line) (200, "ERROR", None) "in the stream"
            Expect.equal (at "code" status, at "reason" status) ("410", "Expired") "a Status"
            server.Expiry <- ExpiryAnswer.Status
            let! code, status = send server "GET" path None
            Expect.equal (code, at "reason" status) (410, "Expired") "at once"

            use! now =
                Watch.Open(server, $"{clones}?watch=true&resourceVersion={server.ResourceVersion}")

            Expect.equal now.Code 200 "the latest is there"
        }

        testCaseTask "history that is too long is forgotten"
        <| fun () -> task {
            use! server = ApiServer.Create 10
            let before = server.ResourceVersion

            for index in 0..10 do
                server.Put(clone $"c-{index}" "a.example")

            server.Expiry <- ExpiryAnswer.Status
            let! code, _ = send server "GET" $"{clones}?watch=true&resourceVersion={before}" None
            Expect.equal code 410 "gone"
        }

        testCaseTask "they are closed, reset and fed whatever lines, after all that came before"
        <| fun () -> task {
            use! server = ApiServer.Create()
            use! closed = Watch.Open(server, $"{clones}?watch=true")
            use! reset = Watch.Open(server, $"{everywhere}?watch=true")
            server.Put(clone "a" "a.example")
            Expect.equal (server.SendRaw "no json") 2 "to both"
            Expect.equal (server.CloseWatches(fun request -> request.Namespace.IsSome)) 1 "one"
            Expect.equal (server.ResetWatches(fun request -> request.Namespace.IsNone)) 1 "the other"
            let! event = closed.Next()
            let! raw = closed.Line()
            let! line = closed.Line()
            Expect.equal (event, raw, line) (("ADDED", "a"), Some "no json", None) "closed in good order"

            let! error =
                failure (fun () -> task {
                    let mutable isOpen = true

                    while isOpen do
                        let! line = reset.Line()
                        isOpen <- line.IsSome
                })

            Expect.isTrue (isReset error) $"reset, not {error}"
            do! Waiting.until "no open watch" (fun () -> task { return server.OpenWatches = 0 })
        }

        testCaseTask "one that is stalled says nothing any more, and others do"
        <| fun () -> task {
            use! server = ApiServer.Create()

            use! stalled =
                Watch.Open(server, $"{clones}?watch=true&allowWatchBookmarks=true&timeoutSeconds=1")

            Expect.equal (server.StallWatches()) 1 "stalled"
            use! other = Watch.Open(server, $"{clones}?watch=true&timeoutSeconds=2")
            server.Put(clone "a" "a.example")
            server.SendBookmarks() |> ignore
            let! event = other.Next()
            let! last = other.Line()
            Expect.equal (event, last) (("ADDED", "a"), None) "the other goes on to its end"
            // By now the first one's time is over too.
            Expect.equal server.OpenWatches 1 "still open"
            do! server.Stop()
            let! _ = failure stalled.Line
            Expect.equal server.OpenWatches 0 "closed"
        }
    ]

let private faults =
    testList "faults" [
        testCaseTask "are answered to the requests that they are for, while they last"
        <| fun () -> task {
            use! server = ApiServer.Create()

            for code, reason in
                [
                    500, "InternalError"
                    429, "TooManyRequests"
                    401, "Unauthorized"
                    403, "Forbidden"
                    404, "NotFound"
                    504, "Timeout"
                    410, "Expired"
                ] do
                server.Fault <-
                    fun request ->
                        if request.Resource = "requestclones" && not request.IsWatch then
                            Some(Fault.Status code)
                        else
                            None

                let! answered, status = send server "GET" clones None
                Expect.equal (answered, at "reason" status) (code, reason) "as told"
                let! others, _ = send server "GET" "/api/v1/services" None
                Expect.equal others 200 "others are served"

            server.Fault <- fun _ -> Some(Fault.TooManyRequests 7)
            use client = client server
            use! response = client.GetAsync clones
            let! text = response.Content.ReadAsStringAsync()
            Expect.equal (string response.Headers.RetryAfter) "7" "when to come again"
            Expect.equal (at "details.retryAfterSeconds" (Json.parseObject text)) "7" "there too"
            server.Fault <- fun _ -> Some Fault.MissingResource
            use! response = client.GetAsync clones
            let! text = response.Content.ReadAsStringAsync()
            Expect.equal text "404 page not found\n" "no Status"
            server.Fault <- fun _ -> None
            let! code, _ = send server "GET" clones None
            Expect.equal code 200 "over"
        }

        testCaseTask "connections are reset and closed"
        <| fun () -> task {
            use! server = ApiServer.Create()
            server.Fault <- fun _ -> Some Fault.Reset
            let! error = failure (fun () -> send server "GET" clones None)
            Expect.isTrue (isReset error) $"reset, not {error}"
            server.Fault <- fun _ -> Some Fault.Close
            let! error = failure (fun () -> send server "GET" clones None)
            Expect.isFalse (isReset error) $"closed, not {error}"
            // HttpClient asks again where a connection is closed before any answer.
            Expect.allEqual (server.Calls |> List.map _.Code) 0 "no answers"
        }

        testCaseTask "a request is not answered, or when it is allowed to be"
        <| fun () -> task {
            use! server = ApiServer.Create()
            let release = TaskCompletionSource()
            server.Fault <- fun _ -> Some(Fault.After release.Task)
            let later = send server "GET" clones None
            let! call = server.Called(fun call -> call.Request.Resource = "requestclones")
            Expect.equal (call.Code, later.IsCompleted) (0, false) "it waits"
            release.SetResult()
            let! code, _ = later
            Expect.equal code 200 "served"
            server.Fault <- fun _ -> Some Fault.Stall
            let never = send server "GET" "/api/v1/services" None
            let! call = server.Called(fun call -> call.Request.Resource = "services")
            server.Fault <- fun _ -> None
            let! answered, _ = send server "GET" clones None
            let! _ = server.Called(fun call -> call.Code = answered)
            do! server.Stop()
            let! _ = failure (fun () -> never)
            Expect.equal call.Code 0 "never answered"
        }

        testCaseTask "a token that is asked for must be borne, whichever it is now"
        <| fun () -> task {
            use! server = ApiServer.Create()
            server.Token <- Some "first"
            use client = client server
            let! without, status = send server "GET" clones None
            Expect.equal (without, at "reason" status) (401, "Unauthorized") "none"
            client.DefaultRequestHeaders.Authorization <- AuthenticationHeaderValue("Bearer", "first")
            use! right = client.GetAsync clones
            server.Token <- Some "second"
            use! wrong = client.GetAsync clones

            Expect.equal
                (right.StatusCode, wrong.StatusCode)
                (HttpStatusCode.OK, HttpStatusCode.Unauthorized)
                "by token"
        }

        testCaseTask "the server goes and comes back on its port, with its objects"
        <| fun () -> task {
            use! server = ApiServer.Create()
            server.Put(clone "a" "a.example")

            use! watch =
                Watch.Open(server, $"{clones}?watch=true&resourceVersion={server.ResourceVersion}")

            for _ in 1..3 do
                do! server.Stop()
                let! error = failure (fun () -> send server "GET" clones None)

                Expect.exists
                    (causes error)
                    (fun cause ->
                        match cause with
                        | :? SocketException as socket ->
                            socket.SocketErrorCode = SocketError.ConnectionRefused
                        | _ -> false)
                    "refused"

                do! server.Start()
                let! _, list = send server "GET" clones None
                Expect.equal (names list) [ "a" ] "still there"

            let! _ = failure watch.Line
            Expect.equal server.OpenWatches 0 "the watch is gone"
        }

        testCaseTask "disposing of it does not wait for open watches"
        <| fun () -> task {
            let! server = ApiServer.Create()
            use! watch = Watch.Open(server, $"{clones}?watch=true")
            do! Task.Run(fun () -> (server :> IDisposable).Dispose()).WaitAsync Waiting.patience
            let! _ = failure watch.Line
            ()
        }
    ]

/// The real client's view.
let private kubernetes (server: ApiServer) =
    let config = KubernetesClientConfiguration(Host = server.Url)
    new Kubernetes(config)

/// Calls this for each event, until it says stop or the stream ends.
let private forEach
    (events: IAsyncEnumerable<struct (WatchEventType * 'T)>)
    (take: WatchEventType -> 'T -> bool)
    : Task<unit> =
    task {
        let events = events.GetAsyncEnumerator()

        try
            let mutable isOpen = true

            while isOpen do
                let! more = events.MoveNextAsync()

                if more then
                    let struct (kind, item) = events.Current
                    isOpen <- take kind item
                else
                    isOpen <- false
        finally
            events.DisposeAsync().AsTask().Wait()
    }
    |> Waiting.within "the events of a watch"

let private realClient =
    testList "the real client" [
        testCaseTask "lists in pages and watches on from there"
        <| fun () -> task {
            use! server = ApiServer.Create()
            use client = kubernetes server

            for index in 0..4 do
                server.Put(clone $"c-{index}" "a.example")

            let listed = ResizeArray<string>()
            let mutable token: string | null = null
            let mutable version = ""
            let mutable isDone = false

            while not isDone do
                let! page =
                    client.CustomObjects.ListClusterCustomObjectAsync<JsonElement>(
                        group,
                        "v1beta1",
                        "requestclones",
                        limit = 2,
                        continueParameter = token
                    )

                let page = Json.parseObject (page.GetRawText())
                listed.AddRange(names page)
                version <- at "metadata.resourceVersion" page

                match at "metadata.continue" page with
                | "" -> isDone <- true
                | next -> token <- next

            Expect.sequenceEqual listed [ for index in 0..4 -> $"c-{index}" ] "all pages"
            server.Put(clone "c-5" "a.example")
            server.Delete("requestclones", "shop", "c-0") |> ignore
            let seen = ResizeArray()

            do!
                forEach
                    (client.CustomObjects.WatchListClusterCustomObjectAsync(
                        group,
                        "v1beta1",
                        "requestclones",
                        resourceVersion = version,
                        allowWatchBookmarks = true,
                        timeoutSeconds = 60
                    ))
                    (fun kind item ->
                        let name =
                            (item :?> JsonElement).GetProperty("metadata").GetProperty("name").GetString()

                        seen.Add((kind, string name))
                        seen.Count < 2)

            Expect.sequenceEqual
                seen
                [ WatchEventType.Added, "c-5"; WatchEventType.Deleted, "c-0" ]
                "the rest"

            let! call = server.Called(fun call -> call.Request.IsWatch)
            Expect.equal (Map.tryFind "timeoutSeconds" call.Request.Query) (Some "60") "as it was asked for"
            Expect.isNotEmpty call.Request.UserAgent "the client says who it is"
        }

        testCaseTask "reads services, with their types"
        <| fun () -> task {
            use! server = ApiServer.Create()
            use client = kubernetes server
            server.Put(Manifests.service "app" 8080)
            let! list = client.CoreV1.ListServiceForAllNamespacesAsync()

            Expect.equal
                (list.Items
                 |> Seq.map (fun one -> one.Metadata.Name, one.Spec.ClusterIP, one.Spec.Ports[0].Port)
                 |> List.ofSeq)
                [ "app", "127.0.0.1", 8080 ]
                "listed"

            let mutable bookmark = ""

            let watching =
                forEach
                    (client.CoreV1.WatchListServiceForAllNamespacesAsync(
                        resourceVersion = list.Metadata.ResourceVersion,
                        allowWatchBookmarks = true
                    ))
                    (fun kind item ->
                        bookmark <- item.Metadata.ResourceVersion
                        kind <> WatchEventType.Bookmark)

            do! Waiting.until "an open watch" (fun () -> task { return server.OpenWatches = 1 })
            server.SendBookmarks() |> ignore
            do! watching
            Expect.equal bookmark server.ResourceVersion "a bookmark"
        }

        testCaseTask "is told that a version has expired, in either way, and of lines that are none"
        <| fun () -> task {
            use! server = ApiServer.Create()
            use client = kubernetes server
            let before = server.ResourceVersion
            server.Forget()

            let watch version (errors: ResizeArray<exn>) =
                forEach
                    (client.CoreV1.WatchListServiceForAllNamespacesAsync(
                        resourceVersion = version,
                        onError = Action<exn> errors.Add
                    ))
                    (fun _ _ -> true)

            let errors = ResizeArray()
            do! watch before errors

            match List.ofSeq errors with
            | [ :? KubernetesException as error ] ->
                Expect.equal error.Status.Code (Nullable 410) "in the stream"
            | other -> failtest $"{other}"

            server.Expiry <- ExpiryAnswer.Status
            let! error = failure (fun () -> watch before (ResizeArray()))

            match error with
            | :? HttpOperationException as error ->
                Expect.equal error.Response.StatusCode HttpStatusCode.Gone "at once"
            | other -> failtest $"{other}"

            let errors = ResizeArray()
            let watching = watch server.ResourceVersion errors
            do! Waiting.until "an open watch" (fun () -> task { return server.OpenWatches = 1 })
            // The first line of a watch is read otherwise than those after it: the watch fails with it.
            server.Put(Manifests.service "app" 8080)
            server.SendRaw "no json" |> ignore
            server.CloseWatches() |> ignore
            do! watching
            Expect.isTrue (errors.Count = 1 && errors[0] :? JsonException) "no JSON"
        }

        testCaseTask "sees a watch that is closed before its first event, and one that is reset"
        <| fun () -> task {
            use! server = ApiServer.Create()
            use client = kubernetes server

            let watch () =
                forEach (client.CoreV1.WatchListServiceForAllNamespacesAsync()) (fun _ _ -> true)

            let closed = watch ()
            do! Waiting.until "an open watch" (fun () -> task { return server.OpenWatches = 1 })
            server.CloseWatches() |> ignore
            let! error = failure (fun () -> closed)
            Expect.exists (causes error) (fun cause -> cause :? EndOfStreamException) $"closed, not {error}"
            let reset = watch ()
            do! Waiting.until "an open watch" (fun () -> task { return server.OpenWatches = 1 })
            server.ResetWatches() |> ignore
            let! error = failure (fun () -> reset)
            Expect.isTrue (isReset error) $"reset, not {error}"
        }

        testCaseTask "patches a status, by merging and by applying"
        <| fun () -> task {
            use! server = ApiServer.Create()
            use client = kubernetes server
            server.Put(clone "a" "a.example")

            let patch kind (manager: string | null) (text: string) =
                client.CustomObjects.PatchNamespacedCustomObjectStatusAsync<JsonElement>(
                    V1Patch(text, kind),
                    group,
                    "v1beta1",
                    "shop",
                    "requestclones",
                    "a",
                    fieldManager = manager
                )

            let! _ =
                patch V1Patch.PatchType.MergePatch null """{"status":{"observedGeneration":1}}"""

            let! _ =
                patch
                    V1Patch.PatchType.ApplyPatch
                    "k8sreq"
                    $$$"""{"apiVersion":"{{{group}}}/v1beta1","kind":"RequestClone","status":{"conditions":[{"type":"Ready","status":"True"}]}}"""

            let stored = (server.Get("requestclones", "shop", "a")).Value

            Expect.equal
                (at "status.observedGeneration" stored, at "status.conditions.0.status" stored)
                ("1", "True")
                "both"
        }

        testCaseTask "holds a lease, and releases it"
        <| fun () -> task {
            use! server = ApiServer.Create()
            use client = kubernetes server

            let! lease =
                client.CoordinationV1.CreateNamespacedLeaseAsync(
                    V1Lease(Metadata = V1ObjectMeta(Name = "b"), Spec = V1LeaseSpec(HolderIdentity = "x")),
                    "shop"
                )

            lease.Spec.HolderIdentity <- "y"
            let! _ = client.CoordinationV1.ReplaceNamespacedLeaseAsync(lease, "b", "shop")

            let! error =
                failure (fun () -> client.CoordinationV1.ReplaceNamespacedLeaseAsync(lease, "b", "shop"))

            match error with
            | :? HttpOperationException as error ->
                Expect.equal error.Response.StatusCode HttpStatusCode.Conflict "a stale version"
            | other -> failtest $"{other}"

            let elector =
                new LeaderElector(LeaderElectionConfig(LeaseLock(client, "shop", "k8sreq", "me")))

            let leading = TaskCompletionSource()
            elector.add_OnStartedLeading (fun () -> leading.TrySetResult() |> ignore)
            use stop = new CancellationTokenSource()
            let running = elector.RunUntilLeadershipLostAsync stop.Token
            do! leading.Task.WaitAsync Waiting.patience
            let stored = (server.Get("leases", "shop", "k8sreq")).Value
            Expect.equal (at "spec.holderIdentity" stored) "me" "held"
            stop.Cancel()
            // It throws, unless it was about to renew: that has failed then, and it ends.
            let! _ = Task.WhenAny(running).WaitAsync Waiting.patience
            ()
        }

        testCaseTask "writes events"
        <| fun () -> task {
            use! server = ApiServer.Create()
            use client = kubernetes server

            let event =
                Eventsv1Event(
                    Metadata = V1ObjectMeta(GenerateName = "a-"),
                    EventTime = Nullable DateTime.UtcNow,
                    Action = "Route",
                    Reason = "ServiceNotFound",
                    ReportingController = "k8sreq",
                    ReportingInstance = "k8sreq-0",
                    Type = "Warning",
                    Regarding =
                        V1ObjectReference(Kind = "RequestClone", Name = "a", NamespaceProperty = "shop")
                )

            let! created = client.EventsV1.CreateNamespacedEventAsync(event, "shop")

            let! _ =
                client.EventsV1.PatchNamespacedEventAsync(
                    V1Patch("""{"series":{"count":2}}""", V1Patch.PatchType.StrategicMergePatch),
                    created.Metadata.Name,
                    "shop"
                )

            let stored = (server.All "events")[0]
            Expect.equal (at "reason" stored, at "series.count" stored) ("ServiceNotFound", "2") "the event"
        }

        testCaseTask "is configured by a file, with its token"
        <| fun () -> task {
            use! server = ApiServer.Create()
            use folder = new TestFolder()
            server.Token <- Some "secret"
            server.Put """{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"shop"}}"""

            let config =
                KubernetesClientConfiguration.BuildConfigFromConfigFile(server.Kubeconfig folder.Path)

            use client = new Kubernetes(config)
            let! found = client.CoreV1.ReadNamespaceAsync "shop"
            Expect.equal found.Metadata.Name "shop" "allowed"
        }
    ]

let private size =
    testList "size" [
        testCaseTask "ten thousand of each are listed in pages and watched"
        <| fun () -> task {
            use! server = ApiServer.Create()
            let count = 10_000

            for index in 0 .. count - 1 do
                let ns = $"ns-{index % 100}"
                server.Put((clone $"c-{index}" $"h-{index}.example").Replace("shop", ns))

                server.Put(
                    $$$"""{"apiVersion":"v1","kind":"Service","metadata":{"name":"s-{{{index}}}","namespace":"{{{ns}}}"},"spec":{"clusterIP":"127.0.0.1"}}"""
                )

            for path in [ everywhere; "/api/v1/services" ] do
                let mutable token = ""
                let mutable version = ""
                let mutable listed = 0
                let mutable isDone = false

                while not isDone do
                    let! _, page = send server "GET" $"{path}?limit=500&continue={token}" None
                    listed <- listed + (names page).Length
                    version <- at "metadata.resourceVersion" page
                    token <- Uri.EscapeDataString(at "metadata.continue" page)
                    isDone <- token = ""

                Expect.equal listed count path

            use! watch = Watch.Open(server, $"{everywhere}?watch=true")

            for _ in 1..count do
                let! kind, _ = watch.Next()
                Expect.equal kind "ADDED" "what there is"

            for index in 0 .. count - 1 do
                server.Put((clone $"c-{index}" "other.example").Replace("shop", $"ns-{index % 100}"))

            for index in 0 .. count - 1 do
                let! event = watch.Next()
                Expect.equal event ("MODIFIED", $"c-{index}") "each change, in order"
        }
    ]

let tests =
    testList "the scripted API server" [ objects; lists; watches; faults; realClient; size ]
