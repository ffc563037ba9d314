/// Dead letters and backlog as people meet them in a browser: on the status page and on `/dead`.
module K8sReq.Host.Tests.DeadLetterPageTests

open System
open System.Net.Http
open System.Text.Json
open System.Threading.Tasks
open Expecto
open K8sReq.Core
open K8sReq.Host.Admin.DeadLetters
open K8sReq.Host.Admin.DeadLetters.DeadLetterView
open K8sReq.TestKit

let private client = new HttpClient()

let private ask (proxy: TestProxy) (path: string) : Task<struct (int * string)> = task {
    use! answer = client.GetAsync $"http://127.0.0.1:{proxy.StatusPort}{path}"
    let! text = answer.Content.ReadAsStringAsync()
    return struct (int answer.StatusCode, text)
}

let private get (proxy: TestProxy) (path: string) : Task<string> = task {
    let! struct (status, text) = ask proxy path
    Expect.equal status 200 path
    return text
}

let private json (proxy: TestProxy) (path: string) : Task<JsonElement> = task {
    let! text = get proxy path
    return JsonDocument.Parse(text).RootElement
}

let private longOf (element: JsonElement) (path: string list) : int64 =
    (element, path)
    ||> List.fold (fun element name -> element.GetProperty name)
    |> _.GetInt64()

let private gone () =
    TestTarget.answering "HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n"

let private send (port: int) (host: string) (target: string) : Task<unit> = task {
    let! answer =
        TestClient.roundTrip
            port
            $"POST {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nX-Secret: unseen-field\r\nContent-Length: 11\r\n\r\nunseen-body"

    Expect.equal (TestClient.status answer) 202 "accepted"
}

/// A RequestClone that never gives up, and its Service.
let private patient (name: string) (host: string) (port: int) =
    Manifests.service name port
    + (Manifests.clone name host name)
        .Replace("}}\n", "}, delivery: {retry: 100, backoffPolicy: linear, backoffDelay: 1s}}\n")

/// The proxy with a journal and queues of 3,000 bytes.
let private withJournal (manifests: string) (test: TestProxy -> Task<unit>) : Task<unit> = task {
    use folder = new TestFolder()

    use! proxy =
        TestProxy.Start(
            manifests,
            change =
                (fun settings -> {
                    settings with
                        Durability = Durability.Journal
                        Lane = {
                            settings.Lane with
                                Concurrency = 2
                                QueueBytes = 3000L
                        }
                        Journal =
                            Some {
                                KeptIn = JournalPlace.Folder folder.Path
                                PasswordFile = None
                                Limit = 10_000_000L
                                Linger = TimeSpan.Zero
                                OrphanKeep = TimeSpan.FromMinutes 10.0
                                DeadLetterKeep = TimeSpan.FromDays 7.0
                            }
                })
        )

    do!
        Waiting.until "the journal to be open" (fun () ->
            proxy.Log |> List.exists (_.Contains(" opened: ")) |> Task.FromResult)

    do! test proxy
}

let private untilDead (proxy: TestProxy) (count: int64) : Task<unit> =
    Waiting.until $"{count} dead letters" (fun () -> task {
        let! status = json proxy "/api/status"
        return longOf status [ "deadLetters" ] = count
    })

let private letter (number: int) : DeadLetter = {
    Id = { Request = int64 number; Copy = 0 }
    RequestId = Guid.Empty
    Clone = ObjectKey.create "<i>ns" "<img src=x>"
    Host = "\"><b>host"
    Method = "<u>"
    Target = "/<script>alert(1)</script>?a=\"b\""
    Cause = DeadCause.Refused
    Outcome = "<s>answered 410"
    Attempts = 3
    ReceivedAt = DateTimeOffset.UnixEpoch
    EndedAt = DateTimeOffset.UnixEpoch.AddSeconds(float number)
    Bytes = 12345L
}

let private rowsOf (page: string) = page.Split("<tr").Length - 2

let tests =
    testList "the page of dead letters" [
        testCaseTask "the status page counts them and what waits in the journal, and links to them"
        <| fun () -> task {
            use bad = gone ()
            let away = TestTarget.refusedPort ()

            let manifests =
                Manifests.route "a.example" [ bad.Port ] + patient "away" "b.example" away

            do!
                withJournal manifests (fun proxy -> task {
                    let! before = get proxy "/"
                    Expect.stringContains before "data-label=\"Dead letters\"" "with a journal"
                    Expect.isFalse (before.Contains "dead?clone=") "none yet"

                    for number in 1..3 do
                        do! send proxy.Port "a.example" $"/{number}"

                    for number in 1..40 do
                        do! send proxy.Port "b.example" $"/{number}"

                    do! untilDead proxy 3L

                    do!
                        Waiting.until "some to wait in the journal" (fun () -> task {
                            let! status = json proxy "/api/status"
                            return longOf status [ "backlog"; "items" ] > 10L
                        })

                    let! status = json proxy "/api/status"

                    Expect.isGreaterThan
                        (status.GetProperty("backlog").GetProperty("oldestSeconds").GetDouble())
                        0.0
                        "its age"

                    let! page = json proxy "/api/routes"
                    let routes = page.GetProperty("routes").EnumerateArray() |> Array.ofSeq
                    Expect.equal (longOf routes[0] [ "deadLetters" ]) 3L "of the one"
                    Expect.equal (longOf routes[0] [ "backlog"; "items" ]) 0L "which has no backlog"
                    Expect.equal (longOf routes[1] [ "deadLetters" ]) 0L "of the other"
                    Expect.isGreaterThan (longOf routes[1] [ "backlog"; "items" ]) 0L "which has one"

                    let! after = get proxy "/"

                    Expect.stringContains
                        after
                        "<a href=\"dead?clone=shop%2Fcopy-0\">3</a>"
                        "the figure's link"

                    Expect.stringContains after "<a href=\"dead\">" "the summary's link"
                    Expect.stringContains after "in the journal alone, the oldest for " "the backlog"
                })
        }

        testCaseTask "without a journal the status page has nothing of it, and the page says so"
        <| fun () -> task {
            use! proxy = TestProxy.Start(Manifests.route "a.example" [ 1 ])
            let! page = get proxy "/"

            for word in [ "Backlog"; "Dead letters"; "dead" ] do
                Expect.isFalse (page.Contains word) word

            let! status = json proxy "/api/status"
            let! routes = json proxy "/api/routes"

            for element in [ status; routes.GetProperty("routes")[0] ] do
                for name in [ "backlog"; "deadLetters" ] do
                    Expect.equal (element.GetProperty(name).ValueKind) JsonValueKind.Null name

            let! page = get proxy "/dead"
            Expect.stringContains page "There is no journal" "it says so"
            Expect.isFalse (page.Contains "<form" || page.Contains "data-action") "nothing to ask for"
        }

        testCaseTask "a dead letter is shown without its header fields and its body, and its target is text"
        <| fun () -> task {
            use bad = gone ()

            do!
                withJournal (Manifests.route "a.example" [ bad.Port ]) (fun proxy -> task {
                    do! send proxy.Port "a.example" "/<script>alert(1)</script>?a='b'"
                    do! untilDead proxy 1L
                    let! page = get proxy "/dead"

                    for text in
                        [
                            "POST /&lt;script&gt;alert(1)&lt;/script&gt;?a=&#39;b&#39;"
                            "a.example"
                            "copy-0"
                            "refused"
                            "answered 410"
                        ] do
                        Expect.stringContains page text text

                    Expect.isFalse (page.Contains "<script>") "no element of it"
                    Expect.isFalse (page.Contains "unseen") "neither field nor body"
                })
        }

        test "every text of a dead letter, of a filter and of a fault is escaped" {
            let hostile = "\"><script>alert(2)</script>"
            let filter = DeadLetterFilter.everything
            let given (_: string) = hostile

            for content in
                [
                    DeadLetterContent.Letters(filter, [ letter 1 ])
                    DeadLetterContent.Misunderstood [ hostile ]
                    DeadLetterContent.Unavailable
                    DeadLetterContent.NoJournal
                ] do
                let page = DeadLetterView.page hostile given content

                for markup in [ "<script>"; "<img"; "<i>"; "<b>"; "<u>"; "<s>" ] do
                    Expect.isFalse (page.Contains markup) $"{markup} in {content}"

                Expect.isFalse (page.Contains "style=\"" || page.Contains "onclick") "nothing inline"
        }

        test "a hundred are shown, and that there are more" {
            let page count =
                DeadLetterView.page
                    "x"
                    (fun _ -> "")
                    (DeadLetterContent.Letters(DeadLetterFilter.everything, List.map letter [ 1..count ]))

            Expect.equal (rowsOf (page 100)) 100 "a hundred"
            Expect.isFalse ((page 100).Contains "There are more") "which are all"
            Expect.equal (rowsOf (page 101)) 100 "of more, a hundred"
            Expect.stringContains (page 101) "There are more" "it says so"
        }

        test "what a page asks for means the same later" {
            let now = DateTimeOffset(2026, 1, 31, 12, 0, 0, 5, TimeSpan.Zero)

            let read (fields: Map<string, string>) now =
                match DeadLetterQuery.ofFields now 7 fields.TryFind with
                | Ok filter -> filter
                | Error faults -> failwith $"{faults}"

            let filter =
                read
                    (Map [
                        "id", "12-3"
                        "clone", "a&b/c=d"
                        "outcome", "poison"
                        "since", "2h"
                        "until", "1.5s"
                    ])
                    now

            let again =
                (DeadLetterQuery.toQueryString filter).Split '&'
                |> Array.map (fun field ->
                    match field.Split '=' with
                    | [| name; value |] -> name, Uri.UnescapeDataString value
                    | _ -> failwith field)
                |> Map

            Expect.equal (read again (now.AddDays 1.0)) filter "the same"
            Expect.equal (DeadLetterQuery.toQueryString DeadLetterFilter.everything) "" "everything"
        }

        testCaseTask "a filter shows what fits; what is not understood is said, and then nothing is shown"
        <| fun () -> task {
            use bad = gone ()
            use worse = gone ()

            let manifests =
                Manifests.route "a.example" [ bad.Port ]
                + Manifests.service "other" worse.Port
                + Manifests.clone "other" "b.example" "other"

            do!
                withJournal manifests (fun proxy -> task {
                    do! send proxy.Port "a.example" "/one"
                    do! send proxy.Port "b.example" "/two"
                    do! untilDead proxy 2L

                    let shown query = task {
                        let! page = get proxy ("/dead" + query)
                        return page.Contains "POST /one", page.Contains "POST /two"
                    }

                    for query, expected in
                        [
                            "", (true, true)
                            "?clone=&outcome=&since=&until=&id=", (true, true)
                            "?clone=shop%2Fother", (false, true)
                            "?clone=+shop/other+&outcome=refused&since=1h", (false, true)
                            "?outcome=failing", (false, false)
                            "?until=1h", (false, false)
                            "?since=2000-01-01T00:00:00Z", (true, true)
                        ] do
                        let! found = shown query
                        Expect.equal found expected query

                    let! struct (status, page) =
                        ask proxy "/dead?clone=other&outcome=bad&since=yesterday&limt=5&until=1h&until=2h"

                    Expect.equal status 400 "not understood"

                    for fault in
                        [
                            "clone is &quot;other&quot;"
                            "outcome is &quot;bad&quot;"
                            "since is &quot;yesterday&quot;"
                            "there is no field &quot;limt&quot;"
                            "until is given more than once"
                        ] do
                        Expect.stringContains page fault fault

                    Expect.stringContains page "value=\"yesterday\"" "what was given can be corrected"

                    Expect.isFalse
                        (page.Contains "POST /one"
                         || page.Contains "data-action"
                         || page.Contains "data-filter")
                        "nothing is shown"
                })
        }

        testCaseTask "only what comes from here runs in it, and it changes nothing by itself"
        <| fun () -> task {
            use! proxy = TestProxy.Start(Manifests.route "a.example" [ 1 ])

            for path, kind in [ "/dead", "text/html"; "/dead.css", "text/css"; "/dead.js", "text/javascript" ] do
                use! answer = client.GetAsync $"http://127.0.0.1:{proxy.StatusPort}{path}"
                Expect.equal (int answer.StatusCode) 200 path

                let policy = answer.Headers.GetValues "Content-Security-Policy" |> String.concat ","

                Expect.stringStarts policy "default-src 'none';" path
                Expect.isFalse (policy.Contains "unsafe") path
                let! _ = get proxy path

                match answer.Content.Headers.ContentType with
                | null -> failtest path
                | given -> Expect.equal given.MediaType kind path

                use! posted =
                    client.PostAsync($"http://127.0.0.1:{proxy.StatusPort}{path}", new StringContent "x")

                Expect.equal (int posted.StatusCode) 405 path
        }
    ]
