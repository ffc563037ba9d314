module K8sReq.Host.Tests.StatusPageTests

open System
open System.IO
open System.Net.Http
open System.Text.Json
open System.Threading.Tasks
open Expecto
open K8sReq.Core
open K8sReq.Host.Admin.Status
open K8sReq.Host.Admin.DeadLetters
open K8sReq.Proxy
open K8sReq.TestKit

let private client = new HttpClient()

let private get (proxy: TestProxy) (path: string) : Task<string> =
    client.GetStringAsync $"http://127.0.0.1:{proxy.StatusPort}{path}"

let private json (proxy: TestProxy) (path: string) : Task<JsonElement> = task {
    let! text = get proxy path
    return JsonDocument.Parse(text).RootElement
}

let private send (proxy: TestProxy) (count: int) : Task<unit> = task {
    for _ in 1..count do
        let! answer =
            TestClient.roundTrip
                proxy.Port
                "POST /unseen-path?unseen=query HTTP/1.1\r\nHost: a.example\r\nX-Secret: unseen-field\r\nContent-Length: 11\r\n\r\nunseen-body"

        Expect.equal (TestClient.status answer) 202 "accepted"

    do! proxy.Settled()
}

let private longOf (element: JsonElement) (path: string list) : int64 =
    (element, path)
    ||> List.fold (fun element name -> element.GetProperty name)
    |> _.GetInt64()

let private namesOf (page: JsonElement) : string list = [
    for route in page.GetProperty("routes").EnumerateArray() -> string (route.GetProperty "name")
]

/// One good target, one that refuses, one RequestClone whose Service is missing and one that is hostile.
let private manifests (good: int) (bad: int) =
    Manifests.route "a.example" [ good; bad ]
    + Manifests.clone "missing" "b.example" "nobody"
    + Manifests.clone "hostile" "<img src=x onerror=alert(1)>" "x"

let private withProxy (test: TestProxy -> Task<unit>) : Task<unit> = task {
    use good = TestTarget.ok ()
    use bad = TestTarget.answering "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"
    use! proxy = TestProxy.Start(manifests good.Port bad.Port)
    do! test proxy
}

/// The events of a stream as they come: the markup of one part each.
type private Events(reader: StreamReader) =
    member _.Next() : Task<string> =
        task {
            let mutable part = None

            while part.IsNone do
                match! reader.ReadLineAsync() with
                | null -> part <- Some "the end"
                | line when line.StartsWith "data: " -> part <- Some(line.Substring 6)
                | _ -> ()

            return part.Value
        }
        |> Waiting.within "an event"

let private follow (proxy: TestProxy) (query: string) : Task<Events> = task {
    let! stream =
        client.GetStreamAsync $"http://127.0.0.1:{proxy.StatusPort}/events{query}"

    return Events(new StreamReader(stream))
}

let private expectPart (id: string) (part: string) =
    Expect.stringContains (part.Substring(0, min part.Length 120)) $"id=\"{id}\"" "which part"

/// Sources of a page over so many routes, of which nobody has asked for anything.
let private sourcesOf (count: int) : StatusSources =
    let table =
        Targets.table [
            for index in 1..count ->
                {
                    Targets.at index $"copy-{index}" with
                        Host =
                            match HostName.parse $"host-{index}.example" with
                            | Ok host -> host
                            | Error error -> failwith $"{error}"
                }
        ]

    {
        Version = "1"
        Instance = "x"
        StartedAt = DateTimeOffset.UnixEpoch
        Clock = TimeProvider.System
        IsReady = fun () -> true
        Table = fun () -> table
        Counts =
            fun () -> {
                Hosts = count
                Targets = count
                Unrouted = 0
            }
        Clones = CloneDirectory()
        Totals = fun () -> CopyTotals.zero
        Requests = fun () -> []
        UnknownHosts = fun () -> UnknownHosts.empty
        Tap = Tap()
        Source = SourceMetrics TimeProvider.System
        Budget = BufferBudget 1L
        Journal = None
        DeadLetters = DeadLetterService(None, fun _ -> false)
        Replicas = fun () -> None
    }

let private select (snapshot: StatusSnapshot) (query: StatusQuery) =
    snapshot.Select(snapshot.Overview(), query)

let tests =
    testList "the status page" [
        testCaseTask "tells programs what became of copies, of which routes, and why not"
        <| fun () ->
            withProxy (fun proxy -> task {
                do! send proxy 3
                let! status = json proxy "/api/status"
                Expect.equal (string (status.GetProperty "instance")) "test-0" "who"
                Expect.isTrue (status.GetProperty("ready").GetBoolean()) "ready"
                Expect.equal (longOf status [ "requests"; "202" ]) 3L "answers"

                let! _ = TestClient.get proxy.Port "unknown.example"

                // A response is counted once it is sent.
                do!
                    Waiting.until "the host" (fun () -> task {
                        let! unknown = json proxy "/api/unknown-hosts"
                        return unknown.GetProperty("hosts").GetArrayLength() = 1
                    })

                let! unknown = json proxy "/api/unknown-hosts"
                let host = unknown.GetProperty("hosts")[0]
                Expect.equal (string (host.GetProperty "host")) "unknown.example" "a host without a target"
                Expect.equal (longOf host [ "requests" ]) 1L "its requests"
                Expect.equal (longOf unknown [ "otherRequests" ]) 0L "all are listed"
                let! refused = json proxy "/api/status"
                Expect.equal (longOf refused [ "refusals"; "no_route" ]) 1L "by reason"
                Expect.equal (longOf refused [ "unknownHosts" ]) 1L "how many"

                for name, value in
                    [ "accepted", 6L; "delivered", 3L; "failed", 3L; "dropped", 0L; "pending", 0L ] do
                    Expect.equal (longOf status [ "copies"; name ]) value name

                Expect.equal (longOf status [ "routes"; "routed" ]) 2L "routed"
                Expect.equal (longOf status [ "routes"; "unrouted" ]) 2L "unrouted"

                Expect.equal
                    (string (status.GetProperty("leader").GetProperty "name"))
                    ""
                    "nobody leads without a cluster"

                let! page = json proxy "/api/routes"
                Expect.equal (namesOf page) [ "hostile"; "copy-0"; "copy-1"; "missing" ] "in order"

                let routes = page.GetProperty("routes").EnumerateArray() |> Array.ofSeq
                let good, bad, missing = routes[1], routes[2], routes[3]
                Expect.equal (longOf good [ "copies"; "delivered" ]) 3L "delivered"
                Expect.equal (longOf bad [ "copies"; "failed" ]) 3L "failed"
                Expect.isGreaterThan (good.GetProperty("p99Seconds").GetDouble()) 0.0 "p99"

                Expect.equal
                    (bad.GetProperty("p99Seconds").ValueKind)
                    JsonValueKind.Null
                    "none was delivered"

                Expect.equal
                    (string (missing.GetProperty("ready").GetProperty "reason"))
                    "ServiceNotFound"
                    "the condition's reason"

                let! failures = json proxy "/api/failures"
                let lost = failures.GetProperty("failures").EnumerateArray() |> Array.ofSeq
                Expect.equal lost.Length 3 "three failed"
                Expect.equal (longOf lost[0] [ "status" ]) 503L "with what"
                Expect.equal (string (lost[0].GetProperty "name")) "copy-1" "whose"
            })

        testCaseTask "shows the same as a page, in which no name is markup"
        <| fun () ->
            withProxy (fun proxy -> task {
                do! send proxy 2
                let! page = get proxy "/"
                Expect.stringContains page "id=\"route/shop/copy-0\"" "a row"
                Expect.stringContains page "answered 503" "a failure"
                Expect.stringContains page "Service shop/nobody does not exist" "the condition's message"
                Expect.stringContains page "&lt;img src=x onerror=alert(1)&gt;" "the name, escaped"
                Expect.isFalse (page.Contains "<img") "no element of it"
                let! routes = get proxy "/api/routes"
                Expect.isFalse (routes.Contains "<img") "nor where JSON is taken for markup"
            })

        testCaseTask "tells how a route does, since when, and what is remembered of its copies"
        <| fun () ->
            withProxy (fun proxy -> task {
                do! send proxy 3
                let! status = json proxy "/api/status"
                Expect.equal (longOf status [ "health"; "states"; "Failing" ]) 1L "one fails"
                Expect.equal (longOf status [ "health"; "states"; "Delivering" ]) 1L "one delivers"
                Expect.equal (longOf status [ "health"; "states"; "NotRouted" ]) 2L "two are not routed"

                Expect.equal
                    (string (status.GetProperty("health").GetProperty "summary"))
                    "1 of 4 routes fails and 2 are not routed."
                    "in a sentence"

                let! good = json proxy "/api/routes/shop/copy-0"
                Expect.equal (string (good.GetProperty "state")) "Delivering" "the good one"
                Expect.equal (longOf good [ "lastMinute"; "delivered" ]) 3L "in the last minute"

                Expect.equal
                    (good.GetProperty("failingSince").ValueKind)
                    JsonValueKind.Null
                    "it does not fail"

                Expect.isFalse (string (good.GetProperty "lastSuccess") = "") "its last success"
                let copies = good.GetProperty("recent")
                Expect.equal (copies.GetArrayLength()) 1 "one of each ten seconds is kept"
                Expect.isTrue (copies[0].GetProperty("delivered").GetBoolean()) "which was delivered"

                let! bad = json proxy "/api/routes/shop/copy-1"
                Expect.equal (string (bad.GetProperty "state")) "Failing" "the bad one"
                Expect.isFalse (string (bad.GetProperty "failingSince") = "") "since when"
                Expect.equal (longOf bad [ "lastTenMinutes"; "failed" ]) 3L "lately"

                Expect.equal
                    (bad.GetProperty("recent").GetArrayLength())
                    3
                    "every failure is kept, up to a number"

                let! trouble = json proxy "/api/routes?sort=trouble&state=trouble"
                Expect.equal (namesOf trouble) [ "copy-1"; "hostile"; "missing" ] "the worst first"
            })

        testCaseTask "a route has a page of its own, and one that is not there has none"
        <| fun () ->
            withProxy (fun proxy -> task {
                do! send proxy 1
                let! page = get proxy "/routes/shop/copy-1"

                Expect.stringContains
                    page
                    "100 % of copies failed in the last minute: answered 503."
                    "its state"

                Expect.stringContains
                    page
                    "kubectl --namespace shop describe requestclones copy-1"
                    "a command"

                Expect.isFalse
                    (page.Contains "style=\"" || page.Contains "://")
                    "nothing that the policy forbids"

                let! hostile = get proxy "/routes/shop/hostile"
                Expect.stringContains hostile "&lt;img src=x onerror=alert(1)&gt;" "the host, escaped"
                Expect.isFalse (hostile.Contains "<img") "no element of it"

                for path in
                    [
                        "/routes/shop/nobody"
                        "/api/routes/shop/nobody"
                        "/routes/shop"
                        "/routes/a/b/c/d"
                    ] do
                    use! answer = client.GetAsync $"http://127.0.0.1:{proxy.StatusPort}{path}"
                    Expect.equal (int answer.StatusCode) 404 path

                use! missing =
                    client.GetAsync $"http://127.0.0.1:{proxy.StatusPort}/routes/%%3Cb%%3E/%%3Ci%%3Ex"

                let! text = missing.Content.ReadAsStringAsync()
                Expect.stringContains text "&lt;b&gt;/" "what was asked for, escaped"
                Expect.isFalse (text.Contains "<b>" || text.Contains "<i>") "no element of it"
            })

        testCaseTask
            "a route's page says which requests it takes and what it changes, without the values of headers"
        <| fun () -> task {
            use target = TestTarget.ok ()

            use! proxy =
                TestProxy.Start(
                    (Manifests.route "a.example" [ target.Port ])
                        .Replace(
                            "spec: {host",
                            "spec: {matches: [{method: POST, path: {value: /gh}}, {queryParams: [{name: env, value: ci}]}], filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: X-Token, value: unseen}], remove: [Cookie]}}, {type: URLRewrite, urlRewrite: {hostname: ci.internal}}], host"
                        )
                )

            let! page = get proxy "/routes/shop/copy-0"
            let text = page.Replace("<wbr>", "")
            Expect.stringContains text "POST /gh and below; or ?env=ci" "what it takes"

            Expect.stringContains
                text
                "sets X-Token; removes Cookie; Host becomes ci.internal"
                "what it changes"

            Expect.isFalse (text.Contains "unseen") "no value"
        }

        testCaseTask "nothing of a request is in it"
        <| fun () ->
            withProxy (fun proxy -> task {
                do! send proxy 1

                for path in
                    [
                        "/"
                        "/routes/shop/copy-0"
                        "/routes/shop/copy-1"
                        "/api/status"
                        "/api/routes"
                        "/api/routes/shop/copy-1"
                        "/api/failures"
                    ] do
                    let! text = get proxy path
                    Expect.isFalse (text.Contains "unseen") path
            })

        testCaseTask "only what comes from here runs in it, and nobody frames or keeps it"
        <| fun () ->
            withProxy (fun proxy -> task {
                for path in
                    [
                        "/"
                        "/style.css"
                        "/status.css"
                        "/script.js"
                        "/api/status"
                        "/routes/shop/copy-0"
                    ] do
                    use! answer = client.GetAsync $"http://127.0.0.1:{proxy.StatusPort}{path}"
                    Expect.equal (int answer.StatusCode) 200 path

                    let field name =
                        answer.Headers.GetValues name |> String.concat ","

                    Expect.stringStarts (field "Content-Security-Policy") "default-src 'none';" path
                    Expect.isFalse ((field "Content-Security-Policy").Contains "unsafe") path
                    Expect.equal (field "X-Content-Type-Options") "nosniff" path
                    Expect.equal (field "Cache-Control") "no-store" path

                let! page = get proxy "/"
                Expect.isFalse (page.Contains "style=\"") "no style that the policy forbids"
                Expect.isFalse (page.Contains "://") "nothing from elsewhere"
                use! missing = client.GetAsync $"http://127.0.0.1:{proxy.StatusPort}/etc"
                Expect.equal (int missing.StatusCode) 404 "nothing else"

                use! posted =
                    client.PostAsync($"http://127.0.0.1:{proxy.StatusPort}/", new StringContent "x")

                Expect.equal (int posted.StatusCode) 405 "and nothing can be sent"
            })

        testCaseTask "on loopback it answers by no other name"
        <| fun () ->
            withProxy (fun proxy -> task {
                let ask (host: string) = task {
                    let! answer =
                        TestClient.roundTrip
                            proxy.StatusPort
                            $"GET /api/status HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"

                    return TestClient.status answer
                }

                for host in [ "localhost:9558"; "LOCALHOST"; "127.0.0.1"; "[::1]:80" ] do
                    let! status = ask host
                    Expect.equal status 200 host

                for host in [ "rebound.example"; "127.0.0.1.example"; "localhost.example:9558"; "" ] do
                    let! status = ask host
                    Expect.equal status 421 host
            })

        testCaseTask "a filter, a state, and one part after the other"
        <| fun () ->
            withProxy (fun proxy -> task {
                do! send proxy 1

                let names path = task {
                    let! page = json proxy ("/api/routes" + path)
                    return longOf page [ "total" ], namesOf page
                }

                let! byHost = names "?q=B.EXAMPLE"
                Expect.equal byHost (1L, [ "missing" ]) "by host"
                let! failing = names "?state=failing"
                Expect.equal failing (1L, [ "copy-1" ]) "those that fail"
                let! unrouted = names "?state=unrouted"
                Expect.equal unrouted (2L, [ "hostile"; "missing" ]) "those that are not routed"
                let! second = names "?limit=1&offset=1"
                Expect.equal second (4L, [ "copy-0" ]) "the second"
                let! beyond = names "?limit=3&offset=900"
                Expect.equal beyond (4L, [ "missing" ]) "who is past the end sees the last ones"
                let! none = get proxy "/?q=%3Cb%3Enobody"
                Expect.stringContains none "No RequestClone matches." "none"
                Expect.stringContains none "value=\"&lt;b&gt;nobody\"" "what was looked for"
            })

        testCaseTask "events bring what has changed and nothing else, until the end"
        <| fun () -> task {
            use good = TestTarget.ok ()
            use other = TestTarget.ok ()
            let clock = TestClock()
            let route = Manifests.route "a.example" [ good.Port ]

            let alone =
                Manifests.service "alone" other.Port
                + Manifests.clone "alone" "b.example" "alone"

            use! proxy = TestProxy.Start(route + alone, clock = clock)
            let! events = follow proxy ""
            let! health = events.Next()
            expectPart "health" health
            let! routes = events.Next()
            expectPart "routes" routes
            Expect.stringContains routes "id=\"route/shop/alone\"" "all of them"

            for id in [ "unknown-hosts"; "failures"; "replica" ] do
                let! part = events.Next()
                expectPart id part

            do! send proxy 1
            do! clock.TimerStarted StatusPage.usualInterval
            clock.Advance StatusPage.usualInterval
            let! health = events.Next()
            expectPart "health" health
            let! row = events.Next()
            Expect.stringStarts row "<tr id=\"route/shop/copy-0\"" "the row that has changed"
            // The other row has not been sent.
            let! replica = events.Next()
            expectPart "replica" replica

            let! _ = proxy.Stop() |> Waiting.within "the end, with somebody who looks on"
            let mutable last = ""

            while last <> "the end" do
                let! next = events.Next()
                last <- next
        }

        testCaseTask "so many look on and no more"
        <| fun () -> task {
            let clock = TestClock()
            use! proxy = TestProxy.Start(Manifests.route "a.example" [ 1 ], clock = clock)

            let look () =
                client.GetAsync(
                    $"http://127.0.0.1:{proxy.StatusPort}/events",
                    HttpCompletionOption.ResponseHeadersRead
                )

            let! answers = Task.WhenAll [ for _ in 1..64 -> look () ]
            Expect.isTrue (answers |> Array.forall (fun answer -> int answer.StatusCode = 200)) "64"
            use! one = look ()
            Expect.equal (int one.StatusCode) 503 "one more"

            clock.Advance(TimeSpan.FromMinutes 1.0)
            use! later = look ()
            Expect.equal (int later.StatusCode) 200 "after a minute the first one gives its place"

            for answer in answers do
                answer.Dispose()

            // Who has gone is found out when he is written to.
            do!
                Waiting.until "room again" (fun () -> task {
                    clock.Advance StatusPage.usualInterval
                    use! answer = look ()
                    return int answer.StatusCode = 200
                })
        }

        test "of ten thousand routes a page has fifty, and a filter finds one" {
            let snapshot = StatusSnapshot(sourcesOf 10_000)
            let all = select snapshot StatusQuery.all
            Expect.equal (all.Total, all.Shown.Length) (10_000, 50) "fifty"

            let found =
                select snapshot {
                    StatusQuery.all with
                        Text = "HOST-7777.ex"
                }

            Expect.equal (found.Shown |> Array.map _.Key.Name) [| "copy-7777" |] "one"
        }

        test "as long as nothing changes nothing is rendered, and all who look share what is" {
            let snapshot = StatusSnapshot(sourcesOf 100)
            let feed = StatusFeed(snapshot, TimeProvider.System, TimeSpan.FromHours 1.0)
            let shown = (select snapshot StatusQuery.all).Shown
            let once, twice = feed.Rows shown, feed.Rows shown

            Expect.isTrue
                (Array.forall2 (fun one other -> Object.ReferenceEquals(one, other)) once twice)
                "the same rows"

            let one = StatusSubscription(snapshot, feed, StatusQuery.all)
            Expect.isNotEmpty (one.Next()) "all at first"
            Expect.equal (one.Next()) "" "then nothing"
        }

        test
            "a row is rendered again when its backlog or its dead letters change, and not when only time goes by" {
            let mutable stored = {
                Backlog = 1L
                OldestAge = TimeSpan.FromSeconds 1.0
                DeadLetters = 2L
            }

            let snapshot =
                StatusSnapshot {
                    sourcesOf 1 with
                        Journal =
                            Some {
                                Of = fun _ -> stored
                                All = fun () -> stored
                            }
                }

            let feed = StatusFeed(snapshot, TimeProvider.System, TimeSpan.FromHours 1.0)

            let row () =
                (feed.Rows (select snapshot StatusQuery.all).Shown)[0]

            let before = row ()

            stored <- {
                stored with
                    OldestAge = TimeSpan.FromSeconds 2.0
            }

            Expect.isTrue (Object.ReferenceEquals(before, row ())) "the same row"
            stored <- { stored with Backlog = 1234L }
            Expect.stringContains (row ()) ">1,234<" "the backlog"
            stored <- { stored with DeadLetters = 5678L }
            Expect.stringContains (row ()) ">5,678<" "the dead letters"
        }
    ]
