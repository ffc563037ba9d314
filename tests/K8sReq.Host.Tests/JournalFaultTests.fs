/// The published program with a journal whose disk fails, is full or is damaged, and what has happened to other systems of its
/// kind: each test is named after what happened.
module K8sReq.Host.Tests.JournalFaultTests

open System
open System.IO
open System.Text
open System.Text.RegularExpressions
open System.Threading.Tasks
open Expecto
open K8sReq.TestKit
open K8sReq.Host.Tests.JournalTests

/// Two RequestClones: a durable one of a.example, and one in memory of b.example.
let private routes (folder: TestFolder) (durable: int) (memory: int) : unit =
    folder.Write(
        "routes/all.yaml",
        route "durable" durable ""
        + (route "memory" memory ", durability: Memory").Replace("a.example", "b.example")
    )

let private send (port: int) (host: string) (body: string) =
    TestClient.roundTrip
        port
        $"POST / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {body.Length}\r\n\r\n{body}"

/// A target in memory gets its copies, whatever the journal does.
let private isServedFromMemory (port: int) (memory: TestTarget) = task {
    let! answer = send port "b.example" "memory"
    Expect.equal (TestClient.status answer) 202 "in memory"
    let! copy = memory.Next()
    Expect.equal copy.Text "memory" "delivered"
}

/// Nothing can be kept: the sender is told so, and when to come back.
let private isRefused (port: int) (body: string) = task {
    let! answer = send port "a.example" body
    Expect.equal (TestClient.status answer) 503 "not acknowledged"
    Expect.isNonEmpty (answer.Values "Retry-After") "later"
}

let private accepts (port: int) (numbers: int seq) = task {
    for number in numbers do
        let! status = post port number
        Expect.equal status (Some 202) "acknowledged"
}

/// Sends one number after the other until one is acknowledged, and gives that one.
let private untilAccepted (port: int) (first: int) : Task<int> = task {
    let mutable number = first - 1

    do!
        Waiting.until "a request to be acknowledged" (fun () -> task {
            number <- number + 1
            let! status = post port number
            return status = Some 202
        })

    return number
}

let private says (program: PublishedProgram) (pattern: string) : int = Regex.Count(program.Errors, pattern)

/// Makes calls of a running program fail with EIO, until it is told to end; each is a line of the trace.
let private failing (program: PublishedProgram) (calls: string) (trace: string) : Task<PublishedProgram> =
    task {
        let strace =
            PublishedProgram.StartAt(
                InstalledTool.path "strace",
                [
                    "-f"
                    "-o"
                    trace
                    "-e"
                    $"trace={calls}"
                    "-e"
                    $"inject={calls}:error=EIO"
                    "-p"
                    string program.Id
                ],
                []
            )

        do!
            Waiting.until "strace to be attached" (fun () ->
                Task.FromResult(strace.HasExited || strace.Errors.Contains "attached"))

        if strace.HasExited then
            skiptest $"strace cannot attach: {strace.Errors}"

        return strace
    }

/// Lets the calls succeed again.
let private heal (strace: PublishedProgram) = task {
    strace.Terminate()
    let! _ = strace.ExitCode()
    return ()
}

/// A volume of so many megabytes in memory, mounted on a folder. The test is skipped where nobody may mount.
[<Sealed>]
type private Volume(folder: string, options: string) =
    do
        Directory.CreateDirectory folder |> ignore

        match
            InstalledTool.run (InstalledTool.path "mount") [ "-t"; "tmpfs"; "-o"; options; "tmpfs"; folder ]
        with
        | 0, _, _ -> ()
        | _, _, errors -> skiptest $"cannot mount a volume: {errors.Trim()}"

    /// Changes the options of the mount.
    member _.Remount(options: string) : unit =
        InstalledTool.succeed (InstalledTool.path "mount") [ "-o"; $"remount,{options}"; folder ]
        |> ignore

    /// Takes all the space that is left.
    member _.Fill() : unit =
        try
            use filler = File.Create(Path.Combine(folder, "filler"))
            let bytes = Array.zeroCreate<byte> 4096

            while true do
                filler.Write(bytes, 0, bytes.Length)
                filler.Flush()
        with :? IOException ->
            ()

    /// Gives back what `Fill` has taken.
    member _.Empty() : unit =
        File.Delete(Path.Combine(folder, "filler"))

    interface IDisposable with
        member _.Dispose() =
            let isGone () =
                let code, _, _ = InstalledTool.run (InstalledTool.path "umount") [ folder ]
                Task.FromResult((code = 0))

            // A process that was killed a moment ago may have it still.
            (Waiting.until "the volume to be given back" isGone).GetAwaiter().GetResult()

/// A journal with the requests 1 to 30, each of them a commit of its own, left by a clean stop or by a kill. Gives the port of
/// the target, where nobody listens.
let private leave (folder: TestFolder) (memory: int) (isKilled: bool) : Task<int> = task {
    let away = TestTarget.refusedPort ()
    routes folder away memory
    let! program, port, _ = start folder []
    use program = program
    let! _ = journalIsOpen program
    do! accepts port [ 1..30 ]

    if isKilled then program.Kill() else program.Terminate()

    let! _ = program.ExitCode()
    return away
}

let private database (folder: TestFolder) = folder.At "journal/k8sreq.db"

let private flip (path: string) (offset: int64) (count: int) : unit =
    use file = File.Open(path, FileMode.Open)
    file.Position <- if offset < 0L then file.Length + offset else offset
    let bytes = Array.zeroCreate<byte> count
    file.ReadExactly(bytes, 0, count)
    file.Position <- file.Position - int64 count
    file.Write(bytes |> Array.map (fun byte -> byte ^^^ 0x55uy), 0, count)

let private cutTo (share: float) (path: string) : unit =
    use file = File.Open(path, FileMode.Open)
    file.SetLength(int64 (share * float file.Length))

// Of the journal.
let private pageSize = 8192

/// What is damaged is told, and the program lives: nothing durable is taken, memory is served.
let private damaged (name: string) (spoil: string -> unit) =
    testCaseTask name
    <| fun () -> task {
        use folder = new TestFolder()
        use memory = TestTarget.ok ()
        let! _ = leave folder memory.Port false
        spoil (database folder)
        let! program, port, _ = start folder []
        use program = program
        let! _ = program.Says @"Journal unavailable: .*k8sreq\.db is damaged .*: restore it"
        do! isRefused port "31"
        do! isServedFromMemory port memory
        // The time of several attempts to open it.
        do! isRefused port "32"
        Expect.equal (says program "Journal unavailable") 1 "told once"
        program.Terminate()
        let! code = program.ExitCode()
        Expect.equal code 0 "it lived until it was told to end"
    }

// The line of a log that was damaged.
let private damagedLog = @"k8sreq\.db-wal was damaged"

let private damagedPart =
    damagedLog
    + @": a part of it cannot be read, and up to (\d+) commits do not count\. .*may be lost"

/// What is intact of the log is recovered, in its order; what came after the damage is not there. `told`: the line that says so;
/// None where it looks like a write that was begun.
let private torn (name: string) (told: string option) (spoil: string -> unit) =
    testCaseTask name
    <| fun () -> task {
        use folder = new TestFolder()
        use memory = TestTarget.ok ()
        let! away = leave folder memory.Port true
        spoil (database folder + "-wal")
        use late = TestTarget.at away
        let! program, port, metrics = start folder []
        use program = program
        let! recovered = journalIsOpen program
        let recovered = int recovered
        Expect.isTrue (recovered > 0 && recovered < 30) $"a part of it: {recovered}"

        match told with
        | Some pattern ->
            let! lost = program.Says pattern
            Expect.isGreaterThanOrEqual (int lost) (30 - recovered) "and what is said is not less"
        | None -> Expect.equal (says program damagedLog) 0 "nothing to tell"

        do! accepts port [ 31 ]
        let expected = [ 1..recovered ] @ [ 31 ]
        let! seen = receives late (Set.ofList expected) |> Waiting.within "what was intact"
        do! nothingIsPending metrics
        Expect.equal (List.sort seen) expected "each once"
        do! isServedFromMemory port memory
    }

/// What a target has got of a request, but for the length that the end of a chunked body becomes.
let private facts (message: HttpMessage.Message) =
    message.Start, message.Fields, Convert.ToHexString message.Body

let tests =
    testSequenced
    <| testList "the journal's faults" [
        testCaseTask
            "the disk failed to sync: 503, told once; nothing but a restart helped, what was delivered meanwhile was sent again"
        <| fun () -> task {
            use folder = new TestFolder()
            use memory = TestTarget.ok ()
            let away = TestTarget.refusedPort ()
            routes folder away memory.Port
            let! program, port, metrics = start folder []
            use program = program
            let! _ = journalIsOpen program
            do! accepts port [ 1..10 ]
            use! strace = failing program "fsync,fdatasync" (folder.At "trace")
            let mutable number = 10

            do!
                Waiting.until "several attempts to fail" (fun () -> task {
                    number <- number + 1
                    do! isRefused port (string number)
                    return (File.ReadAllLines(folder.At "trace")).Length >= 5
                })

            do! isServedFromMemory port memory
            // What was accepted goes on being delivered; that it has been cannot be written now.
            use late = TestTarget.at away
            let! before = receives late (set [ 1..10 ]) |> Waiting.within "what was acknowledged"
            Expect.equal (says program "Journal unavailable") 1 "told once"
            do! heal strace
            let! last = untilAccepted port (number + 1)
            let! _ = program.Says "Journal .* works again"
            do! accepts port [ last + 1 .. last + 10 ]

            let! after =
                receives late (set [ last .. last + 10 ]) |> Waiting.within "what came after"

            do! nothingIsPending metrics
            Expect.equal (List.sort (before @ after)) ([ 1..10 ] @ [ last .. last + 10 ]) "each once"
            Expect.equal (says program "Journal unavailable") 1 "one run of failures"
            program.Terminate()
            let! _ = program.ExitCode()
            let! program, _, _ = start folder []
            use program = program
            let! recovered = journalIsOpen program
            Expect.equal recovered "0" "nothing is left"
            Expect.equal late.Waiting 0 "and nothing came again"
        }

        testCaseTask "it was acknowledged before it was recorded, or the file was synced and its folder not"
        <| fun () -> task {
            use folder = new TestFolder()
            use good = TestTarget.ok ()
            folder.Write("routes/all.yaml", route "durable" good.Port "")
            let trace = folder.At "trace"

            use program =
                PublishedProgram.StartUnder(
                    InstalledTool.path "strace",
                    [
                        "-D"
                        "-f"
                        "-y"
                        "-s"
                        "4000"
                        "-o"
                        trace
                        "-e"
                        "trace=fsync,fdatasync,pwrite64,sendmsg,sendto,write,writev"
                    ],
                    [
                        "--manifests"
                        folder.At "routes"
                        "--journal"
                        folder.At "journal"
                        // An answer that does not wait for the commit comes long before it.
                        "--journal-linger=100ms"
                    ]
                    @ free
                )

            do!
                Waiting.until "the program to start" (fun () ->
                    if program.HasExited && program.Errors.Contains "strace: " then
                        skiptest $"strace cannot trace: {program.Errors}"

                    if program.HasExited then
                        failtest $"the program ended: {program.Errors}"

                    Task.FromResult(says program @"Journal .* opened" = 1 && says program "Routes: " = 1))

            let! port = program.Says @"Proxy listening on port (\d+)"
            // The last one is looked at: the first ones are slow, and might be recorded meanwhile.
            do! accepts (int port) [ 1..5 ]
            program.Kill()
            let! _ = program.ExitCode()
            // A call that others interrupt in the trace ends on a line of its own, which has no path.
            let lines = File.ReadAllLines trace |> List.ofArray

            let firstOf (pattern: string) =
                lines |> List.tryFindIndex (fun line -> Regex.IsMatch(line, pattern))

            let endOf (call: string) (path: string) =
                firstOf $@" {call}\(\d+<{Regex.Escape path}>"
                |> Option.bind (fun began ->
                    let thread = lines[began].Split(' ')[0]

                    if lines[began].Contains "unfinished" then
                        lines
                        |> List.indexed
                        |> List.skip (began + 1)
                        |> List.tryFind (fun (_, line) -> Regex.IsMatch(line, $"^{thread} .*resumed.* = 0"))
                        |> Option.map fst
                    elif lines[began].EndsWith "= 0" then
                        Some began
                    else
                        None)

            let answers =
                lines
                |> List.indexed
                |> List.filter (fun (_, line) -> line.Contains "HTTP/1.1 202")
                |> List.map fst

            Expect.hasLength answers 5 "answers"

            let isBefore (synced: int option) =
                synced |> Option.exists (fun line -> line < answers[0])

            Expect.isTrue
                (isBefore (endOf "f(data)?sync" (folder.At "journal/k8sreq.db-wal")))
                "the log is synced before the answer"

            Expect.isTrue (isBefore (endOf "fsync" (folder.At "journal"))) "and so is its folder"

            Expect.isTrue (isBefore (endOf "fsync" folder.Path)) "and the one above, as the folder is new"

            let toLog = Regex @" (write|pwrite64|fsync|fdatasync)\(\d+<[^>]*k8sreq\.db-wal>"

            let calls =
                lines
                |> List.indexed
                |> List.filter (fun (index, line) ->
                    index > answers[3] && index < answers[4] && toLog.IsMatch line)
                |> List.map (fun (_, line) -> (toLog.Match line).Groups[1].Value)

            let sinceWritten = calls |> List.skipWhile (fun call -> not (call.Contains "write"))
            Expect.isNonEmpty sinceWritten "the request is written before its answer"
            Expect.exists sinceWritten (fun call -> call.Contains "sync") "and synced"
        }

        testCaseTask "a volume that others fill: 503, told once; with room again it goes on"
        <| fun () -> task {
            use folder = new TestFolder()
            use volume = new Volume(folder.At "journal", "size=64m")
            use memory = TestTarget.ok ()
            let away = TestTarget.refusedPort ()
            routes folder away memory.Port
            let! program, port, metrics = start folder []
            use program = program
            let! _ = journalIsOpen program
            do! accepts port [ 1..10 ]
            volume.Fill()
            do! isRefused port "11"

            let! _ =
                program.Says @"Journal unavailable: no space left for .*k8sreq\.db: make room"

            do! isRefused port "12"
            do! isServedFromMemory port memory
            volume.Empty()
            let! last = untilAccepted port 13
            let! _ = program.Says "Journal .* works again"
            use late = TestTarget.at away

            let! seen =
                receives late (set [ yield! [ 1..10 ]; last ]) |> Waiting.within "every request"

            do! nothingIsPending metrics
            Expect.equal (List.sort seen) ([ 1..10 ] @ [ last ]) "each once, and nothing that was refused"
            Expect.equal (says program "Journal unavailable") 1 "told once"
        }

        testCaseTask
            "a volume that the journal fills itself: what was acknowledged is delivered, and then there is room again"
        <| fun () -> task {
            use folder = new TestFolder()
            use _ = new Volume(folder.At "journal", "size=64m")
            use memory = TestTarget.ok ()
            let away = TestTarget.refusedPort ()
            routes folder away memory.Port
            let mutable accepted = []

            do! task {
                let! program, port, _ = start folder []
                use program = program
                let! _ = journalIsOpen program
                let mutable number = 0
                let mutable isFull = false

                while not isFull && number < 1000 do
                    number <- number + 1
                    let! answer = send port "a.example" (string<int>(number).PadLeft(100_000, '0'))

                    if TestClient.status answer = 202 then
                        accepted <- number :: accepted
                    else
                        isFull <- true

                Expect.isTrue (isFull && accepted.Length > 50) $"full after {accepted.Length}"
                let! _ = program.Says "Journal unavailable: no space left"
                do! isServedFromMemory port memory
                program.Kill()
                let! _ = program.ExitCode()
                return ()
            }

            use late = TestTarget.at away
            let! program, port, metrics = start folder []
            use program = program
            let! recovered = journalIsOpen program
            Expect.equal (int recovered) accepted.Length "all of them"
            let! _ = receives late (Set.ofList accepted) |> Waiting.within "every request"
            do! nothingIsPending metrics
            let! last = untilAccepted port 1001
            let! _ = receives late (set [ last ]) |> Waiting.within "what came after"
            ()
        }

        testCaseTask "a folder that cannot be written: told once, and used once it can be"
        <| fun () -> task {
            use folder = new TestFolder()
            use volume = new Volume(folder.At "journal", "ro")
            use memory = TestTarget.ok ()
            use good = TestTarget.ok ()
            routes folder good.Port memory.Port
            let! program, port, _ = start folder []
            use program = program

            let! _ =
                program.Says @"Journal unavailable: .*k8sreq\.db cannot be written: .*Check the volume"

            do! isRefused port "1"
            do! isServedFromMemory port memory
            volume.Remount "rw"
            let! _ = journalIsOpen program
            do! accepts port [ 2 ]
            let! _ = receives good (set [ 2 ]) |> Waiting.within "the request"
            Expect.equal (says program "Journal unavailable") 1 "told once"
        }

        damaged "the database's header was overwritten" (fun file -> flip file 0L 100)

        damaged "half of the database was missing" (cutTo 0.5)

        damaged "the schema's page was damaged" (fun file -> flip file 100L 8)

        damaged "every page but the first was damaged" (fun file ->
            for offset in int64 pageSize .. int64 pageSize .. FileInfo(file).Length - 1L do
                flip file offset 8)

        torn "the end of the log was missing" None (cutTo 0.9)

        torn "bytes at the end of the log were flipped" (Some damagedPart) (fun file -> flip file -9000L 3)

        torn "bytes in the midst of the log were flipped" (Some damagedPart) (fun file ->
            flip file (32L + (FileInfo(file).Length - 32L) / 2L) 3)

        testCaseTask "the log's beginning was overwritten: told, kept, and what comes is taken"
        <| fun () -> task {
            use folder = new TestFolder()
            use memory = TestTarget.ok ()
            let! away = leave folder memory.Port true
            let log = database folder + "-wal"
            flip log 0L 32
            let before = File.ReadAllBytes log
            use late = TestTarget.at away
            let! program, port, metrics = start folder []
            use program = program

            let! _ =
                program.Says(damagedLog + ": its beginning cannot be read, and nothing of it counts")

            let! recovered = journalIsOpen program
            Expect.equal recovered "0" "nothing of it"
            Expect.isTrue (File.ReadAllBytes(log + ".damaged") = before) "kept as it was"
            do! accepts port [ 31 ]
            let! _ = receives late (set [ 31 ]) |> Waiting.within "what came after"
            do! nothingIsPending metrics
        }

        testCaseTask "a stop amid a batch forgot what had been delivered"
        <| fun () -> task {
            use folder = new TestFolder()
            use good = TestTarget.ok ()
            folder.Write("routes/all.yaml", route "good" good.Port "")

            do! task {
                let! program, port, _ = start folder []
                use program = program
                let! _ = journalIsOpen program

                do! Task.WhenAll [ for part in [ 1..100 ] |> List.splitInto 4 -> accepts port part :> Task ]

                let! _ = receives good (set [ 1..100 ]) |> Waiting.within "every request"
                // Without the time to write what has just been delivered.
                program.Terminate()
                let! code = program.ExitCode()
                Expect.equal code 0 "stopped as asked"
            }

            let! program, _, _ = start folder []
            use program = program
            let! recovered = journalIsOpen program
            Expect.equal recovered "0" "nothing is to be sent again"
            Expect.equal good.Waiting 0 "and nothing was"
        }

        testCaseTask "storage changed what it kept"
        <| fun () -> task {
            use folder = new TestFolder()
            use live = TestTarget.ok ()
            let away = TestTarget.refusedPort ()

            folder.Write(
                "routes/all.yaml",
                route "live" live.Port ", durability: Memory" + route "away" away ""
            )

            let everyByte = String(Array.init 256 char)
            let large = String(Array.init 1_200_000 (fun index -> char (index * 7 % 251)))

            let chunked =
                large
                |> Seq.chunkBySize 70_000
                |> Seq.map (fun chunk -> $"{chunk.Length:x}\r\n{String chunk}\r\n")
                |> String.concat ""

            let requests = [
                $"POST /every/byte HTTP/1.1\r\nHost: a.example\r\nContent-Length: 256\r\n\r\n{everyByte}"
                "PUT /a%FF//..;x?q=%0D%0A&&==%C3%A9 HTTP/1.1\r\nHost: a.example\r\nX-Odd: \u00e9\u0080\u00ff\r\nX-Empty:\r\n"
                + "x-twice: 2\r\nX-Twice: 1\r\nContent-Length: 0\r\n\r\n"
                "DELETE /none HTTP/1.1\r\nHost: a.example\r\n\r\n"
                $"POST /large HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}0\r\n\r\n"
            ]

            let! sent = task {
                let! program, port, _ = start folder []
                use program = program
                let! _ = journalIsOpen program

                for request in requests do
                    let! answer = TestClient.roundTrip port request
                    Expect.equal (TestClient.status answer) 202 (request.Substring(0, 10))

                let! sent = live.Take requests.Length
                program.Kill()
                let! _ = program.ExitCode()
                return sent
            }

            use late = TestTarget.at away
            let! program, _, _ = start folder []
            use _ = program
            let! kept = late.Take requests.Length

            Expect.equal
                (kept |> List.map facts |> List.sort)
                (sent |> List.map facts |> List.sort)
                "the same"

            for body in [ everyByte; large ] do
                Expect.exists kept (fun copy -> copy.Text = body) "what was sent"
        }
    ]
