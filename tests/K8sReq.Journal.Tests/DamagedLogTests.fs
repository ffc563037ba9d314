/// What is said of a log that was damaged: nothing that was acknowledged is lost without a word, and nothing is said of what a
/// program leaves that was killed.
module K8sReq.Journal.Tests.DamagedLogTests

open System
open System.IO
open System.Threading.Tasks
open Expecto
open K8sReq.Journal
open K8sReq.Journal.Sqlite
open K8sReq.TestKit
open K8sReq.Journal.Tests.JournalBench

let private logIn (folder: string) =
    JournalFile.logOf (JournalFile.pathIn folder)

/// A folder as a kill leaves it, after so many requests, each a commit of its own.
let private killedAfter (folder: TestFolder) (requests: int) : Task<string> = task {
    use bench = new Bench(folder.At "journal")

    for n in 1..requests do
        do! append bench (requestOf [| byte n |] [ shop "a", true ] ignore)

    return crash folder "image"
}

let private flip (path: string) (offset: int64) =
    use stream = new FileStream(path, FileMode.Open)
    stream.Position <- offset
    let before = stream.ReadByte()
    stream.Position <- offset
    stream.WriteByte(byte before ^^^ 0xFFuy)

let private frameLength = 24L + 8192L

let private kept (folder: string) = logIn folder + ".damaged"

let tests =
    testList "a damaged log" [
        testCaseTask "one that is in order is, and where there is none nothing is said"
        <| fun () -> task {
            use folder = new TestFolder()
            let! image = killedAfter folder 20
            Expect.isGreaterThan (FileInfo(logIn image)).Length frameLength "there is a log"
            Expect.isNone (WalInspection.inspect (logIn image)) "in order"
            Expect.isNone (WalInspection.inspect (folder.At "nothing")) "none"
        }

        testCaseTask
            "what a program leaves that is killed in the midst of a write is in order, over an older log too"
        <| fun () -> task {
            use folder = new TestFolder()
            let! image = killedAfter folder 20
            let older = File.ReadAllBytes(logIn image)

            // The next log begins anew, with letters of its own.
            let! newer = task {
                use bench = new Bench(folder.At "journal")

                for n in 1..10 do
                    do! append bench (requestOf [| byte n |] [ shop "a", true ] ignore)

                return File.ReadAllBytes(logIn (crash folder "second"))
            }

            let inspectBytes (bytes: byte[]) =
                let path = folder.At "cut"
                File.WriteAllBytes(path, bytes)
                WalInspection.inspect path

            Expect.isTrue (newer.Length < older.Length) "there is an older end"

            // A write is begun at the front and ends anywhere.
            for written in 32..1111 .. newer.Length do
                Expect.isNone (inspectBytes newer[.. written - 1]) $"{written} bytes"

                Expect.isNone
                    (inspectBytes (Array.append newer[.. written - 1] older[written..]))
                    $"{written} bytes over an older log"
        }

        testCaseTask "one whose beginning is damaged is told, and kept"
        <| fun () -> task {
            use folder = new TestFolder()
            let! image = killedAfter folder 20
            flip (logIn image) 10L
            let before = File.ReadAllBytes(logIn image)
            use bench = new Bench(image)
            let! found = bench.Found

            let expected = {
                Damage = LogDamage.Header
                Copy = Some(kept image)
            }

            Expect.equal found.Damage (Some expected) "told"
            Expect.isEmpty found.Waiting "nothing of it counts"
            Expect.isTrue (File.ReadAllBytes(kept image) = before) "kept as it was"
            let text = WalInspection.describe (logIn image) expected
            Expect.stringContains text "may be lost" "in words"
        }

        testCaseTask "what is said of damage in any frame is not less than what is lost"
        <| fun () -> task {
            use folder = new TestFolder()
            let! image = killedAfter folder 20
            let intact = File.ReadAllBytes(logIn image)
            let frames = (intact.Length - 32) / int frameLength

            // Where a frame is the last of a commit, and how many commits are in it and behind.
            let commitsFrom (frame: int) =
                seq { frame .. frames - 1 }
                |> Seq.filter (fun frame ->
                    intact.AsSpan(32 + frame * int frameLength + 4, 4).ContainsAnyExcept 0uy)
                |> Seq.length

            let mutable silent = 0

            for frame in 0 .. frames - 1 do
                // Its size of the database, its salts, its checksum, its page.
                for part in [ 7; 8; 16; 24; 5000 ] do
                    let path = folder.At "one"
                    File.WriteAllBytes(path, intact)
                    flip path (32L + int64 frame * frameLength + int64 part)
                    let lost = commitsFrom frame

                    match WalInspection.inspect path with
                    | Some(LogDamage.Commits told) ->
                        // One more where nobody can know whether the frame was the last of a commit.
                        Expect.isTrue
                            (told = lost || told = lost + 1)
                            $"frame {frame}, byte {part}: {told} for {lost}"
                    | None ->
                        // As a write that was begun.
                        Expect.equal lost 1 $"frame {frame}, byte {part}: the last commit alone"
                        silent <- silent + 1
                    | other -> failtest $"{other}"

            Expect.isGreaterThan silent 0 "both are there"
        }

        testCaseTask "a log that cannot be copied opens all the same"
        <| fun () -> task {
            use folder = new TestFolder()
            let! image = killedAfter folder 5
            flip (logIn image) 10L
            Directory.CreateDirectory(kept image) |> ignore
            use bench = new Bench(image)
            let! found = bench.Found

            Expect.equal
                found.Damage
                (Some {
                    Damage = LogDamage.Header
                    Copy = None
                })
                "told"

            Expect.isEmpty bench.Faults "and open"
        }

        testCaseTask "the log of a journal that another program has open is left alone"
        <| fun () -> task {
            use folder = new TestFolder()
            use other = new Bench(folder.At "journal")

            for n in 1..20 do
                do! append other (requestOf [| byte n |] [ shop "a", true ] ignore)

            // As it may look between two reads of a log that is begun anew.
            flip (logIn (folder.At "journal")) 10L
            use bench = new Bench(folder.At "journal")

            do!
                Waiting.until "the journal to be refused" (fun () ->
                    Task.FromResult(not bench.Faults.IsEmpty))

            match bench.Faults with
            | [ JournalFault.InUse _ ] -> ()
            | faults -> failtest $"{faults}"

            Expect.isFalse (File.Exists(kept (folder.At "journal"))) "not looked at"
            flip (logIn (folder.At "journal")) 10L
        }

        testCaseTask "damage is told by the opening, however many attempts it takes"
        <| fun () -> task {
            use folder = new TestFolder()
            let journal = folder.At "journal"

            // The tables are in the file, and the requests in the log.
            do! task {
                use bench = new Bench(journal)
                do! append bench (requestOf "first"B [ shop "a", true ] ignore)
            }

            let letters =
                use database = new Database(JournalFile.pathIn journal)

                8192L
                * (database.Number "SELECT rootpage FROM sqlite_schema WHERE name = 'dead_letters'"
                   - 1L)

            let! image = killedAfter folder 20
            flip (logIn image) (32L + frameLength * 5L + 100L)
            // Its first attempt fails as the table is read: SQLite has cut the log by then.
            flip (JournalFile.pathIn image) letters
            use bench = new Bench(image)

            do!
                Waiting.until "the first attempt to fail" (fun () ->
                    Task.FromResult(not bench.Faults.IsEmpty))

            Expect.equal
                (FileInfo(JournalFile.logOf (JournalFile.pathIn image)).Exists)
                false
                "the log is gone"

            flip (JournalFile.pathIn image) letters
            let! found = bench.Found
            Expect.isSome found.Damage "told"
            Expect.isTrue (File.Exists(kept image)) "and kept"
        }

        testCaseTask "one with a damaged part is told with what comes after it; what comes before is there"
        <| fun () -> task {
            use folder = new TestFolder()
            let! image = killedAfter folder 20
            let frames = ((FileInfo(logIn image)).Length - 32L) / frameLength
            flip (logIn image) (32L + frameLength * (frames / 2L) + 100L)
            use bench = new Bench(image)
            let! found = bench.Found

            match found.Damage with
            | Some { Damage = LogDamage.Commits lost } ->
                let! copies = bench.FoundCopies
                let there = copies |> List.sumBy snd
                Expect.isTrue (there > 0L && there < 20L) $"{there} are there"
                // A request is a commit of its own, and so is the opening.
                Expect.isTrue
                    (int64 lost >= 20L - there && int64 lost <= 22L - there)
                    $"{lost} of {20L - there} commits are missing"
            | other -> failtest $"{other}"
        }

        testCaseTask "a log that was cut is in order: its end may never have been written"
        <| fun () -> task {
            use folder = new TestFolder()
            let! image = killedAfter folder 20
            use stream = new FileStream(logIn image, FileMode.Open)
            stream.SetLength(stream.Length - 100L)
            stream.Dispose()
            Expect.isNone (WalInspection.inspect (logIn image)) "nothing is known"
        }
    ]
