/// What an image asks of the program, without an image.
module K8sReq.Chart.Tests.ImageTests

open System
open System.IO
open System.Net.Http
open System.Text.RegularExpressions
open System.Threading.Tasks
open Expecto
open K8sReq.Journal
open K8sReq.Journal.Sqlite
open K8sReq.Chart.Tests.Tools
open K8sReq.TestKit

/// A file system of its own in which nothing can be written but this folder, and a user who may do nothing.
let private confined (writable: string option) =
    let volume =
        match writable with
        | Some folder -> $"mount --bind '{folder}' '{folder}' && "
        | None -> ""

    $"mount --make-rprivate / && {volume}mount -t tmpfs -o ro none /tmp && mount -t tmpfs -o ro none /var/tmp && mount -o remount,bind,ro / && cd / && exec setpriv --reuid=65534 --regid=65534 --clear-groups env -i DOTNET_EnableDiagnostics=0 \"$@\""

/// The published program, with a manifest folder and free ports, and nothing else that it could use.
let private startConfined (writable: string option) (arguments: string list) : PublishedProgram =
    // Below /tmp nothing is to be seen in there.
    let isConfinable =
        OperatingSystem.IsLinux()
        && not (root.StartsWith("/tmp", StringComparison.Ordinal))
        && (try
                let code, _, _ =
                    run "unshare" [ "--mount"; "sh"; "-c"; confined writable; "sh"; "/bin/true" ]

                code = 0
            with :? ComponentModel.Win32Exception ->
                false)

    if not isConfinable then
        skiptest "this machine does not let a process be confined so (unshare, mount and setpriv are needed)"

    PublishedProgram.StartUnder(
        "unshare",
        [ "--mount"; "sh"; "-c"; confined writable; "sh" ],
        [
            "--manifests"
            Path.Combine(root, "examples", "local")
            "--http-addr=127.0.0.1:0"
            "--probe-addr=127.0.0.1:0"
            "--metrics-addr=127.0.0.1:0"
            "--status-addr=127.0.0.1:0"
        ]
        @ arguments
    )

/// Writes a journal in which so many copies wait, half of them as a program leaves them that was killed.
let private writeJournal (folder: string) (copies: int) : unit =
    match JournalFile.openIn true ignore folder with
    | Error fault -> failtest (JournalFault.describe fault)
    | Ok database ->
        use database = database

        let numbers =
            $"WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {copies})"

        for statement in
            [
                "BEGIN"
                "INSERT INTO clones (id, namespace, name) VALUES (1, 'default', 'one'), (2, 'default', 'two')"
                $"{numbers} INSERT INTO requests (id, received_at, host, method, fields_end, bytes, wire) SELECT n, 0, 'a.example', 'GET', 0, 600, x'00' FROM numbers"
                $"{numbers} INSERT INTO copies (request, copy, clone, bytes, state, attempts, due) SELECT n, 0, 1 + n %% 2, 600, n / 2 %% 2, 0, 0 FROM numbers"
                "COMMIT"
            ] do
            database.Execute statement

let tests =
    testList "image" [
        test "the Dockerfile runs what is published, as nobody, on the ports that are documented" {
            let dockerfile = File.ReadAllText(Path.Combine(root, "Dockerfile"))
            Expect.stringContains dockerfile "USER 10000" "not root"
            Expect.stringContains dockerfile "EXPOSE 8080 9556 9557" "ports"
            Expect.stringContains dockerfile "ARG PROGRAM=k8sreq\n" "what publish leaves"
            Expect.stringContains dockerfile "/source/artifacts/${PROGRAM} /app" "from where it leaves it"

            let project =
                File.ReadAllText(Path.Combine(root, "src", "K8sReq.Host", "K8sReq.Host.fsproj"))

            let image = Regex.Match(dockerfile, "RUNTIME_IMAGE=(.+)").Groups[1].Value
            Expect.stringContains project image "the same base for the SDK's container"
        }

        testCaseTask
            "the program works for an unprivileged user on a read-only file system with an empty environment"
        <| fun () -> task {
            use program = startConfined None []
            let! port = program.Says @"Probes listening on port (\d+)"
            let! _ = program.Says @"Routes: (\d+) hosts?"
            use client = new HttpClient()
            let! health = client.GetAsync $"http://127.0.0.1:{port}/healthz"
            let! ready = client.GetAsync $"http://127.0.0.1:{port}/readyz"
            Expect.equal (int health.StatusCode, int ready.StatusCode) (200, 200) "it serves"
            program.Terminate()
            let! code = program.ExitCode()
            Expect.equal code 0 "and stops"
        }

        // Sorting and changing many rows, SQLite writes what does not fit in its cache to a temporary file.
        testCaseTask "a journal in which many copies wait opens where its volume alone can be written"
        <| fun () -> task {
            let folder =
                Directory.CreateDirectory(
                    Path.Combine(AppContext.BaseDirectory, "journal-" + Guid.NewGuid().ToString "N")
                )

            try
                let copies = 500_000
                writeJournal folder.FullName copies
                let anybody = enum<UnixFileMode> 0o777
                File.SetUnixFileMode(folder.FullName, anybody)

                for file in folder.GetFiles() do
                    File.SetUnixFileMode(file.FullName, anybody)

                use program =
                    startConfined (Some folder.FullName) [ "--journal"; folder.FullName; "--orphan-keep=1h" ]

                let! found = program.Says @"Journal .*(opened: \d+ copies|unavailable: .*)"
                Expect.equal found $"opened: {copies} copies" "all of them"
                program.Terminate()
                let! code = program.ExitCode()
                Expect.equal code 0 "and stops"
            finally
                folder.Delete true
        }
    ]
