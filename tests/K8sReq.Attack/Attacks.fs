/// What attackers do, each with what it takes to do it.
module K8sReq.Attack.Attacks

open System
open System.Collections.Concurrent
open System.IO
open System.Net
open System.Net.Sockets
open System.Text
open System.Threading
open System.Threading.Tasks
open K8sReq.TestKit

/// Where an attack happens.
[<NoEquality; NoComparison>]
type Scene = {
    Port: int
    Folder: TestFolder
    /// When it is over.
    Stop: CancellationToken
}

[<NoEquality; NoComparison>]
type Attack = {
    Name: string
    Load: string
    /// What is routed besides the neighbour, by the port of the attack's own target.
    Routes: int -> string
    /// What that target does.
    Target: (HttpMessage.Message -> unit) -> Behaviour
    /// Arguments of the program.
    Arguments: string list
    /// Descriptors that the program may have.
    Descriptors: int option
    Run: Scene -> Task
}

let private okTarget (_: HttpMessage.Message -> unit) : Behaviour =
    fun stream reader -> task {
        let mutable isOpen = true

        while isOpen do
            match! reader.Read() with
            | None -> isOpen <- false
            | Some _ -> do! stream.WriteAsync("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"B, 0, 38)
    }

let private plain = {
    Name = ""
    Load = ""
    Routes =
        fun port ->
            Manifests.service "attacked" port
            + Manifests.clone "attacked" "attacked.example" "attacked"
    Target = okTarget
    Arguments = []
    Descriptors = None
    Run = fun _ -> Task.CompletedTask
}

let private bytes (text: string) = Encoding.Latin1.GetBytes text

// Sends this on so many connections, all within two seconds, reads what comes, and holds the connections until the attack
// is over; those that the server ends are opened again after a while.
let private hold (count: int) (payload: int -> byte[]) (scene: Scene) : Task = task {
    let one (n: int) : Task = task {
        do! Task.Delay(2000 * n / count)

        while not scene.Stop.IsCancellationRequested do
            try
                use client = new TcpClient(NoDelay = true)
                do! client.ConnectAsync(IPAddress.Loopback, scene.Port, scene.Stop)
                let stream = client.GetStream()
                let payload = payload n
                do! stream.WriteAsync(payload, 0, payload.Length, scene.Stop)
                let buffer = Array.zeroCreate<byte> 4096
                let mutable isOpen = true

                while isOpen do
                    let! read = stream.ReadAsync(buffer, 0, buffer.Length, scene.Stop)
                    isOpen <- read > 0
            with
            | :? IOException
            | :? SocketException
            | :? OperationCanceledException -> ()

            try
                do! Task.Delay(5000, scene.Stop)
            with :? OperationCanceledException ->
                ()
    }

    do! Task.WhenAll [ for n in 1..count -> one n ]
}

let private post (host: string) (length: int) =
    bytes $"POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n{String('x', length)}"

// A stream of requests on so many connections, each after the answer to the one before.
let private flood (connections: int) (request: byte[]) (pause: TimeSpan) (scene: Scene) : Task = task {
    let one () : Task = task {
        while not scene.Stop.IsCancellationRequested do
            try
                use client = new TcpClient(NoDelay = true)
                do! client.ConnectAsync(IPAddress.Loopback, scene.Port, scene.Stop)
                let stream = client.GetStream()
                let reader = HttpMessage.MessageReader(stream, forgets = true)
                let mutable isOpen = true

                while isOpen && not scene.Stop.IsCancellationRequested do
                    do! stream.WriteAsync(request, 0, request.Length, scene.Stop)
                    let! answer = reader.Read().WaitAsync scene.Stop
                    isOpen <- answer.IsSome

                    if pause > TimeSpan.Zero then
                        do! Task.Delay(pause, scene.Stop)
            with
            | :? IOException
            | :? SocketException
            | :? OperationCanceledException -> ()
    }

    do! Task.WhenAll [ for _ in 1..connections -> one () ]
}

let private afterRequest (behave: NetworkStream -> Task<unit>) (_: HttpMessage.Message -> unit) : Behaviour =
    fun stream reader -> task {
        match! reader.Read() with
        | None -> ()
        | Some _ -> do! behave stream
    }

let private forEver (text: string) (pause: TimeSpan) (stream: NetworkStream) : Task<unit> = task {
    let bytes = bytes text

    while true do
        do! stream.WriteAsync(bytes, 0, bytes.Length)

        if pause > TimeSpan.Zero then
            do! Task.Delay pause
}

let private emptyFields = String.replicate 495 "a:\r\n"

let private tenants (port: int) =
    Manifests.service "attacked" port
    + String.concat "" [
        for n in 1..500 ->
            (Manifests.clone $"attacked-{n}" "attacked.example" "attacked")
                .Replace(
                    "servicePort: http}",
                    "servicePort: http}, delivery: {retry: 100, backoffDelay: 1ms, backoffMax: 1ms}"
                )
    ]

// Nested merges, a mapping merged into itself, aliases of a large text, a lone half of a surrogate pair, thousands of
// documents, levels without end.
let private spoiltManifests: (string * string) list = [
    "itself.yaml", "a: &a\n  <<: *a\n"
    "merges.yaml",
    "a0: &a0 {x: 1}\n"
    + String.concat "" [
        for n in 1..26 -> $"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}], k{n}: *a{n - 1}}}\n"
    ]
    "keys.yaml",
    "a0: &a0 [x]\n"
    + String.concat "" [ for n in 1..26 -> $"a{n}: &a{n} {{? [*a{n - 1}, *a{n - 1}] : 1}}\n" ]
    "aliases.yaml",
    "a: &a "
    + String('x', 1_000_000)
    + "\nb: ["
    + String.replicate 3000 "*a,"
    + "]\n"
    "surrogate.json", "{\"apiVersion\":\"v1\",\"kind\":\"\\ud800\",\"metadata\":{\"name\":\"\\udc00\"}}"
    "documents.json", String.replicate 20_000 "{}\n"
    "levels.yaml", String('[', 100_000)
    "levels.json", String('[', 100_000)
]

let all: Attack list = [
    {
        plain with
            Name = "HTTP/2 heads by reference, unrouted host"
            Load = "40 connections, 100 heads of 53 KB each, half a kilobyte on the wire, no bodies"
            Run = hold 40 (fun _ -> Http2Frames.byReference "nobody.example" 100)
    }
    {
        plain with
            Name = "HTTP/2 heads by reference, routed host"
            Load = "the same"
            Run = hold 40 (fun _ -> Http2Frames.byReference "attacked.example" 100)
    }
    {
        plain with
            Name = "HTTP/1.1 heads of 60 KB without an end"
            Load = "3,400 connections"
            Run =
                hold 3400 (fun _ ->
                    bytes $"GET / HTTP/1.1\r\nHost: attacked.example\r\nX: {String('x', 60_000)}")
    }
    {
        plain with
            Name = "HTTP/1.1 heads of 495 empty fields without an end"
            Load = "6,400 connections"
            Run = hold 6400 (fun _ -> bytes $"GET / HTTP/1.1\r\nHost: attacked.example\r\n{emptyFields}")
    }
    {
        plain with
            Name = "large heads on connections that are kept"
            Load = "2,000 connections, a head of 55 KB each"
            Run =
                hold 2000 (fun _ ->
                    bytes $"GET / HTTP/1.1\r\nHost: nobody.example\r\nCookie: {String('x', 55_000)}\r\n\r\n")
    }
    {
        plain with
            Name = "announced bodies that never come"
            Load = "42 HTTP/2 connections, 100 streams each, 65,000 bytes announced"
            Run = hold 42 (fun _ -> Http2Frames.announcing "attacked.example" 100 65_000)
    }
    {
        plain with
            Name = "a target that reads 1 MB copies and never answers"
            Load = "264 connections, one request after the other"
            Target = afterRequest (fun _ -> task { do! Task.Delay Timeout.Infinite })
            Run = flood 264 (post "attacked.example" 1_000_000) (TimeSpan.FromMilliseconds 500.0)
    }
    {
        plain with
            Name = "interim answers without end"
            Load = "20 copies a second to a target that sends 100 Continue for ever"
            Target =
                afterRequest (forEver (String.replicate 100 "HTTP/1.1 100 Continue\r\n\r\n") TimeSpan.Zero)
            Run = flood 4 (post "attacked.example" 10) (TimeSpan.FromMilliseconds 200.0)
    }
    {
        plain with
            Name = "an answer's head in pieces of one byte"
            Load = "50 copies to a target that sends a byte each millisecond"
            Target =
                afterRequest (fun stream -> task {
                    do! stream.WriteAsync("HTTP/1.1 200 OK\r\nX: "B, 0, 20)
                    do! forEver "x" (TimeSpan.FromMilliseconds 1.0) stream
                })
            Run = flood 50 (post "attacked.example" 10) (TimeSpan.FromSeconds 5.0)
    }
    {
        plain with
            Name = "connections that break the protocol"
            Load = "64 at a time, as fast as they are refused"
            Run =
                hold 64 (fun n ->
                    if n % 2 = 0 then
                        Array.concat [
                            Http2Frames.preface
                            Http2Frames.settings
                            Http2Frames.frame 1uy 4uy 1 [| 255uy; 255uy; 255uy |]
                        ]
                    else
                        Array.append Http2Frames.preface (Http2Frames.frame 9uy 0uy 3 [| 0uy |]))
    }
    {
        plain with
            Name = "more connections than descriptors"
            Load = "1,500 idle connections, 1,024 descriptors"
            Descriptors = Some 1024
            Run = hold 1500 (fun _ -> bytes "G")
    }
    {
        plain with
            Name = "500 RequestClones that retry without a pause"
            Load = "retry: 100, backoffDelay: 1ms; a target that answers 503; 4 requests at a time"
            Routes = tenants
            Target =
                fun _ stream reader -> task {
                    let mutable isOpen = true

                    while isOpen do
                        match! reader.Read() with
                        | None -> isOpen <- false
                        | Some _ ->
                            do! stream.WriteAsync("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"B, 0, 38)
                }
            Run = flood 4 (post "attacked.example" 1000) (TimeSpan.FromMilliseconds 500.0)
    }
    {
        plain with
            Name = "spoilt manifests"
            Load = $"{spoiltManifests.Length} files"
            Run =
                fun scene -> task {
                    for name, text in spoiltManifests do
                        scene.Folder.Write(name, text)

                    try
                        do! Task.Delay(Timeout.Infinite, scene.Stop)
                    with :? OperationCanceledException ->
                        ()
                }
    }
]
