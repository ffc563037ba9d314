namespace K8sReq.TestKit

open System
open System.Collections.Concurrent
open System.IO
open System.Net
open System.Net.Sockets
open System.Threading
open System.Threading.Channels
open System.Threading.Tasks
open K8sReq.TestKit.HttpMessage

/// What a target does with one connection.
type Behaviour = NetworkStream -> MessageReader -> Task<unit>

/// A target on loopback that keeps every byte it gets and behaves as told.
[<Sealed>]
type TestTarget(behaviour: (Message -> unit) -> Behaviour, ?forgets: bool, ?address: IPAddress, ?port: int) =
    let listener =
        new TcpListener(defaultArg address IPAddress.Loopback, defaultArg port 0)

    let received = Channel.CreateUnbounded<Message>()
    let readers = ConcurrentQueue<MessageReader>()
    let connections = ConcurrentQueue<TcpClient>()
    let mutable isClosed = false

    let serve (connection: TcpClient) = task {
        use connection = connection
        let stream = connection.GetStream()
        let reader = MessageReader(stream, ?forgets = forgets)

        // Each has a buffer: a target that gets hundreds of connections a second has no memory for all of them.
        if not (defaultArg forgets false) then
            readers.Enqueue reader

        try
            do! behaviour (received.Writer.TryWrite >> ignore) stream reader
        with
        // The other side may go at any time.
        | :? IOException
        | :? SocketException
        | :? ObjectDisposedException -> ()
    }

    let accept () = task {
        try
            while not isClosed do
                let! connection = listener.AcceptTcpClientAsync()
                connections.Enqueue connection
                serve connection |> ignore
        with
        | :? SocketException
        | :? ObjectDisposedException -> ()
    }

    do
        listener.Start 512
        accept () |> ignore

    member _.Port = (listener.LocalEndpoint :?> IPEndPoint).Port

    /// The next request, in the order in which they came whole.
    member _.Next() : Task<Message> =
        received.Reader.ReadAsync().AsTask() |> Waiting.within "a request at the target"

    /// The next requests.
    member target.Take(count: int) : Task<Message list> = task {
        let messages = ResizeArray()

        for _ in 1..count do
            let! message = target.Next()
            messages.Add message

        return List.ofSeq messages
    }

    /// Requests that came and were not taken.
    member _.Waiting = received.Reader.Count
    member _.Connections = connections.Count

    /// Every byte that came, connection by connection.
    member _.Bytes = readers |> Seq.map _.Seen |> List.ofSeq

    interface IDisposable with
        member _.Dispose() =
            isClosed <- true
            listener.Stop()

            for connection in connections do
                connection.Dispose()

module TestTarget =
    let private answerEach (answer: unit -> byte[]) keep (stream: NetworkStream) (reader: MessageReader) =
        task {
            let mutable isOpen = true

            while isOpen do
                match! reader.Read() with
                | None -> isOpen <- false
                | Some message ->
                    // Before anybody knows of the request: what they change then is for the next one.
                    let answer = answer ()
                    keep message
                    do! stream.WriteAsync(answer, 0, answer.Length)
        }

    let private answerAll (answer: byte[]) = answerEach (fun () -> answer)

    /// Answers each request with the bytes that it is told then, on connections that stay open.
    let answeringEach (answer: unit -> string) =
        new TestTarget(fun keep stream reader ->
            answerEach (fun () -> Text.Encoding.Latin1.GetBytes(answer ())) keep stream reader)

    /// Answers every request with these bytes, on connections that stay open.
    let answering (answer: string) =
        new TestTarget(fun keep stream reader ->
            answerAll (Text.Encoding.Latin1.GetBytes answer) keep stream reader)

    let ok () =
        answering "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

    /// The same on this port.
    let at (port: int) =
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"B
        new TestTarget((fun keep stream reader -> answerAll answer keep stream reader), port = port)

    /// The same on another loopback address.
    let okAt (address: IPAddress) =
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"B
        new TestTarget((fun keep stream reader -> answerAll answer keep stream reader), address = address)

    /// Takes connections and says nothing until it is disposed of.
    let silent () =
        new TestTarget(fun keep _ reader -> task {
            match! reader.Read() with
            | Some message -> keep message
            | None -> ()

            do! Task.Delay Timeout.Infinite
        })

    /// A port of 127.0.0.1 on which nobody listens until it is asked for.
    let refusedPort () = HeldPort.take ()
