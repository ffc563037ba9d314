namespace K8sReq.Bench

open System
open System.Diagnostics
open System.IO
open System.Net
open System.Net.Http
open System.Net.Sockets
open System.Threading.Tasks
open K8sReq.TestKit

module Ports =
    /// So many that nobody listens on. Somebody else may take one before it is used; a benchmark can be run again.
    let free (count: int) : int list =
        let listeners = List.init count (fun _ -> new TcpListener(IPAddress.Loopback, 0))

        try
            [
                for listener in listeners do
                    listener.Start()
                    (listener.LocalEndpoint :?> IPEndPoint).Port
            ]
        finally
            for listener in listeners do
                listener.Stop()

/// An nginx of one worker with this in its http block, until it is disposed of.
[<Sealed>]
type Nginx private (running: Process, folder: TestFolder) =
    static member Start(http: string) : Nginx =
        let folder = new TestFolder()
        let path (name: string) = folder.At name

        for name in [ "body"; "proxy"; "empty" ] do
            Directory.CreateDirectory(path name) |> ignore

        folder.Write(
            "nginx.conf",
            $"""daemon off;
worker_processes 1;
pid {path "pid"};
error_log {path "error.log"} crit;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  client_body_temp_path {path "body"};
  proxy_temp_path {path "proxy"};
  fastcgi_temp_path {path "proxy"};
  uwsgi_temp_path {path "proxy"};
  scgi_temp_path {path "proxy"};
  keepalive_requests 1000000000;
{http.Replace("EMPTY", path "empty")}
}}
"""
        )

        let arguments = [ "-p"; folder.Path; "-e"; path "error.log"; "-c"; path "nginx.conf" ]
        let running = new Process(StartInfo = ProcessStartInfo("nginx", arguments))
        running.Start() |> ignore
        new Nginx(running, folder)

    /// The worker, which does the work.
    member _.Worker: int =
        let children () =
            File
                .ReadAllText($"/proc/{running.Id}/task/{running.Id}/children")
                .Split(' ', StringSplitOptions.RemoveEmptyEntries)

        let deadline = DateTime.UtcNow.AddSeconds 10.0

        while (children ()).Length = 0 && DateTime.UtcNow < deadline do
            Threading.Thread.Sleep 10

        int (children()[0])

    member _.Errors =
        let log = folder.At "error.log"
        if File.Exists log then File.ReadAllText log else ""

    interface IDisposable with
        member _.Dispose() =
            Signal.terminate running.Id
            running.WaitForExit()
            running.Dispose()
            (folder :> IDisposable).Dispose()

/// What targets answer. It decides what nginx's mirror costs: it closes its connection to a target after every answer
/// that has a body, and keeps it after one that has none.
[<RequireQualifiedAccess>]
type TargetAnswer =
    /// 200 with a body of two bytes.
    | WithBody
    /// 200 with `Content-Length: 0`.
    | Empty
    /// 204.
    | NoContent

/// Targets that answer this to everything, and count.
[<Sealed>]
type NginxTargets(count: int, answer: TargetAnswer) =
    let ports = Ports.free (count + 1)
    let statusPort = List.head ports
    let targetPorts = List.tail ports

    // `return 200 ""` is sent with Content-Length: 0.
    let returned =
        match answer with
        | TargetAnswer.WithBody -> "200 ok"
        | TargetAnswer.Empty -> "200 \"\""
        | TargetAnswer.NoContent -> "204"

    let servers =
        targetPorts
        |> List.map (fun port ->
            $"  server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ return {returned}; }} }}")
        |> String.concat "\n"

    let nginx =
        Nginx.Start(
            $"  client_max_body_size 0;\n{servers}\n  server {{ listen 127.0.0.1:{statusPort}; location / {{ stub_status; }} }}"
        )

    let client = new HttpClient()
    let mutable asked = 0

    member _.Ports = targetPorts

    /// Requests that have come so far, at all of them.
    member _.Received() : Task<int64> = task {
        let! page = client.GetStringAsync $"http://127.0.0.1:{statusPort}/"
        asked <- asked + 1
        // The third line: accepted connections, handled ones, requests.
        let numbers =
            (page.Split('\n')[2]).Split(' ', StringSplitOptions.RemoveEmptyEntries)

        return int64 numbers[2] - int64 asked
    }

    interface IDisposable with
        member _.Dispose() =
            client.Dispose()
            (nginx :> IDisposable).Dispose()
