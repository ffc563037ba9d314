namespace K8sReq.TestKit

open System
open System.Net
open System.Net.Sockets
open System.Text
open System.Threading.Tasks
open K8sReq.TestKit.HttpMessage

/// A client that sends bytes as they are given.
[<Sealed>]
type TestClient private (client: TcpClient) =
    let stream = client.GetStream()
    let reader = MessageReader stream

    static member Connect(port: int) : Task<TestClient> = task {
        let client = new TcpClient(NoDelay = true)
        do! client.ConnectAsync(IPAddress.Loopback, port)
        return new TestClient(client)
    }

    member _.SendBytes(bytes: byte[]) : Task =
        stream.WriteAsync(bytes, 0, bytes.Length)

    member client.Send(text: string) : Task =
        client.SendBytes(Encoding.Latin1.GetBytes text)

    /// The next answer; a 100 Continue is an answer too.
    member _.Answer() : Task<Message> = task {
        match! reader.Read() |> Waiting.within "an answer" with
        | Some message -> return message
        | None -> return failwith "the connection was closed without an answer"
    }

    /// The next answer, or None if the connection is closed instead.
    member _.TryAnswer() : Task<Message option> = task {
        try
            return! reader.Read() |> Waiting.within "an answer or the end of the connection"
        with :? IO.IOException ->
            return None
    }

    member _.IsClosed() : Task<bool> =
        reader.IsAtEnd() |> Waiting.within "the connection to be closed"

    /// Says that nothing more will be sent.
    member _.Finish() =
        client.Client.Shutdown SocketShutdown.Send

    /// Ends the connection the hard way: the other side sees a reset.
    member _.Reset() =
        client.LingerState <- LingerOption(true, 0)
        client.Close()

    interface IDisposable with
        member _.Dispose() = client.Dispose()

module TestClient =
    /// The status of an answer.
    let status (message: Message) = int (message.Start.Split(' ')[1])

    /// Sends this on a connection of its own and gives the answer.
    let roundTrip (port: int) (request: string) : Task<Message> = task {
        use! client = TestClient.Connect port
        do! client.Send request
        return! client.Answer()
    }

    /// The same, of which the status alone matters.
    let statusOf (port: int) (request: string) : Task<int> = task {
        let! answer = roundTrip port request
        return status answer
    }

    /// A request without a body, for this host.
    let get (port: int) (host: string) : Task<Message> =
        roundTrip port $"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"
