/// Whoever watches the program and does not keep up must not hold up its work.
module K8sReq.Host.Tests.StalledReaderTests

open System.Diagnostics
open System.Text.RegularExpressions
open System.Threading.Tasks
open Expecto

/// More than the log's queue and the system's pipe hold, at a line each.
let private requests = 6000

/// The program, with a log that is read until its proxy listens and never again.
let private start (folder: TestFolder) : Task<Process * int> = task {
    let info =
        ProcessStartInfo(
            PublishedProgram.Path,
            [
                "--http-addr=127.0.0.1:0"
                "--probe-addr=127.0.0.1:0"
                "--metrics-addr=127.0.0.1:0"
                "--status-addr=127.0.0.1:0"
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

let tests =
    testSequenced
    <| testList "a reader that stalls" [
        testCaseTask "of the log: requests are answered and copied as ever"
        <| fun () -> task {
            use good = TestTarget.ok ()
            use folder = new TestFolder()
            // Each copy to the other one fails, and is logged.
            folder.Write("all.yaml", Manifests.route "a.example" [ good.Port; TestTarget.refusedPort () ])
            let! program, port = start folder
            use program = program

            try
                use! client = TestClient.Connect port

                for n in 1..requests do
                    do! client.Send $"POST /{n} HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n"
                    let! answer = client.Answer()
                    Expect.equal (TestClient.status answer) 202 $"request {n}"

                let! _ = good.Take requests
                Expect.isFalse program.HasExited "it goes on"
            finally
                program.Kill()
        }
    ]
