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
events {{ worker_connections 16384; }}
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
