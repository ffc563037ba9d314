/// Whoever watches the program and does not keep up must not hold up its work.
module K8sReq.Host.Tests.StalledReaderTests

open System.Diagnostics
open System.Text.Json
open System.Text.RegularExpressions
open System.Threading.Tasks
open Expecto
open K8sReq.TestKit

// Of a RequestClone's failures so many are logged in a while.
let private linesEach = 5

/// More lines, all together, than the log's queue and the system's pipe hold.
let private failing = 1200

/// The ports that the program has said it listens on, by what they are for.
type private Ports = Map<string, int>

/// The program, with a log that is read until its proxy listens.
let private start (folder: TestFolder) (format: string) : Task<Process * Ports> = task {
    let info =
        ProcessStartInfo(
            PublishedProgram.Path,
            [
                "--http-addr=127.0.0.1:0"
                "--probe-addr=127.0.0.1:0"
                "--metrics-addr=127.0.0.1:0"
                "--status-addr=127.0.0.1:0"
                "--log-format"
                format
                "--manifests"
                folder.Path
            ],
            RedirectStandardError = true
        )

    let program = new Process(StartInfo = info)
    program.Start() |> ignore
    let mutable ports: Ports = Map.empty

    while not (ports.ContainsKey "Proxy") do
        let! line =
            program.StandardError.ReadLineAsync() |> Waiting.within "a line of the log"

        let said =
            Regex.Match(string line, @"(Proxy|Metrics|Status page) listening on port (\d+)")

        if said.Success then
            ports <- ports.Add(said.Groups[1].Value, int said.Groups[2].Value)

    return program, ports
}

let private messageOf (format: string) (line: string) : string =
    if format = "json" then
        use entry = JsonDocument.Parse line
        string (entry.RootElement.GetProperty("msg").GetString())
    else
        line

let tests =
    testSequenced
    <| testList "a reader that stalls" [
        for format in [ "console"; "json" ] do
            testCaseTask
                $"of the log, {format}: requests are answered and copied as ever; what is missing is said"
            <| fun () -> task {
                use good = TestTarget.ok ()
                use folder = new TestFolder()
                let refused = TestTarget.refusedPort ()
                // Each copy to the others fails, and is logged.
                folder.Write(
                    "all.yaml",
                    Manifests.route "a.example" (good.Port :: List.replicate failing refused)
                )

                let! program, ports = start folder format
                let port = ports["Proxy"]
                use program = program

                try
                    use! client = TestClient.Connect port

                    for n in 1..linesEach do
                        do! client.Send $"POST /{n} HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n"
                        let! answer = client.Answer()
                        Expect.equal (TestClient.status answer) 202 $"request {n}"

                    let! _ = good.Take linesEach
                    Expect.isFalse program.HasExited "it goes on"

                    // All have ended, and more lines were to be written than there is room for.
                    do!
                        Waiting.until "every copy to end" (fun () -> task {
                            let! text = Scrape.text ports["Metrics"]

                            let pending =
                                Scrape.series text
                                |> Map.toSeq
                                |> Seq.filter (fun (name, _) -> name.StartsWith "k8sreq_copies_pending{")
                                |> Seq.sumBy snd

                            return pending = 0.0
                        })

                    // Somebody reads again: each line is what lines are.
                    let read () = task {
                        let! line =
                            program.StandardError.ReadLineAsync() |> Waiting.within "a line of the log"

                        return messageOf format (string line)
                    }

                    let isSaid (message: string) =
                        Regex.IsMatch(
                            message,
                            "[0-9]+ log lines? dropped: standard error is read too slowly$"
                        )

                    // Copies may still fail while it is read: then it is said among these.
                    let mutable hasSaid = false

                    for _ in 1..failing do
                        let! message = read ()
                        hasSaid <- hasSaid || isSaid message

                    // There is room in the queue, and something to say: first, that others are missing.
                    folder.Write("more.yaml", Manifests.clone "more" "b.example" "nobody")

                    while not hasSaid do
                        let! message = read ()
                        hasSaid <- isSaid message
                finally
                    program.Kill()
            }

        testCaseTask
            "of metrics, of the status page and of its events: requests are answered and copied as ever"
        <| fun () -> task {
            use good = TestTarget.ok ()
            use folder = new TestFolder()

            folder.Write(
                "all.yaml",
                Manifests.route "a.example" [ good.Port ]
                + Manifests.service "many" 1
                + String.concat "" [ for n in 1..failing -> Manifests.clone $"many-{n}" "b.example" "many" ]
            )

            let! program, ports = start folder "console"
            use program = program

            try
                // Asked for so often, it does not fit into what the system keeps for a reader that does not read.
                let stalled (port: string) (path: string) = task {
                    let! client = TestClient.Connect ports[port]

                    do! client.Send(String.replicate 40 $"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")

                    return client
                }

                let! readers =
                    Task.WhenAll [
                        for _ in 1..8 do
                            stalled "Metrics" "/metrics"
                            stalled "Status page" "/events?limit=500"
                            stalled "Status page" "/api/routes?limit=500"
                    ]

                use! client = TestClient.Connect ports["Proxy"]

                for n in 1..300 do
                    do! client.Send $"POST /{n} HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n"
                    let! answer = client.Answer()
                    Expect.equal (TestClient.status answer) 202 $"request {n}"

                let! _ = good.Take 300

                // Nor do they keep others from being told.
                let! metrics = Scrape.text ports["Metrics"]
                Expect.stringContains metrics "many-1200" "all of it"

                for reader in readers do
                    (reader :> System.IDisposable).Dispose()
            finally
                program.Kill()
        }
    ]
