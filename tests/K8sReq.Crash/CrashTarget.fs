namespace K8sReq.Crash

open System
open System.Collections.Concurrent
open System.Net
open System.Net.Sockets
open System.Threading
open System.Threading.Tasks
open K8sReq.TestKit

/// A target that comes and goes, always on the same port, and notes the number of every request that it has answered 2xx.
[<Sealed>]
type CrashTarget(name: string, delay: TimeSpan) =
    // Nobody but this program uses it, so no connection of a client takes the port while the target is away.
    let address = IPAddress.Parse "127.0.0.2"
    let copies = ConcurrentDictionary<int, int>()
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"B
    let mutable damaged = 0

    let behave _ (stream: NetworkStream) (reader: HttpMessage.MessageReader) = task {
        let mutable isOpen = true

        while isOpen do
            match! reader.Read() with
            | None -> isOpen <- false
            | Some message ->
                if delay > TimeSpan.Zero then
                    do! Task.Delay delay

                do! stream.WriteAsync(answer, 0, answer.Length)

                match Payload.tryIdentify message with
                | Some number -> copies.AddOrUpdate(number, 1, (fun _ count -> count + 1)) |> ignore
                | None -> Interlocked.Increment &damaged |> ignore
    }

    let listen port =
        new TestTarget(behave, forgets = true, address = address, port = port)

    let mutable listener = Some(listen 0)
    let port = listener.Value.Port

    member _.Name = name
    member _.Address = address
    member _.Port = port
    member _.IsHere = listener.IsSome

    /// Connections are refused, and those that are open break.
    member _.Leave() : unit =
        listener |> Option.iter (fun here -> (here :> IDisposable).Dispose())
        listener <- None

    /// It takes copies again.
    member target.Arrive() : unit =
        if not target.IsHere then
            listener <- Some(listen port)

    /// How often each number was answered 2xx.
    member _.Copies = copies

    /// Copies that were not what any client had sent.
    member _.Damaged = Volatile.Read &damaged

    interface IDisposable with
        member target.Dispose() = target.Leave()
