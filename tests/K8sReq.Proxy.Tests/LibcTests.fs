module K8sReq.Proxy.Tests.LibcTests

open System
open System.Buffers
open System.Net
open System.Net.Sockets
open System.Threading
open System.Threading.Tasks
open Expecto
open K8sReq.Core
open K8sReq.Proxy
open K8sReq.TestKit

// Two ends of a connection, with room for all that is sent here.
let private withConnection (work: Socket -> int -> unit) =
    use listener =
        new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp)

    listener.ReceiveBufferSize <- 1024 * 1024
    listener.Bind(IPEndPoint(IPAddress.Loopback, 0))
    listener.Listen 1

    use client =
        new Socket(
            AddressFamily.InterNetwork,
            SocketType.Stream,
            ProtocolType.Tcp,
            SendBufferSize = 1024 * 1024,
            ReceiveBufferSize = 1024 * 1024,
            ReceiveTimeout = int Waiting.patience.TotalMilliseconds
        )

    client.Connect(nonNull listener.LocalEndPoint)
    let descriptor = (Libc.accept (int listener.Handle)).Descriptor

    try
        work client descriptor
    finally
        Libc.close descriptor

let private sequence (pieces: ReadOnlyMemory<byte> list) : ReadOnlySequence<byte> =
    match pieces with
    | [] -> ReadOnlySequence.Empty
    | first :: rest ->
        let start = ByteSegment first

        let last =
            (start, rest)
            ||> List.fold (fun last piece ->
                let next = ByteSegment piece
                last.Follow next
                next)

        ReadOnlySequence(start, 0, last, last.Memory.Length)

// Piece by piece another byte, and each byte of a piece another one than its neighbour.
let private piece (index: int) (length: int) =
    Array.init length (fun at -> byte (index * 37 + at * 11 + at / 256))

let private receiveExactly (client: Socket) (count: int) : byte[] =
    let bytes = Array.zeroCreate<byte> count
    let mutable there = 0

    while there < count do
        let more = client.Receive(bytes, there, count - there, SocketFlags.None)

        if more = 0 then
            failtest $"the end after {there} of {count} bytes"

        there <- there + more

    bytes

// What has been sent to it, once it is there.
let private receivePieces (descriptor: int) (spaces: ArraySegment<byte>[]) =
    (Waiting.until "bytes" (fun () -> Task.FromResult(Libc.hasUnread descriptor))).GetAwaiter().GetResult()
    (Libc.receivePieces descriptor (ReadOnlySpan spaces)).Count

// Everything that was made just now is somewhere else afterwards, and where it was there is something else.
let private moveMemory () =
    GC.Collect(2, GCCollectionMode.Forced, true, true)

    for _ in 1..50 do
        Array.Fill(Array.zeroCreate<byte> 50_000, 255uy)

/// Memory that is made when somebody asks where it is, and moved when somebody asks for others: what it is behind is needed
/// until then.
type private RestlessMemory(index: int, bytes: byte[], ballast: byte[][][]) =
    inherit MemoryManager<byte>()

    override _.GetSpan() =
        for before in 0 .. index - 2 do
            ballast[before] <- Array.empty

        moveMemory ()
        moveMemory ()
        ballast[index] <- Array.init 10 (fun _ -> Array.zeroCreate<byte> 50_000)
        Span(Array.copy bytes)

    override _.Pin(_) = invalidOp "Nobody is to pin it."
    override _.Unpin() = ()
    override _.Dispose(_: bool) = ()

let private restless (pieces: byte[][]) : ReadOnlyMemory<byte> list =
    let ballast = Array.create pieces.Length Array.empty

    [
        for index, piece in Array.indexed pieces do
            Memory.op_Implicit (new RestlessMemory(index, piece, ballast)).Memory
    ]

// Each behind something that nobody needs: so there is a place to be moved to.
let private amidGarbage (pieces: byte[][]) : byte[] list = [
    for piece in pieces do
        Array.zeroCreate<byte> 50_000 |> GC.KeepAlive
        Array.copy piece
]

let private whileMemoryIsMoved (work: unit -> unit) =
    use isOver = new ManualResetEventSlim()

    let moving =
        Thread(fun () ->
            while not isOver.IsSet do
                moveMemory ())

    moving.Start()

    try
        work ()
    finally
        isOver.Set()
        moving.Join()

let private manyPieces =
    Array.init Libc.mostPieces (fun index -> piece index (50_000 + index))

// Sends them, and what the other side has received of that is what was sent.
let private sendsThese (client: Socket) (descriptor: int) (pieces: ReadOnlyMemory<byte> list) =
    let sent = Libc.sendPieces descriptor (sequence pieces)
    Expect.equal sent.Error SocketError.Success "sent"
    let received = receiveExactly client sent.Count

    if not (received.AsSpan().SequenceEqual(ReadOnlySpan(Array.concat manyPieces, 0, sent.Count))) then
        failtest "something else was sent"

let tests =
    testList "Libc" [
        test "pieces are sent in order by one call, the first eight of them" {
            withConnection (fun client descriptor ->
                for count in 0..12 do
                    let pieces = [
                        for index in 1..count -> piece index (if index % 3 = 0 then 0 else index * 100)
                    ]

                    let first = pieces |> List.truncate Libc.mostPieces |> Array.concat
                    let sent = Libc.sendPieces descriptor (sequence (List.map ReadOnlyMemory pieces))
                    Expect.equal sent.Error SocketError.Success $"{count} pieces"
                    Expect.equal sent.Count first.Length $"{count} pieces: as many bytes"
                    Expect.equal (receiveExactly client first.Length) first $"{count} pieces: these")
        }

        test "what is there is received into one space after the other, up to where it ends" {
            withConnection (fun client descriptor ->
                for count in 1 .. Libc.mostPieces do
                    let spaces =
                        Array.init count (fun index ->
                            ArraySegment(Array.zeroCreate<byte> 300, 100, 100 + index))

                    let room = spaces |> Array.sumBy _.Count
                    let bytes = piece count (room - 30)
                    client.Send bytes |> ignore
                    Expect.equal (receivePieces descriptor spaces) bytes.Length $"{count} spaces"
                    let received = spaces |> Array.collect _.ToArray()

                    Expect.equal
                        received
                        (Array.append bytes (Array.zeroCreate 30))
                        $"{count} spaces: the bytes")
        }

        // A piece that is moved while the system does not know it sends what lies there then.
        test "each piece stays where it is while others are looked for" {
            withConnection (fun client descriptor -> restless manyPieces |> sendsThese client descriptor)
        }

        test "each piece stays where it is until all are sent" {
            withConnection (fun client descriptor ->
                whileMemoryIsMoved (fun () ->
                    for _ in 1..500 do
                        // New ones in each round: what has survived for a while is moved no more.
                        amidGarbage manyPieces
                        |> List.map ReadOnlyMemory
                        |> sendsThese client descriptor))
        }
    ]
