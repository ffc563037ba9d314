namespace K8sReq.Soak

open System
open System.Collections.Concurrent
open System.Net.Sockets
open System.Threading
open System.Threading.Tasks
open K8sReq.TestKit

/// What a target does with a request that it has received whole.
[<RequireQualifiedAccess>]
type Mood =
    | Answer of status: int
    | AnswerLater of TimeSpan
    | Reset
    | Silence

/// A target that remembers the numbers of its copies, and how many it has answered 2xx.
[<Sealed>]
type SoakTarget(mood: int -> Mood) =
    let copies = ConcurrentDictionary<int, int>()
    let mutable damaged = 0
    let mutable answered = 0L

    let answer (stream: NetworkStream) status : Task = task {
        let bytes =
            Text.Encoding.ASCII.GetBytes $"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n"

        do! stream.WriteAsync(bytes, 0, bytes.Length)

        if status / 100 = 2 then
            Interlocked.Increment &answered |> ignore
    }

    let reset (stream: NetworkStream) =
        stream.Socket.LingerState <- LingerOption(true, 0)
        stream.Socket.Close()

    let behave _ (stream: NetworkStream) (reader: HttpMessage.MessageReader) = task {
        let mutable isOpen = true

        while isOpen do
            match! reader.Read() with
            | None -> isOpen <- false
            | Some message ->
                match Payload.tryIdentify message with
                | None -> Interlocked.Increment &damaged |> ignore
                | Some number ->
                    copies.AddOrUpdate(number, 1, (fun _ count -> count + 1)) |> ignore

                    match mood number with
                    | Mood.Answer status -> do! answer stream status
                    | Mood.AnswerLater time ->
                        do! Task.Delay time
                        do! answer stream 200
                    | Mood.Reset ->
                        reset stream
                        isOpen <- false
                    // Until the other side has had enough.
                    | Mood.Silence ->
                        let! _ = reader.IsAtEnd()
                        isOpen <- false
    }

    let target = new TestTarget(behave, true)
    member _.Port = target.Port

    /// How often each number came.
    member _.Copies = copies
    /// Requests that were not what any client had sent.
    member _.Damaged = Volatile.Read &damaged
    member _.Answered = Interlocked.Read &answered

    interface IDisposable with
        member _.Dispose() = (target :> IDisposable).Dispose()
