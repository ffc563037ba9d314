/// What is said of a log that was damaged: nothing that was acknowledged is lost without a word, and nothing is said of what a
/// program leaves that was killed.
module K8sReq.Journal.Tests.DamagedLogTests

open System.IO
open System.Threading.Tasks
open Expecto
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

            // The next log begins anew, with numbers of its own.
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
            use bench = new Bench(image)
            let! found = bench.Found
            Expect.equal found.Damage (Some LogDamage.Header) "told"
            Expect.isTrue (File.Exists(logIn image + ".damaged")) "kept"
            let text = WalInspection.describe (logIn image) LogDamage.Header
            Expect.stringContains text "may be lost" "in words"
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
            | Some(LogDamage.Commits lost) ->
                let! copies = bench.FoundCopies
                let there = copies |> List.sumBy snd
                Expect.isTrue (there > 0L && there < 20L) $"{there} are there"
                // The damaged frame's own commit may or may not be among those after it.
                Expect.isTrue (int64 lost >= 19L - there) $"{lost} of {20L - there} commits are missing"
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
