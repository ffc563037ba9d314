/// What a journal in a folder keeps to beyond what every journal does.
module K8sReq.Journal.Tests.SqliteStoreTests

open System
open System.IO
open System.Threading.Tasks
open Expecto
open K8sReq.Core
open K8sReq.Proxy
open K8sReq.Journal
open K8sReq.Journal.Sqlite
open K8sReq.TestKit
open K8sReq.Journal.Tests.JournalBench

let tests =
    testList "SQLite" [
        testCaseTask
            "a folder that another program uses is refused in words, and used once that program has ended"
        <| fun () -> task {
            use folder = new TestFolder()
            let first = new Bench(folder.At "journal")
            let! _ = first.Found
            use second = new Bench(folder.At "journal")

            do! Waiting.until "the fault" (fun () -> Task.FromResult((second.Faults.Length = 1)))

            match second.Faults with
            | [ JournalFault.InUse file ] -> Expect.stringContains file "k8sreq.db" "which"
            | other -> failtest $"{other}"

            let request = requestOf "abc"B [ shop "a", false ] ignore
            let! isKept = kept second.Store request
            Expect.isFalse isKept "refused at once"
            (first :> IDisposable).Dispose()
            let! _ = second.Found
            do! append second (requestOf "abc"B [ shop "a", false ] ignore)
        }

        testCaseTask "a file of a later version is refused, and left as it is"
        <| fun () -> task {
            use folder = new TestFolder()
            let file = JournalFile.pathIn (folder.At "journal")

            do! task {
                use bench = new Bench(folder.At "journal")
                do! append bench (requestOf "abc"B [ shop "a", false ] ignore)
            }

            do
                use database = new Database(file)
                database.Execute "PRAGMA user_version = 99"

            let before = File.ReadAllBytes file
            use bench = new Bench(folder.At "journal")
            do! Waiting.until "the fault" (fun () -> Task.FromResult((bench.Faults.Length = 1)))
            Expect.equal bench.Faults [ JournalFault.TooNew(file, 99L) ] "why"
            Expect.equal (File.ReadAllBytes file) before "the same bytes"
        }

        testCaseTask "a file that is none is refused in words"
        <| fun () -> task {
            use folder = new TestFolder()
            let file = JournalFile.pathIn (folder.At "journal")
            folder.Write("journal/k8sreq.db", String('x', 10_000))
            use bench = new Bench(folder.At "journal")
            do! Waiting.until "the fault" (fun () -> Task.FromResult((bench.Faults.Length = 1)))

            match bench.Faults with
            | [ JournalFault.Corrupt(path, _) ] -> Expect.equal path file "which"
            | other -> failtest $"{other}"
        }

        testCaseTask "a commit waits for others for the linger, but not where there are many already"
        <| fun () -> task {
            let queue = JournalQueue(TimeSpan.FromHours 1.0)
            let next = Task.Run(fun () -> queue.Next(ValueNone, ValueNone))

            let post () =
                queue.Post(JournalWork.Drop(shop "a", TaskCompletionSource<int>()))

            for _ in 1..31 do
                post ()

            Expect.isFalse next.IsCompleted "it waits for more"
            post ()
            let! batch = next |> Waiting.within "the batch"
            Expect.equal (batch |> Option.map _.Count) (Some 32) "all of them"
        }

        testCaseTask
            "a completion that follows a batch is a batch of its own after a while, and what is due is too"
        <| fun () -> task {
            let queue = JournalQueue TimeSpan.Zero

            let next due =
                Task.Run(fun () -> queue.Next(ValueNone, due))

            queue.Post(JournalWork.Drop(shop "a", TaskCompletionSource<int>()))
            let! first = next ValueNone |> Waiting.within "the first"
            Expect.equal (first |> Option.map _.Count) (Some 1) "the first"
            let second = next ValueNone
            queue.Post(JournalWork.Unpack 1L)
            let! second = second |> Waiting.within "the completion"
            Expect.equal (second |> Option.map _.Count) (Some 1) "the completion"

            let! third =
                next (ValueSome(TimeSpan.FromMilliseconds 10.0))
                |> Waiting.within "what is due soon"

            Expect.equal (third |> Option.map _.Count) (Some 0) "due soon"

            let! fourth =
                next (ValueSome(TimeSpan.FromMilliseconds 70.0))
                |> Waiting.within "what is due later"

            Expect.equal (fourth |> Option.map _.Count) (Some 0) "due later"
            queue.Stop()
            let! last = next ValueNone |> Waiting.within "the end"
            Expect.isNone last "the end"
        }

    ]
