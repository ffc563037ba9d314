/// What failed for good, as people meet it: `k8sreq dead`, `/api/dead`, metrics. By the published program.
module K8sReq.Host.Tests.DeadLetterTests

open System
open System.Net.Http
open System.Text.Json
open System.Threading.Tasks
open Expecto
open K8sReq.TestKit
open K8sReq.Host.Tests.JournalTests

/// A RequestClone of a.example with this delivery, and its Service.
let private cloneOf (name: string) (port: int) (delivery: string) =
    Manifests.service name port
    + (Manifests.clone name "a.example" name).Replace("}}\n", "}" + $", delivery: {{{delivery}}}}}\n")

let private startWithStatus (folder: TestFolder) (more: string list) = task {
    let! program, port, metrics = start folder more
    let! status = program.Says @"Status page listening on port (\d+)"
    let! _ = journalIsOpen program
    return program, port, metrics, int status
}

/// Runs `k8sreq dead …` against the program, and gives the exit code and what it prints.
let private dead (status: int) (arguments: string list) = task {
    use command =
        PublishedProgram.Start("dead" :: arguments @ [ "--addr"; $"http://127.0.0.1:{status}" ])

    let! code = command.ExitCode()
    return code, command.Output.Trim(), command.Errors.Trim()
}

let private listed (status: int) (arguments: string list) = task {
    let! code, output, errors = dead status ([ "list"; "--output"; "json" ] @ arguments)
    Expect.equal (code, errors) (0, "") "listed"
    use document = JsonDocument.Parse output

    return [
        for letter in document.RootElement.GetProperty("deadLetters").EnumerateArray() -> letter.Clone()
    ]
}

let private textOf (name: string) (letter: JsonElement) = string (letter.GetProperty name)

let private untilListed (status: int) (count: int) =
    Waiting.until $"{count} dead letters" (fun () -> task {
        let! letters = listed status []
        return letters.Length = count
    })

let private send (port: int) (target: string) (body: string) = task {
    let! answer =
        TestClient.roundTrip
            port
            $"POST {target} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\nAuthorization: secret\r\nContent-Length: {body.Length}\r\n\r\n{body}"

    Expect.equal (TestClient.status answer) 202 "accepted"
}

let tests =
    testSequenced
    <| testList "dead letters" [
        testCaseTask
            "what a target refuses is listed, shown, sent again once the target is good, and then gone"
        <| fun () -> task {
            use folder = new TestFolder()
            use refusing = TestTarget.answering "HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n"
            folder.Write("routes/all.yaml", cloneOf "copy" refusing.Port "identify: true")
            let! program, port, metrics, status = startWithStatus folder []
            use _ = program
            do! send port "/hooks?n=1" "first"
            do! send port "/hooks?n=2" "second"
            do! untilListed status 2
            let! firstTry = refusing.Next()
            let! letters = listed status []
            let letter = letters[0]

            for name, expected in
                [
                    "clone", "shop/copy"
                    "host", "a.example"
                    "method", "POST"
                    "target", "/hooks?n=1"
                    "outcome", "refused"
                    "detail", "answered 410"
                    "attempts", "1"
                ] do
                Expect.equal (textOf name letter) expected name

            for name in [ "id"; "receivedAt"; "endedAt"; "bytes" ] do
                Expect.isNonEmpty (textOf name letter) name

            let id = textOf "id" letter
            let! code, output, _ = dead status [ "list" ]
            Expect.equal code 0 "a table"
            Expect.stringContains output "POST a.example/hooks?n=1" "for people"
            let! _, output, _ = dead status [ "show"; id ]

            Expect.isFalse
                (output.Contains "secret" || output.Contains "first")
                "neither fields nor body unasked"

            let! _, output, _ = dead status [ "show"; id; "--headers" ]
            Expect.stringContains output "Authorization: secret" "the fields"
            let! _, output, _ = dead status [ "show"; id; "--body" ]
            Expect.equal output "first" "the body, and nothing else"

            let! _, output, _ = dead status [ "replay"; "--id"; id; "--dry-run" ]
            Expect.equal output "1 dead letter would be sent again." "nothing is done yet"
            do! untilListed status 2

            let targetPort = refusing.Port
            (refusing :> IDisposable).Dispose()
            use good = TestTarget.at targetPort
            let! _, output, _ = dead status [ "replay"; "--id"; id ]
            Expect.equal output "1 dead letter sent again." "now it is"
            let! copy = good.Next()
            Expect.equal copy.Text "first" "the bytes that came"

            Expect.equal
                (copy.Values "K8sReq-Request-Id")
                (firstTry.Values "K8sReq-Request-Id")
                "of the same request"

            Expect.equal (copy.Values "K8sReq-Attempt") [ "1" ] "afresh"
            do! nothingIsPending metrics
            let! letters = listed status []
            Expect.equal (letters |> List.map (textOf "target")) [ "/hooks?n=2" ] "the other one stays"

            let! _, output, _ = dead status [ "replay"; "--all"; "--rate"; "50" ]
            Expect.equal output "1 dead letter sent again." "all of them"
            let! copy = good.Next()
            Expect.equal copy.Text "second" "it comes"
            do! nothingIsPending metrics
            let! _, output, _ = dead status [ "list" ]
            Expect.equal output "No dead letters." "none is left"

            let! text = Scrape.text metrics
            let series = Scrape.series text
            Expect.equal (total series "k8sreq_copies_replayed_total") 2.0 "replayed"
            Expect.equal (total series "k8sreq_dead_letters_items") 0.0 "kept"
            Expect.equal (total series "k8sreq_dead_letters_added_total{cause=\"refused\"}") 2.0 "in all"
        }

        testCaseTask "they survive kill -9, and are told apart by their cause"
        <| fun () -> task {
            use folder = new TestFolder()

            use refusing =
                TestTarget.answering "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"

            use failing = TestTarget.answering "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"
            let away = TestTarget.refusedPort ()

            folder.Write(
                "routes/all.yaml",
                cloneOf "refusing" refusing.Port ""
                + cloneOf "failing" failing.Port ""
                + cloneOf "expiring" away "retry: 100, backoffDelay: 10s, expireAfter: 500ms"
                + cloneOf "unkept" failing.Port "deadLetter: {keep: 0s}"
            )

            let! program, port, metrics, status = startWithStatus folder []

            do! task {
                use _ = program
                do! send port "/" "abc"
                do! untilListed status 3
                do! nothingIsPending metrics
                let! text = Scrape.text metrics
                let series = Scrape.series text

                let expired =
                    series
                    |> Map.filter (fun key _ -> key.Contains "outcome=\"expired\"")
                    |> Map.values
                    |> Seq.sum

                Expect.equal expired 1.0 "expired"
                program.Kill()
            }

            let! program, _, _, status = startWithStatus folder []
            use _ = program
            let! letters = listed status []

            Expect.equal
                (letters
                 |> List.map (fun letter -> textOf "clone" letter, textOf "outcome" letter)
                 |> List.sort)
                [
                    "shop/expiring", "expired"
                    "shop/failing", "failing"
                    "shop/refusing", "refused"
                ]
                "each with its cause; the fourth is not kept"

            let! ofClone = listed status [ "--clone"; "shop/failing"; "--since"; "1h" ]
            Expect.equal (ofClone |> List.map (textOf "detail")) [ "answered 500" ] "filtered"
            let! ofCause = listed status [ "--outcome=expired" ]
            Expect.hasLength ofCause 1 "filtered"
            let! _, output, _ = dead status [ "drop"; "--outcome"; "refused" ]
            Expect.equal output "1 dead letter removed." "one is"
            let! letters = listed status []
            Expect.hasLength letters 2 "gone"
            let! code, _, errors = dead status [ "drop" ]
            Expect.equal code 2 "not all of them without a word"
            Expect.stringContains errors "--all" "which word"
            let! code, _, errors = dead status [ "list"; "--since"; "yesterday" ]

            Expect.equal
                (code, errors)
                (2,
                 "k8sreq: since is \"yesterday\", but must be a time such as 2026-01-31T12:00:00Z, or how long ago it was, such as 2h")
                "in words"

            let! code, _, errors = dead status [ "show"; "77-0" ]
            Expect.equal (code, errors) (1, "k8sreq: there is no dead letter 77-0") "in words"
        }

        testCaseTask
            "a sink gets what failed as well, also one that was away; it stays, and one that the sink refuses is not sent again"
        <| fun () -> task {
            use folder = new TestFolder()
            use refusing = TestTarget.answering "HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n"
            let away = TestTarget.refusedPort ()

            use picky =
                TestTarget.answering "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"

            folder.Write(
                "routes/all.yaml",
                Manifests.service "late" away
                + Manifests.service "picky" picky.Port
                + cloneOf "copy" refusing.Port "deadLetterSink: {serviceName: late, servicePort: http}"
                + cloneOf "other" refusing.Port "deadLetterSink: {serviceName: picky, servicePort: http}"
            )

            let! program, port, metrics, status = startWithStatus folder []

            do! task {
                use _ = program
                do! send port "/hooks" "abc"
                do! untilListed status 2
                let! refusedCopy = picky.Next() |> Waiting.within "the sink's copy"
                Expect.equal refusedCopy.Text "abc" "it was sent"
                Expect.equal (refusedCopy.Values "K8sReq-Error-Clone") [ "shop/other" ] "whose"
                Expect.equal (refusedCopy.Values "K8sReq-Error-Code") [ "410" ] "why"

                do!
                    Waiting.until "an attempt at the sink that is away" (fun () -> task {
                        let! text = Scrape.text metrics
                        let series = Scrape.series text

                        let ofResult result =
                            total series $"k8sreq_dead_letters_sink_attempts_total{{result=\"{result}\"}}"

                        return ofResult "failed" > 0.0 && ofResult "refused" = 1.0
                    })

                program.Kill()
            }

            use late = TestTarget.at away
            let! program, _, _, status = startWithStatus folder []
            use _ = program
            let! copy = late.Next() |> Waiting.within "the sink's copy"
            Expect.equal copy.Text "abc" "the bytes that came"
            Expect.equal (copy.Values "K8sReq-Error-Clone") [ "shop/copy" ] "whose"
            Expect.equal (copy.Values "Authorization") [ "secret" ] "with its fields"
            Expect.isNonEmpty (copy.Values "K8sReq-Request-Id") "of which request"
            let! letters = listed status []
            Expect.hasLength letters 2 "both stay"
        }

        testCaseTask "a replay for a RequestClone that is gone leaves its dead letters as they are"
        <| fun () -> task {
            use folder = new TestFolder()
            use refusing = TestTarget.answering "HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n"
            folder.Write("routes/all.yaml", cloneOf "copy" refusing.Port "")
            let! program, port, _, status = startWithStatus folder []
            use _ = program
            do! send port "/" "abc"
            do! untilListed status 1
            folder.Delete "routes/all.yaml"
            let! _ = program.Says "Routes: 0 hosts"
            let! code, output, _ = dead status [ "replay"; "--all" ]
            Expect.equal code 0 "asked properly"

            Expect.stringContains
                output
                "0 dead letters sent again. 1 more fit: their RequestClone is not routed"
                "and told"

            let! letters = listed status []
            Expect.hasLength letters 1 "it stays"
        }

        testCaseTask "without a journal, and without a proxy, that is said"
        <| fun () -> task {
            use folder = new TestFolder()
            folder.Write("routes/all.yaml", "")
            use program = PublishedProgram.Start([ "--manifests"; folder.At "routes" ] @ free)
            let! status = program.Says @"Status page listening on port (\d+)"
            let! code, _, errors = dead (int status) [ "list" ]

            Expect.equal
                (code, errors)
                (1, "k8sreq: there is no journal (JOURNAL), so there are no dead letters")
                "no journal"

            program.Terminate()
            let! _ = program.ExitCode()
            let! code, _, errors = dead (int status) [ "list" ]
            Expect.equal code 1 "no proxy"
            Expect.stringContains errors "no proxy answers at" "in words"
        }

        testCaseTask "a page from another site can change nothing, and neither can a GET"
        <| fun () -> task {
            use folder = new TestFolder()
            use refusing = TestTarget.answering "HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n"
            folder.Write("routes/all.yaml", cloneOf "copy" refusing.Port "")
            let! program, port, _, status = startWithStatus folder []
            use _ = program
            do! send port "/" "abc"
            do! untilListed status 1
            use client = new HttpClient()

            let ask (method: HttpMethod) (path: string) (fields: (string * string) list) = task {
                use request = new HttpRequestMessage(method, $"http://127.0.0.1:{status}{path}")

                for name, value in fields do
                    request.Headers.TryAddWithoutValidation(name, value) |> ignore

                use! response = client.SendAsync request
                return int response.StatusCode
            }

            for path in [ "/api/dead/replay?all=true"; "/api/dead/drop?all=true" ] do
                for fields in
                    [
                        [ "Sec-Fetch-Site", "cross-site" ]
                        [ "Sec-Fetch-Site", "same-site" ]
                        [ "Origin", "https://elsewhere.example" ]
                        [ "Origin", "null" ]
                        [ "Sec-Fetch-Site", "same-origin"; "Origin", "https://elsewhere.example" ]
                    ] do
                    let! code = ask HttpMethod.Post path fields
                    Expect.equal code 403 $"{path} {fields}"

                let! code = ask HttpMethod.Get path []
                Expect.equal code 405 "GET"

            for path in
                [
                    "/api/dead/drop"
                    "/api/dead/drop?al=true"
                    "/api/dead/drop?clone=x"
                    "/api/dead/drop?clone=shop/copy&clone=shop/other"
                    "/api/dead/replay?all=true&rate=0"
                ] do
                let! code = ask HttpMethod.Post path []
                Expect.equal code 400 path

            let! letters = listed status []
            Expect.hasLength letters 1 "it is still there"

            let! code =
                ask HttpMethod.Post "/api/dead/drop?all=true" [
                    "Sec-Fetch-Site", "same-origin"
                    "Origin", $"http://127.0.0.1:{status}"
                ]

            Expect.equal code 200 "the page's own request"
            let! letters = listed status []
            Expect.isEmpty letters "gone"
        }
    ]
