/// Webhook bodies, and bodies that are hard to decode: a copy is faithful if its signature still verifies.
module K8sReq.Host.Tests.WebhookTests

open System
open System.Collections.Concurrent
open System.IO
open System.Net.Http
open System.Security.Cryptography
open System.Text
open System.Threading.Tasks
open Expecto
open K8sReq.TestKit.HttpMessage
open K8sReq.TestKit

let private secret = "It's a Secret to Everybody"B

let private signatureOf (body: byte[]) =
    "sha256="
    + Convert.ToHexString(HMACSHA256.HashData(secret, body)).ToLowerInvariant()

type private Webhook = { Event: string; Body: byte[] }

/// Files of bodies: of each, the event's name is what stands before the first dot.
let private bodiesIn (folder: string) =
    Directory.GetFiles folder
    |> Array.sort
    |> Array.map (fun path -> {
        Event = (string (Path.GetFileName path)).Split('.')[0]
        Body = File.ReadAllBytes path
    })
    |> List.ofArray

let private own () =
    bodiesIn (Path.Combine(PublishedProgram.Root, "tests", "K8sReq.Host.Tests", "webhooks"))

/// More of them, if this variable names a folder.
let private variable = "K8SREQ_TEST_WEBHOOKS"

let private generated =
    let random = Random 7
    let noise = Array.zeroCreate<byte> 100_000
    random.NextBytes noise

    [
        Encoding.UTF8.GetBytes "{\"text\":\"grüße 你好 🎉 \\u0000 \u2028\"}"
        Encoding.UTF8.GetBytes "\uFEFF{ \"a\" :\t1 ,\r\n\r\n \"b\":\u00a02 }\n\n\n"
        Encoding.Latin1.GetBytes "payload=%7B%7D&x=+é"
        [| 0uy; 13uy; 10uy; 13uy; 10uy; 0uy; 255uy |]
        "0\r\n\r\nGET / HTTP/1.1\r\n\r\n"B
        noise
        Array.empty
    ]
    |> List.mapi (fun index body -> {
        Event = $"generated_{index}"
        Body = body
    })

let private post (client: HttpClient) port (delivery: string) (webhook: Webhook) = task {
    let content = new ByteArrayContent(webhook.Body)

    content.Headers.TryAddWithoutValidation("Content-Type", "application/json")
    |> ignore

    use request =
        new HttpRequestMessage(
            HttpMethod.Post,
            $"http://127.0.0.1:{port}/hooks?source=test",
            Content = content
        )

    request.Headers.Host <- "webhooks.example"

    request.Headers.TryAddWithoutValidation("X-GitHub-Event", webhook.Event)
    |> ignore

    request.Headers.TryAddWithoutValidation("X-GitHub-Delivery", delivery) |> ignore

    request.Headers.TryAddWithoutValidation("X-Hub-Signature-256", signatureOf webhook.Body)
    |> ignore

    use! response = client.SendAsync request
    Expect.equal (int response.StatusCode) 202 delivery
}

/// Every delivery has come exactly once, under its event, and its signature verifies.
let private verify (sent: ConcurrentDictionary<string, Webhook>) (copies: Message list) =
    let delivered =
        copies
        |> List.map (fun copy -> copy.Values "X-GitHub-Delivery" |> List.exactlyOne)

    Expect.equal (delivered |> List.distinct |> List.length) sent.Count "every delivery"
    Expect.equal delivered.Length sent.Count "exactly once"

    for copy, delivery in List.zip copies delivered do
        Expect.equal (copy.Values "X-Hub-Signature-256") [ signatureOf copy.Body ] "the signature verifies"
        Expect.equal (copy.Values "X-GitHub-Event") [ sent[delivery].Event ] "the event"
        Expect.isTrue (copy.Body = sent[delivery].Body) "the body is that delivery's"

/// Sends each alone, then all of them `times` at once, through the published program to two targets.
let private deliver (webhooks: Webhook list) (times: int) = task {
    use first = TestTarget.ok ()
    use second = TestTarget.ok ()
    use folder = new TestFolder()
    folder.Write("all.yaml", Manifests.route "webhooks.example" [ first.Port; second.Port ])

    use program =
        PublishedProgram.Start [
            "--manifests"
            folder.Path
            "--http-addr=127.0.0.1:0"
            "--probe-addr=127.0.0.1:0"
            "--metrics-addr=127.0.0.1:0"
            "--status-addr=127.0.0.1:0"
        ]

    let! port = program.Says @"Proxy listening on port (\d+)"
    use client = new HttpClient()
    let sent = ConcurrentDictionary<string, Webhook>()

    let send delivery webhook =
        sent[delivery] <- webhook
        post client port delivery webhook

    for index, webhook in List.indexed webhooks do
        do! send $"alone-{index}" webhook

    let! _ =
        Task.WhenAll [
            for round in 1..times do
                for index, webhook in List.indexed webhooks -> send $"together-{round}-{index}" webhook
        ]

    for target in [ first; second ] do
        let! copies = target.Take sent.Count
        verify sent copies

    program.Terminate()
    let! code = program.ExitCode()
    Expect.equal code 0 "ended as asked"
    Expect.equal (first.Waiting, second.Waiting) (0, 0) "nothing came twice"
    let copies = 2 * sent.Count

    Expect.stringContains
        program.Errors
        $"{copies} copies accepted: {copies} delivered, 0 failed, 0 dropped"
        "counted"
}

let tests =
    testSequenced
    <| testList "webhooks" [
        testCaseTask "bodies that are hard to keep as they are"
        <| fun () -> task { do! deliver generated 40 }

        testCaseTask "webhooks of several kinds, alone and hundreds at once"
        <| fun () -> task {
            let webhooks = own ()
            Expect.hasLength webhooks 5 "they are there"
            do! deliver webhooks 60
        }

        testCaseTask $"webhooks from the folder that {variable} names, alone and hundreds at once"
        <| fun () -> task {
            match Environment.GetEnvironmentVariable variable with
            | null
            | "" -> skiptest $"{variable} names no folder"
            | folder ->
                let webhooks = bodiesIn folder
                Expect.isNonEmpty webhooks "bodies"
                do! deliver webhooks 10
        }
    ]
