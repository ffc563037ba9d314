/// Whoever watches the program and does not keep up must not hold up its work.
module K8sReq.Host.Tests.StalledReaderTests

open System.Diagnostics
open System.Text.Json
open System.Text.RegularExpressions
open System.Threading.Tasks
open Expecto

// Of a RequestClone's failures so many are logged in a while.
let private linesEach = 5

/// More lines, all together, than the log's queue and the system's pipe hold.
let private failing = 1200

/// The program, with a log that is read until its proxy listens.
let private start (folder: TestFolder) (format: string) : Task<Process * int> = task {
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
    let mutable port = 0

    while port = 0 do
        let! line =
            program.StandardError.ReadLineAsync() |> Waiting.within "a line of the log"

        let said = Regex.Match(string line, @"Proxy listening on port (\d+)")

        if said.Success then
            port <- int said.Groups[1].Value

    return program, port
}

let private messageOf (format: string) (line: string) : string =
    if format = "json" then
        use entry = JsonDocument.Parse line
        string (entry.RootElement.GetProperty("Message").GetString())
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

                let! program, port = start folder format
                use program = program

                try
                    use! client = TestClient.Connect port

                    for n in 1..linesEach do
                        do! client.Send $"POST /{n} HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n"
                        let! answer = client.Answer()
                        Expect.equal (TestClient.status answer) 202 $"request {n}"

                    let! _ = good.Take linesEach
                    Expect.isFalse program.HasExited "it goes on"

                    // Somebody reads again: each line is what lines are.
                    let read () = task {
                        let! line =
                            program.StandardError.ReadLineAsync() |> Waiting.within "a line of the log"

                        return messageOf format (string line)
                    }

                    for _ in 1..failing do
                        let! _ = read ()
                        ()

                    // There is room in the queue, and something to say: first, that others are missing.
                    folder.Write("more.yaml", Manifests.clone "more" "b.example" "nobody")
                    let mutable isSaid = false

                    while not isSaid do
                        let! message = read ()
                        isSaid <- message.Contains "dropped because of queue size limit"
                finally
                    program.Kill()
            }
    ]
