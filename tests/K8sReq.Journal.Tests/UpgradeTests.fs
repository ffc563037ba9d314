/// Journals that earlier versions have written. The files are kept as those versions left them, for all later ones to read.
module K8sReq.Journal.Tests.UpgradeTests

open System
open System.IO
open System.Text
open Expecto
open K8sReq.Core
open K8sReq.Journal
open K8sReq.Journal.Sqlite
open K8sReq.TestKit
open K8sReq.Journal.Tests.JournalBench

let private fileOf (version: int) =
    Path.Combine(AppContext.BaseDirectory, "files", $"version-{version}.db")

let tests =
    testList "upgrade" [
        testCaseTask
            "a journal of format 1 is read, its copies are sent, and its format is today's from then on"
        <| fun () -> task {
            use folder = new TestFolder()
            let file = JournalFile.pathIn (folder.At "journal")
            Directory.CreateDirectory(folder.At "journal") |> ignore
            File.Copy(fileOf 1, file)

            do! task {
                // Long after it was written: what waited for its next attempt is due.
                let clock = TestClock()
                clock.SetUtcNow(DateTimeOffset(2100, 1, 1, 0, 0, 0, TimeSpan.Zero))
                use bench = new Bench(folder.At "journal", clock)
                let! found = bench.FoundCopies
                Expect.equal found [ "kept", 3L ] "what waits"
                let! taken = take bench (ObjectKey.create "default" "kept")
                Expect.equal (taken |> List.map _.Attempts) [ 1; 1; 1 ] "attempts count"

                let bodies = [
                    for copy in taken -> (Encoding.ASCII.GetString(bodyOf copy).Split "\r\n\r\n")[1]
                ]

                Expect.equal (List.sort bodies) [ """{"n": 1}"""; """{"n": 2}"""; """{"n": 3}""" ] "the bytes"
            }

            use database = new Database(file)
            Expect.equal (database.Number "PRAGMA user_version") JournalFile.version "the format"
        }

        for version in [ 2; 3 ] do
            testCaseTask
                $"a journal of format {version} is read: its copies, its dead letters, and what is to be sent to a sink"
            <| fun () -> task {
                use folder = new TestFolder()
                Directory.CreateDirectory(folder.At "journal") |> ignore
                File.Copy(fileOf version, JournalFile.pathIn (folder.At "journal"))
                let clock = TestClock()
                clock.SetUtcNow(DateTimeOffset(2100, 1, 1, 0, 0, 0, TimeSpan.Zero))
                use bench = new Bench(folder.At "journal", clock)
                let! found = bench.Found
                let! waiting = bench.FoundCopies
                Expect.equal waiting [ "kept", 3L ] "what waits"
                let dead = ObjectKey.create "default" "dead"

                Expect.equal
                    (found.Letters |> List.map (fun (clone, count) -> clone, count.Letters))
                    [ dead, 3L ]
                    "dead letters"

                Expect.equal found.Unsent [ dead ] "for a sink"
                let! letters = bench.Journal.DeadLetters DeadLetterFilter.everything

                Expect.equal
                    (letters
                     |> Option.map (
                         List.map (fun letter -> letter.Target, letter.Cause, letter.Outcome, letter.Attempts)
                     ))
                    (Some [ for n in 1..3 -> $"/hooks?n={n}", DeadCause.Refused, "answered 410", 1 ])
                    "what is known of them"

                let! unsent = bench.Journal.UnsentLetters(dead, 10)
                Expect.equal (unsent |> Option.map (List.map _.Code)) (Some [ "410"; "410"; "410" ]) "why"
            }
    ]
