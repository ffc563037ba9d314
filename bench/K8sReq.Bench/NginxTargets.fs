namespace K8sReq.Bench

open System
open System.Net.Http
open System.Threading.Tasks

/// What targets respond. It decides what nginx's mirror costs: it closes its connection to a target after every response
/// that has a body, and keeps it after one that has none.
[<RequireQualifiedAccess>]
type TargetResponse =
    /// 200 with `Content-Length: 0`.
    | Empty
    /// 204.
    | NoContent
    /// 200 with a body of so many bytes.
    | Body of length: int

/// How much targets have got.
[<Struct>]
type TargetCounts = { Connections: int64; Requests: int64 }

/// Targets that respond with this to everything, and count: one nginx for all of them. Those that read bodies need more CPU.
[<Sealed>]
type NginxTargets(count: int, response: TargetResponse, readsBodies: bool) =
    let ports = Ports.free (count + 1)
    let statusPort = List.head ports
    let targetPorts = List.tail ports

    // `return 200 ""` is sent with Content-Length: 0.
    let returned =
        match response with
        | TargetResponse.Empty -> "200 \"\""
        | TargetResponse.NoContent -> "204"
        | TargetResponse.Body length -> $"200 {String('x', length)}"

    // `return` responds before the body is read. Where that is still on its way some senders close the connection, so a
    // location that mirrors to nowhere reads it first; its file, which is not there, ends at @done.
    let location =
        if readsBodies then
            $"""    location / {{ mirror /nowhere; mirror_request_body on; root EMPTY; error_page 403 404 405 =200 @done; }}
    location /nowhere {{ internal; return 204; }}
    location @done {{ return {returned}; }}"""
        else
            $"    location / {{ return {returned}; }}"

    let server (port: int) =
        $"  server {{\n    listen 127.0.0.1:{port} backlog=4096;\n{location}\n  }}"

    let status =
        $"  server {{ listen 127.0.0.1:{statusPort}; location / {{ stub_status; }} }}"

    let nginx =
        Nginx.Start(
            "  client_max_body_size 0;\n  client_body_buffer_size 2m;\n"
            + String.Join("\n", List.map server targetPorts @ [ status ])
        )

    let client = new HttpClient()
    let mutable asked = 0

    member _.Ports = targetPorts

    member _.ProcessId = nginx.Worker

    /// What all of them have got so far.
    member _.Counts() : Task<TargetCounts> = task {
        let! page = client.GetStringAsync $"http://127.0.0.1:{statusPort}/"
        asked <- asked + 1
        // The third line: accepted connections, handled ones, requests.
        let numbers =
            (page.Split('\n')[2]).Split(' ', StringSplitOptions.RemoveEmptyEntries)

        return {
            Connections = int64 numbers[0]
            Requests = int64 numbers[2] - int64 asked
        }
    }

    interface IDisposable with
        member _.Dispose() =
            client.Dispose()
            (nginx :> IDisposable).Dispose()
