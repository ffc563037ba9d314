/// What an image asks of the program, without an image.
module K8sReq.Chart.Tests.ImageTests

open System
open System.IO
open System.Net.Http
open System.Text.RegularExpressions
open System.Threading.Tasks
open Expecto
open K8sReq.Chart.Tests.Tools
open K8sReq.TestKit

/// A file system of its own in which nothing can be written, and a user who may do nothing.
let private confined =
    "mount --make-rprivate / && mount -t tmpfs -o ro none /tmp && mount -o remount,bind,ro / && exec setpriv --reuid=65534 --regid=65534 --clear-groups env -i DOTNET_EnableDiagnostics=0 \"$@\""

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
            // Below /tmp nothing is to be seen in there.
            let isConfinable =
                OperatingSystem.IsLinux()
                && not (root.StartsWith("/tmp", StringComparison.Ordinal))
                && (try
                        let code, _, _ =
                            run "unshare" [ "--mount"; "sh"; "-c"; confined; "sh"; "/bin/true" ]

                        code = 0
                    with :? ComponentModel.Win32Exception ->
                        false)

            if not isConfinable then
                skiptest
                    "this machine does not let a process be confined so (unshare, mount and setpriv are needed)"

            use program =
                PublishedProgram.StartUnder(
                    "unshare",
                    [ "--mount"; "sh"; "-c"; confined; "sh" ],
                    [
                        "--manifests"
                        Path.Combine(root, "examples")
                        "--http-addr=127.0.0.1:0"
                        "--probe-addr=127.0.0.1:0"
                        "--metrics-addr=127.0.0.1:0"
                        "--status-addr=127.0.0.1:0"
                    ]
                )

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
    ]
