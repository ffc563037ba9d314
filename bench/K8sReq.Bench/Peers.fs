namespace K8sReq.Bench

open System
open System.Threading.Tasks
open K8sReq.TestKit

/// A duplicator that runs: where requests go, and whose CPU counts.
type RunningPeer = {
    Port: int
    ProcessId: int
    Owned: IDisposable
}

/// Something that duplicates requests for these hosts to these ports on this machine.
type Peer = {
    Name: string
    Start: string list -> int list -> Task<RunningPeer>
}

module Peers =
    let private mirrorConfig (bodyBuffer: string) (port: int) (targets: int list) =
        let indexed = List.indexed targets

        let mirrors =
            indexed |> List.map (fun (n, _) -> $"mirror /m{n};") |> String.concat " "

        let upstreams =
            indexed
            |> List.map (fun (n, target) ->
                $"  upstream t{n} {{ server 127.0.0.1:{target}; keepalive 256; keepalive_requests 1000000000; }}\n")
            |> String.concat ""

        let locations =
            indexed
            |> List.map (fun (n, _) ->
                $"    location /m{n} {{ internal; proxy_pass http://t{n}$request_uri; proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $http_host; }}\n")
            |> String.concat ""

        $"""{upstreams}  client_body_buffer_size {bodyBuffer};
  client_max_body_size 2m;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{ {mirrors} mirror_request_body on; root EMPTY; error_page 403 404 405 =202 @accepted; }}
    location @accepted {{ return 202 ""; }}
{locations}  }}"""

    let private mirror (name: string) (bodyBuffer: string) = {
        Name = name
        Start =
            fun _ targets -> task {
                let port = List.head (Ports.free 1)
                let running = Nginx.Start(mirrorConfig bodyBuffer port targets)

                return {
                    Port = port
                    ProcessId = running.Worker
                    Owned = running
                }
            }
    }

    /// nginx's mirror at its cheapest that works: one worker, everything kept alive, nothing written to disk. It sends
    /// the same copies whatever the host is.
    let nginx = mirror "nginx" "2m"

    /// The same with the buffer of 256 KiB that it has been compared with before: it writes larger bodies to files.
    let nginxWithFiles = mirror "nginx-256k" "256k"

    /// A match that every request meets, by its path and one of its headers, and a filter that sets a header.
    let private selection =
        "matches: [{path: {value: /hooks}, headers: [{name: User-Agent, value: bench}]}], filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: X-Env, value: ci}]}}], "

    // `fields` of each RequestClone's spec, beside host and backend.
    let private manifests (fields: string) (hosts: string list) (targets: int list) =
        let services =
            targets
            |> List.mapi (fun n port -> Manifests.service $"app-{n}" port)
            |> String.concat ""

        let clones =
            hosts
            |> List.mapi (fun h host ->
                targets
                |> List.mapi (fun n _ ->
                    (Manifests.clone $"copy-{h}-{n}" host $"app-{n}").Replace("spec: {", "spec: {" + fields))
                |> String.concat "")
            |> String.concat ""

        services + clones

    let private program (fields: string) (name: string) (path: string) (environment: (string * string) list) = {
        Name = name
        Start =
            fun hosts targets -> task {
                let folder = new TestFolder()
                folder.Write("all.yaml", manifests fields hosts targets)

                let program =
                    PublishedProgram.StartAt(
                        path,
                        [ "--manifests"; folder.Path ],
                        // Variables, for an earlier version does not know each flag.
                        [ "HTTP_ADDR"; "PROBE_ADDR"; "METRICS_ADDR"; "STATUS_ADDR" ]
                        |> List.map (fun name -> name, "127.0.0.1:0")
                        |> List.append environment
                        // What it allows by itself may be less than a scenario has.
                        |> List.append [ "MAX_CONNECTIONS", "12000" ]
                    )

                let! port = program.Says @"Proxy listening on port (\d+)"

                return {
                    Port = int port
                    ProcessId = program.Id
                    Owned = {
                        new IDisposable with
                            member _.Dispose() =
                                (program :> IDisposable).Dispose()
                                (folder :> IDisposable).Dispose()
                    }
                }
            }
    }

    /// This program as it was published, here or at another path.
    let k8sreq = program ""

    /// The same with one match and one filter for each target.
    let k8sreqWithFilter = program selection
