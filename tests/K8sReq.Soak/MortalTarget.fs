/// A target that is a process of its own, so that it can be killed at any moment. It keeps a journal of its answers in a
/// file: what a process has written to a file survives its SIGKILL, as does what it has handed to a socket.
module K8sReq.Soak.MortalTarget

open System
open System.Collections.Generic
open System.IO
open System.Net
open System.Net.Sockets
open System.Text
open System.Threading
open System.Threading.Tasks
open K8sReq.TestKit
open K8sReq.TestKit.HttpMessage

/// A 2xx is about to be sent: from here on the proxy may have it.
let private beginning = 'B'
/// The system has taken all of it: the proxy has it, whatever becomes of this process.
let private sent = 'S'
/// The connection was reset instead of an answer.
let private reset = 'R'
/// A request that no client has sent.
let private damaged = 'D'

// Every seventh copy is answered by a reset.
let private isReset number = number % 7 = 3

let private answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"B

/// Serves on this port of the loopback address (0 for any) until the process is killed.
let serve (port: int) (journal: string) : unit =
    use file =
        new FileStream(journal, FileMode.Append, FileAccess.Write, FileShare.ReadWrite, 0)

    let gate = Lock()

    let note (kind: char) (number: int) =
        let line = Encoding.ASCII.GetBytes $"{kind} {number}\n"
        lock gate (fun () -> file.Write(line, 0, line.Length))

    let behave (client: TcpClient) : Task = task {
        try
            use client = client
            client.NoDelay <- true
            let reader = MessageReader(client.GetStream(), true)
            let mutable isOpen = true

            while isOpen do
                match! reader.Read() with
                | None -> isOpen <- false
                | Some message ->
                    match Payload.tryIdentify message with
                    | None -> note damaged 0
                    | Some number when isReset number ->
                        note reset number
                        client.Client.LingerState <- LingerOption(true, 0)
                        isOpen <- false
                    | Some number ->
                        note beginning number

                        if client.Client.Send answer = answer.Length then
                            note sent number
        with
        | :? IOException
        | :? SocketException -> ()
    }

    let listener = new TcpListener(IPAddress.Loopback, port)
    listener.Start 512
    printfn "target on port %d" (listener.LocalEndpoint :?> IPEndPoint).Port

    while true do
        behave (listener.AcceptTcpClient()) |> ignore

/// What a target's journal says.
type Journal = {
    /// How often each number came whole.
    Copies: Dictionary<int, int>
    /// Copies that were answered 2xx for sure.
    Answered: int64
    /// Copies whose answer was interrupted by the end of the process: the proxy may have got it or not.
    Unknown: int64
    Damaged: int64
}

let private read (path: string) : Journal =
    let copies = Dictionary<int, int>()
    let mutable begun, answered, damages = 0L, 0L, 0L

    for line in File.ReadLines path do
        let number = int (line.Substring 2)

        let came () =
            let before = if copies.ContainsKey number then copies[number] else 0
            copies[number] <- before + 1

        match line[0] with
        | kind when kind = beginning ->
            came ()
            begun <- begun + 1L
        | kind when kind = reset -> came ()
        | kind when kind = sent -> answered <- answered + 1L
        | _ -> damages <- damages + 1L

    {
        Copies = copies
        Answered = answered
        Unknown = begun - answered
        Damaged = damages
    }

/// The target as the soak has it: killed and started again, always on the same port.
[<Sealed>]
type MortalTarget private (journal: string, first: PublishedProgram, port: int) =
    let mutable running = first

    static let start (port: int) (journal: string) : Task<struct (PublishedProgram * int)> = task {
        let program =
            PublishedProgram.StartAt(
                string Environment.ProcessPath,
                [
                    Path.Combine(AppContext.BaseDirectory, "K8sReq.Soak.dll")
                    "target"
                    string<int> port
                    journal
                ],
                [ "HOME", Path.GetTempPath() ]
            )

        let! port = program.Says @"target on port (\d+)"
        return struct (program, int port)
    }

    static member Start(journal: string) : Task<MortalTarget> = task {
        let! struct (program, port) = start 0 journal
        return new MortalTarget(journal, program, port)
    }

    member _.Port = port

    /// SIGKILL, some time without anybody on the port, and a new process.
    member _.KillAndRestart(pause: TimeSpan) : Task = task {
        running.Kill()
        let! _ = running.ExitCode()
        (running :> IDisposable).Dispose()
        do! Task.Delay pause
        let! struct (program, _) = start port journal
        running <- program
    }

    member _.Journal = read journal

    interface IDisposable with
        member _.Dispose() = (running :> IDisposable).Dispose()
