/// Which of a host's requests a RequestClone gets, and what it has changed in its copies, from the client to the target.
module K8sReq.Proxy.Tests.CloneFilterTests

open System
open System.Net
open System.Net.Http
open System.Threading.Tasks
open Expecto
open K8sReq.TestKit.HttpMessage
open K8sReq.TestKit

/// RequestClones of one host, each with the port of its target and further fields of its spec.
let private manifests (clones: (int * string) list) =
    clones
    |> List.mapi (fun index (port, fields) ->
        Manifests.service $"app-{index}" port
        + (Manifests.clone $"copy-{index}" "a.example" $"app-{index}")
            .Replace("spec: {", $"spec: {{{fields}"))
    |> String.concat ""

let private request (method: string) (target: string) (fields: string) =
    $"{method} {target} HTTP/1.1\r\nHost: a.example\r\n{fields}Content-Length: 2\r\n\r\nok"

let private unmatched = "k8sreq_requests_total{code=\"503\",reason=\"no_match\"}"

let private counted (proxy: TestProxy) (series: string) = task {
    let! page = Scrape.text proxy.MetricsPort
    return (Scrape.series page)[series]
}

let private setEnv =
    "filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: X-Env, value: ci}], remove: [Authorization]}}, {type: URLRewrite, urlRewrite: {hostname: ci.internal, path: {type: ReplacePrefixMatch, replacePrefixMatch: /hooks}}}], "

let tests =
    testList "matches and filters" [
        testCaseTask
            "a request goes to those that want it, and one that nobody wants is refused: 503, counted"
        <| fun () -> task {
            use pushes = TestTarget.ok ()
            use posts = TestTarget.ok ()

            use! proxy =
                TestProxy.Start(
                    manifests [
                        pushes.Port,
                        "matches: [{path: {value: /gh}, headers: [{name: X-Event, value: push}]}, {queryParams: [{name: all, value: '1'}]}], "
                        posts.Port, "matches: [{method: POST}], "
                    ]
                )

            let! status =
                TestClient.statusOf proxy.Port (request "POST" "/gh/x" "x-event: push\r\n")

            Expect.equal status 202 "both"
            let! copy = pushes.Next()
            Expect.equal (copy.Start, copy.Text) ("POST /gh/x HTTP/1.1", "ok") "as it came"
            let! _ = posts.Next()
            let! status = TestClient.statusOf proxy.Port (request "PUT" "/x?all=1" "")
            Expect.equal status 202 "one"
            let! copy = pushes.Next()
            Expect.equal copy.Start "PUT /x?all=1 HTTP/1.1" "this one"

            for unwanted in [ request "PUT" "/gh" ""; request "PUT" "/ghost?all=2" "X-Event: push\r\n" ] do
                let! answer = TestClient.roundTrip proxy.Port unwanted
                Expect.equal (TestClient.status answer) 503 "refused"

                Expect.equal
                    answer.Text
                    "No target of this host takes this request (spec.matches).\n"
                    "and why"

                Expect.isEmpty (answer.Values "Retry-After") "asking again would not help"

            do! proxy.Settled()
            Expect.equal (pushes.Waiting, posts.Waiting) (0, 0) "nothing else was sent"

            // What is answered is counted a moment later.
            do!
                Waiting.until "both to be counted" (fun () -> task {
                    let! count = counted proxy unmatched
                    return count = 2.0
                })

            Expect.equal proxy.Totals.Accepted 3L "three copies"
        }

        testCaseTask "a connection goes on after a request that nobody wants"
        <| fun () -> task {
            use target = TestTarget.ok ()

            use! proxy =
                TestProxy.Start(manifests [ target.Port, "matches: [{method: POST}], " ])

            use! client = TestClient.Connect proxy.Port

            for method, expected in [ "POST", 202; "PUT", 503; "POST", 202; "PUT", 503; "POST", 202 ] do
                do! client.Send(request method "/" "")
                let! answer = client.Answer()
                Expect.equal (TestClient.status answer) expected method

            let! copies = target.Take 3
            Expect.all copies (fun copy -> copy.Start = "POST / HTTP/1.1") "the three that were wanted"
        }

        testCaseTask "what a filter changes is in the copies of its RequestClone alone"
        <| fun () -> task {
            use filtered = TestTarget.ok ()
            use whole = TestTarget.ok ()

            use! proxy =
                TestProxy.Start(
                    manifests [ filtered.Port, "matches: [{path: {value: /gh}}], " + setEnv; whole.Port, "" ]
                )

            let! status =
                TestClient.statusOf
                    proxy.Port
                    (request
                        "POST"
                        "/gh/x?q=/gh"
                        "Authorization: secret\r\nX-Env: a\r\nX-Env: b\r\nX-C: d\r\n")

            Expect.equal status 202 "accepted"
            let! copy = filtered.Next()
            Expect.equal (copy.Start, copy.Text) ("POST /hooks/x?q=/gh HTTP/1.1", "ok") "another path"

            Expect.equal
                copy.Fields
                [
                    "Host", "ci.internal"
                    "X-C", "d"
                    "Via", "1.1 k8sreq"
                    "Content-Length", "2"
                    "X-Env", "ci"
                ]
                "other headers"

            let! copy = whole.Next()
            Expect.equal (copy.Start, copy.Text) ("POST /gh/x?q=/gh HTTP/1.1", "ok") "the path as it came"

            Expect.equal
                copy.Fields
                [
                    "Host", "a.example"
                    "Authorization", "secret"
                    "X-Env", "a"
                    "X-Env", "b"
                    "X-C", "d"
                    "Via", "1.1 k8sreq"
                    "Content-Length", "2"
                ]
                "and the headers"
        }

        testCaseTask "a filter changes each attempt and a body of any length, and the copy's id stays ours"
        <| fun () -> task {
            let answers = ref 0

            use target =
                TestTarget.answeringEach (fun () ->
                    answers.Value <- answers.Value + 1

                    if answers.Value = 1 then
                        "HTTP/1.1 500 Fails\r\nContent-Length: 0\r\n\r\n"
                    else
                        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

            use! proxy =
                TestProxy.Start(
                    manifests [
                        target.Port,
                        "delivery: {retry: 1, backoffDelay: 1ms, identify: true}, filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: K8sReq-Attempt, value: x}]}}, {type: RequestHeaderModifier, requestHeaderModifier: {add: [{name: X-A, value: b}]}}], "
                    ]
                )

            let body = String('x', 300_000)

            let! status =
                TestClient.statusOf
                    proxy.Port
                    $"POST / HTTP/1.1\r\nHost: a.example\r\nX-A: a\r\nContent-Length: {body.Length}\r\n\r\n{body}"

            Expect.equal status 202 "accepted"
            let! copies = target.Take 2

            for number, copy in List.indexed copies do
                Expect.equal (copy.Values "X-A") [ "a"; "b" ] "once each time"
                Expect.equal (copy.Values "K8sReq-Attempt") [ string (number + 1) ] "the attempt"
                Expect.isTrue (copy.Text = body) "the body"
        }

        testCaseTask "HTTP/2: what is wanted, and what is changed"
        <| fun () -> task {
            use target = TestTarget.ok ()

            use! proxy =
                TestProxy.Start(manifests [ target.Port, "matches: [{path: {value: /gh}}], " + setEnv ])

            use client =
                new HttpClient(
                    DefaultRequestVersion = HttpVersion.Version20,
                    DefaultVersionPolicy = HttpVersionPolicy.RequestVersionExact
                )

            client.DefaultRequestHeaders.Host <- "a.example"

            use! answer =
                client.PostAsync($"http://127.0.0.1:{proxy.Port}/gh", new StringContent "ok")

            Expect.equal (int answer.StatusCode) 202 "wanted"
            let! copy = target.Next()

            Expect.equal
                (copy.Start, copy.Values "Host", copy.Values "X-Env", copy.Text)
                ("POST /hooks HTTP/1.1", [ "ci.internal" ], [ "ci" ], "ok")
                "changed"

            use! answer =
                client.PostAsync($"http://127.0.0.1:{proxy.Port}/", new StringContent "ok")

            Expect.equal (int answer.StatusCode) 503 "not wanted"
        }

        testCaseTask "a change of matches and filters is in force with the next request, without a new lane"
        <| fun () -> task {
            use target = TestTarget.ok ()

            use! proxy =
                TestProxy.Start(manifests [ target.Port, "matches: [{path: {value: /a}}], " ])

            let! status = TestClient.statusOf proxy.Port (request "POST" "/a" "")
            Expect.equal status 202 "as it was"
            let! _ = target.Next()

            proxy.Folder.Write(
                "all.yaml",
                manifests [ target.Port, "matches: [{path: {value: /b}}], " + setEnv ]
            )

            do!
                Waiting.until "the other match" (fun () -> task {
                    let! status = TestClient.statusOf proxy.Port (request "POST" "/b" "")
                    return status = 202
                })

            let! copy = target.Next()
            Expect.equal copy.Start "POST /hooks HTTP/1.1" "and the filters with it"
            let! status = TestClient.statusOf proxy.Port (request "POST" "/a" "")
            Expect.equal status 503 "no more"
            Expect.equal target.Connections 1 "over the same connection"
        }
    ]
