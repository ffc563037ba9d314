/// Packs: requests that are written, and removed, together.
module K8sReq.Journal.Tests.PackTests

open System
open System.Buffers
open System.Threading.Tasks
open Expecto
open FsCheck
open FsCheck.FSharp
open K8sReq.Core
open K8sReq.Proxy
open K8sReq.Journal
open K8sReq.Journal.Sqlite
open K8sReq.TestKit
open K8sReq.Journal.Tests.JournalBench

let private rowOf (number: int64) (body: byte[]) : RequestRow = {
    Number = number
    ReceivedAt = 1_700_000_000_000L + number
    Host = "höst.example"
    Method = "PURGE"
    FieldsEnd = 17L
    Bytes = 1000L + number
    RequestId = Guid.CreateVersion7()
    Wire = ReadOnlySequence body
}

let private requestOf (number: int64) (body: byte[]) (copies: int) : PackedRequest = {
    Row = rowOf number body
    Copies = [
        for copy in 1..copies ->
            {
                Copy = copy
                Clone = 10L + int64 copy
            }
    ]
}

let private packOf (requests: PackedRequest list) : RequestPack =
    let pack = RequestPack()

    for request in requests do
        pack.AddRequest(request.Row, request.Copies.Length)
        List.iter pack.AddCopy request.Copies

    pack

// Sequences are not compared by their bytes.
let private comparable (request: PackedRequest) =
    let row = request.Row

    (row.Number, row.ReceivedAt, row.Host, row.Method, row.FieldsEnd, row.Bytes, row.RequestId),
    row.Wire.ToArray(),
    request.Copies

let private requests =
    Gen.listOf (Gen.zip (Gen.listOf (Gen.choose (0, 255))) (Gen.choose (1, 4)))
    |> Gen.map (
        List.mapi (fun index (body, copies) ->
            requestOf (1L + int64 index) (body |> List.map byte |> Array.ofList) copies)
    )

/// What somebody does with copies that are in memory, or the time that passes.
[<RequireQualifiedAccess>]
type private Step =
    | Pack of copies: int list
    | End of int
    | Shelve of int
    | Die of int
    | Attempt of int
    | Pass of milliseconds: int

let private steps =
    let some = Gen.choose (0, 30)

    Gen.listOf (
        Gen.frequency [
            2, Gen.map Step.Pack (Gen.nonEmptyListOf (Gen.choose (1, 3)))
            8, Gen.map Step.End some
            1, Gen.map Step.Shelve some
            1, Gen.map Step.Die some
            1, Gen.map Step.Attempt some
            3, Gen.map Step.Pass (Gen.elements [ 1; 30; 50; 2500 ])
        ]
    )

let private copiesOf (request: int64) (count: int) : CopyId list = [
    for copy in 0 .. count - 1 -> { Request = request; Copy = copy }
]

let private clone = shop "copy"

let private workOf (step: Step) (id: CopyId) : JournalWork =
    match step with
    | Step.Shelve _ ->
        JournalWork.Shelved {
            Id = id
            Clone = clone
            Bytes = 1L
            Attempts = 1
            Accepted = DateTimeOffset.UnixEpoch
            Due = DateTimeOffset.UnixEpoch
            Epoch = 0L
        }
    | Step.Attempt _ -> JournalWork.Attempted(id, clone, 1, 0L)
    | Step.Die _ ->
        JournalWork.Died {
            Id = id
            Clone = clone
            Bytes = 1L
            Cause = DeadCause.Refused
            Outcome = ""
            Attempts = 1
            Target = "/"
            EndedAt = DateTimeOffset.UnixEpoch
            Keep = TimeSpan.Zero
            Code = ""
            IsForSink = false
            Epoch = 0L
        }
    | _ ->
        JournalWork.Ended {
            Id = id
            Clone = clone
            Bytes = 1L
            Epoch = 0L
        }

/// The file as a naive model: copies in packs, and copies that are rows. Fails where work does not find what it is about.
[<Sealed>]
type private FileModel() =
    let mutable packs: Map<int64, Set<CopyId>> = Map.empty
    let mutable rows: Set<CopyId> = Set.empty

    let packWith (id: CopyId) =
        packs
        |> Map.tryPick (fun pack copies -> if copies.Contains id then Some pack else None)

    let removeRow (id: CopyId) =
        Expect.isTrue (rows.Contains id) $"{id} is a row"
        rows <- rows.Remove id

    member _.Pack(id: int64, copies: CopyId list) = packs <- packs.Add(id, set copies)

    member _.Run(work: JournalWork) =
        match work with
        | JournalWork.Ended copy -> removeRow copy.Id
        | JournalWork.EndedPacked copy ->
            match packWith copy.Id with
            | Some pack -> packs <- packs.Add(pack, packs[pack].Remove copy.Id)
            | None -> failtest $"{copy.Id} is in no pack"
        | JournalWork.EndedPack pack ->
            Expect.equal
                packs[pack.Id]
                (pack.Ended |> Seq.map _.Id |> set)
                "all that was left of it has ended"

            packs <- packs.Remove pack.Id
        | JournalWork.Unpack pack ->
            rows <- rows + packs[pack]
            packs <- packs.Remove pack
        | JournalWork.Died entry -> removeRow entry.Id
        | JournalWork.Shelved { Id = id }
        | JournalWork.Attempted(id, _, _, _) -> Expect.isTrue (rows.Contains id) $"{id} is a row"
        | other -> failtest $"{other}"

    member _.Rows = rows
    member _.Packed = packs |> Map.values |> Set.unionMany

let private settlesRight (steps: Step list) : bool =
    let clock = TestClock()
    let live = LivePacks clock
    let file = FileModel()
    let mutable inMemory: CopyId list = []
    let mutable shelved: Set<CopyId> = Set.empty
    let mutable number = 0L

    let settle (work: JournalWork list) (isLast: bool) =
        Seq.iter file.Run (live.Settle(ResizeArray work, isLast, true))

    let take index (step: Step) =
        if index < inMemory.Length then
            let id = inMemory[index]
            settle [ workOf step id ] false

            match step with
            | Step.Attempt _ -> ()
            | Step.Shelve _ ->
                shelved <- shelved.Add id
                inMemory <- List.removeAt index inMemory
            | _ -> inMemory <- List.removeAt index inMemory

    for step in steps do
        match step with
        | Step.Pack copies ->
            let pack = LivePack(number + 1L, clock)

            let all = [
                for count in copies do
                    number <- number + 1L
                    live.Add(pack, number, count)
                    yield! copiesOf number count
            ]

            file.Pack(pack.Id, all)
            inMemory <- inMemory @ all
        | Step.End index
        | Step.Shelve index
        | Step.Die index
        | Step.Attempt index -> take index step
        | Step.Pass milliseconds ->
            clock.Advance(TimeSpan.FromMilliseconds(int64 milliseconds))
            settle [] false

            if milliseconds >= 50 then
                Expect.isTrue (Set.isSubset file.Packed (set inMemory)) "what has ended is written"

            if milliseconds >= 2000 then
                Expect.isEmpty file.Packed "what takes long is rows"

    settle [] true
    let left = set inMemory + shelved
    let due = live.Due
    Expect.equal due.IsSome (not file.Packed.IsEmpty) "it is due as long as there are packs"

    file.Rows + file.Packed = left

let private openFile (folder: TestFolder) : Database =
    match JournalFile.openIn true ignore (folder.At "journal") with
    | Ok database -> database
    | Error fault -> failtest $"{fault}"

let private copiesIn (database: Database) : (int64 * int * int64) list =
    use rows =
        database.PrepareOnce "SELECT request, copy, state FROM copies ORDER BY request, copy"

    [
        while rows.Step() do
            rows.Number 0, int (rows.Number 1), rows.Number 2
    ]

let tests =
    testList "packs" [
        testProperty "requests come out of a pack as they were put in"
        <| Prop.forAll (Arb.fromGen requests) (fun requests ->
            let found = RequestPack.requestsIn ((packOf requests).Bytes.ToArray())
            Option.map (List.map comparable) found = Some(List.map comparable requests))

        testCase "a pack that is cut, or says more than there is, is no pack"
        <| fun () ->
            let bytes = (packOf [ requestOf 1L "abc"B 2 ]).Bytes.ToArray()

            for length in 1 .. bytes.Length - 1 do
                Expect.isNone (RequestPack.requestsIn bytes[.. length - 1]) $"{length} bytes"

            let wireLength = bytes.Length - 3 - 4 - 2 * 12 - 4

            for value in [ Int32.MaxValue; -1 ] do
                let damaged = Array.copy bytes
                BitConverter.TryWriteBytes(Span(damaged, wireLength, 4), value) |> ignore
                Expect.isNone (RequestPack.requestsIn damaged) $"a body of {value}"

        testCase
            "suspects that a failed transaction has taken out are in the file still, and are counted once"
        <| fun () ->
            let suspects = Suspects()
            let id request = { Request = request; Copy = 0 }

            for _ in 1..3 do
                suspects.Begin()

                for request in 1L .. 64L do
                    suspects.Add(1L, id request, 1L)

                Expect.equal (suspects.Highest 1L) 0L "no more of them"
                suspects.Undo()
                Expect.equal (suspects.Highest 1L) Int64.MaxValue "any"

            suspects.Begin()
            suspects.Add(1L, id 1L, 2L)
            suspects.Add(1L, id 1L, 2L)
            Expect.equal (suspects.Highest 1L) 0L "it is alone"
            Expect.isTrue (suspects.Remove(id 1L)) "it was one"
            Expect.isFalse (suspects.Remove(id 1L)) "once"
            Expect.equal (suspects.Highest 1L) Int64.MaxValue "any"
            Expect.equal (suspects.Highest 2L) Int64.MaxValue "of another RequestClone too"

        testProperty "whatever becomes of the copies, and when, the file has those that have not ended"
        <| Prop.forAll (Arb.fromGen steps) settlesRight

        testCase "a pack that is left by a process is rows at the next opening, without what has ended"
        <| fun () ->
            use folder = new TestFolder()

            do
                use database = openFile folder
                let packs = PackRows(database, RequestRows database)
                packs.Insert(1L, packOf [ requestOf 1L "abc"B 2; requestOf 2L "def"B 1 ])
                packs.Insert(3L, packOf [ requestOf 3L "ghi"B 1 ])
                packs.SetEnded { Request = 1L; Copy = 1 }
                packs.SetEnded { Request = 3L; Copy = 1 }

            use database = openFile folder
            Expect.equal (copiesIn database) [ 1L, 2, 1L; 2L, 1, 1L ] "they wait in the file"
            Expect.equal (database.Number "SELECT sum(id) FROM requests") 3L "with their requests"
            Expect.equal (database.Number "SELECT count(*) FROM packs") 0L "no pack is left"
            Expect.equal (database.Number "SELECT count(*) FROM packed_ends") 0L "nor anything of one"

        testCase "a damaged pack is said to be damage"
        <| fun () ->
            use folder = new TestFolder()

            do
                use database = openFile folder
                database.Execute "INSERT INTO packs (id, requests) VALUES (1, x'0102')"

            match JournalFile.openIn true ignore (folder.At "journal") with
            | Error(JournalFault.Corrupt(file, _)) -> Expect.stringContains file "k8sreq.db" "which"
            | Error other -> failtest $"{other}"
            | Ok database ->
                (database :> IDisposable).Dispose()
                failtest "it was opened"

        testCaseTask "a request that is large, or has a copy in the file alone, is rows from the beginning"
        <| fun () -> task {
            use folder = new TestFolder()

            do! task {
                use bench = new Bench(folder.At "journal")
                do! append bench (JournalBench.requestOf (Array.zeroCreate 40_000) [ clone, false ] ignore)
                do! append bench (JournalBench.requestOf "abc"B [ clone, false; clone, true ] ignore)
                do! append bench (JournalBench.requestOf "def"B [ clone, false ] ignore)
            }

            use database = new Database(JournalFile.pathIn (folder.At "journal"))
            Expect.equal (database.Number "SELECT count(*) FROM requests") 2L "these two"
            Expect.equal (database.Number "SELECT count(*) FROM packs") 1L "and a pack of the third"
        }

        testCaseTask
            "what has ended is not sent again after a crash, while another copy of its pack takes long"
        <| fun () -> task {
            use folder = new TestFolder()
            use bench = new Bench(folder.At "journal")
            let slow, quick = shop "slow", shop "quick"
            let request = JournalBench.requestOf "abc"B [ slow, false; quick, false ] ignore
            do! append bench request
            bench.Store.Ended request (copyOf request 1) delivered

            do!
                Waiting.until "the room of the one that has ended" (fun () ->
                    Task.FromResult(not (bench.Journal.Usage.Has quick)))

            use after = new Bench(FolderSite(folder.At "journal").Crash())
            let! found = after.FoundCopies
            Expect.equal found [ "slow", 1L ] "the other one"
        }
    ]
