module K8sReq.Host.Tests.ManifestFolderTests

open System
open System.IO
open System.Runtime.InteropServices
open System.Threading
open System.Threading.Channels
open System.Threading.Tasks
open Expecto
open K8sReq.Core
open K8sReq.Proxy
open K8sReq.Kubernetes
open K8sReq.Host.Manifests
open K8sReq.TestKit

module private Native =
    [<DllImport("libc", SetLastError = true)>]
    extern int mkfifo(string path, uint mode)

let private service = Manifests.service

let private names (content: FolderContent) =
    FolderContent.ofKind BackendService.kind.Name content
    |> List.map (fun (key, _) -> key.Name)
    |> List.sort

let private problems (content: FolderContent) =
    content.Problems |> List.map ManifestProblem.describe

/// Scans until a change has been seen twice.
let private settle (folder: ManifestFolder) =
    folder.Scan() |> ignore
    folder.Scan()

/// A folder that is followed, by a clock that stands still but while a change is awaited. A change settles within two scans: where
/// `quiet` is a day, nothing but the system tells of it.
type private Following(root: string, quiet: TimeSpan) =
    let clock = TestClock()
    let interval = TimeSpan.FromMilliseconds 200.0
    let folder = ManifestFolder(RouteKinds.kinds, root)
    let changes = Channel.CreateUnbounded<FolderContent>()
    let stop = new CancellationTokenSource()
    let first = folder.Scan()

    let following =
        folder.FollowAsync(clock, interval, quiet, first, changes.Writer.TryWrite >> ignore, stop.Token)

    /// Once nothing has to be read any more.
    member _.HasRested() : Task = clock.TimerStarted quiet

    /// Once it waits for its next scan.
    member _.Scans() : Task = clock.TimerStarted interval

    member _.NextChange() : Task<FolderContent> = task {
        do!
            Waiting.until "a change" (fun () ->
                clock.Advance interval
                Task.FromResult(changes.Reader.Count > 0))

        return! changes.Reader.ReadAsync()
    }

    interface IDisposable with
        member _.Dispose() =
            stop.Cancel()
            following.ContinueWith(fun (_: Task) -> ()).Wait Waiting.patience |> ignore

let tests =
    testList "ManifestFolder" [
        test "files of all kinds, in folders below, but nothing hidden" {
            use files = new TestFolder()
            files.Write("a.yaml", service "a" 80)
            files.Write("deep/er/b.yml", service "b" 80)

            files.Write(
                "c.json",
                """{"apiVersion":"v1","kind":"Service","metadata":{"name":"c"},"spec":{}}"""
            )

            files.Write("README.md", "no manifest")
            files.Write(".hidden.yaml", service "hidden" 80)
            files.Write(".git/x.yaml", service "hidden" 80)

            Expect.equal
                (names ((ManifestFolder(RouteKinds.kinds, files.Path)).Scan()))
                [ "a"; "b"; "c" ]
                "three"
        }

        test "a change counts once two scans have seen the same" {
            use files = new TestFolder()
            files.Write("a.yaml", service "a" 80)
            let folder = ManifestFolder(RouteKinds.kinds, files.Path)
            Expect.equal (names (folder.Scan())) [ "a" ] "the first scan reads at once"
            files.Write("a.yaml", service "after" 80)
            files.Write("b.yaml", service "b" 80)
            Expect.equal (names (folder.Scan())) [ "a" ] "seen once"
            Expect.equal (names (folder.Scan())) [ "after"; "b" ] "seen twice"
        }

        test "a file that is being written is not read half-way" {
            use files = new TestFolder()
            files.Write("a.yaml", service "a" 80)
            let folder = ManifestFolder(RouteKinds.kinds, files.Path)
            folder.Scan() |> ignore

            // Each scan finds it longer than the one before.
            for length in [ 0; 10; 20; 30; 40 ] do
                files.Write("a.yaml", (service "long" 80).Substring(0, length))
                Expect.equal (names (folder.Scan())) [ "a" ] "what it held before"

            files.Write("a.yaml", service "long" 80)
            Expect.equal (names (settle folder)) [ "long" ] "once it is whole"
        }

        test "a file that goes is forgotten, one that is replaced is not missed" {
            use files = new TestFolder()
            files.Write("a.yaml", service "a" 80)
            files.Write("b.yaml", service "b" 80)
            let folder = ManifestFolder(RouteKinds.kinds, files.Path)
            folder.Scan() |> ignore
            files.Delete "a.yaml"
            files.Delete "b.yaml"
            Expect.equal (names (folder.Scan())) [ "a"; "b" ] "not yet"
            files.Write("b.yaml", service "b2" 80)
            Expect.equal (names (folder.Scan())) [ "b" ] "gone; the other is there again"
            Expect.equal (names (folder.Scan())) [ "b2" ] "and read"
        }

        test "a file that cannot be parsed keeps its last good content and touches no other file" {
            use files = new TestFolder()
            files.Write("a.yaml", service "a" 80)
            files.Write("b.yaml", service "b" 80)
            let folder = ManifestFolder(RouteKinds.kinds, files.Path)
            folder.Scan() |> ignore
            files.Write("a.yaml", "kind: Service\nmetadata: [\nx: 1\n")
            files.Write("b.yaml", service "b2" 80)
            let content = settle folder
            Expect.equal (names content) [ "a"; "b2" ] "the last good one, and the new one"

            match problems content with
            | [ problem ] ->
                Expect.stringStarts problem $"""{files.At "a.yaml"}:3: cannot be parsed: """ "file and line"
            | other -> failtest $"{other}"

            files.Write("a.yaml", service "a3" 80)
            let mended = settle folder
            Expect.equal (names mended) [ "a3"; "b2" ] "mended"
            Expect.isEmpty mended.Problems "and nothing wrong any more"
        }

        test "a file that was never good is reported, the others are served" {
            use files = new TestFolder()
            files.Write("a.yaml", "{")
            files.Write("b.yaml", service "b" 80)
            let content = (ManifestFolder(RouteKinds.kinds, files.Path)).Scan()
            Expect.equal (names content) [ "b" ] "served"
            Expect.equal content.Problems.Length 1 "reported"
        }

        test "a file that is no UTF-8 is one that cannot be parsed" {
            use files = new TestFolder()
            File.WriteAllBytes(files.At "a.yaml", [| 0xC3uy; 0x28uy |])

            Expect.equal
                (problems ((ManifestFolder(RouteKinds.kinds, files.Path)).Scan()))
                [ $"""{files.At "a.yaml"}:1: cannot be parsed: the text is not UTF-8""" ]
                "said"
        }

        test "an object that is declared twice is reported; the later one counts" {
            use files = new TestFolder()
            files.Write("a.yaml", service "same" 80)
            files.Write("b.yaml", service "same" 81)
            let content = (ManifestFolder(RouteKinds.kinds, files.Path)).Scan()

            Expect.equal
                (FolderContent.ofKind BackendService.kind.Name content
                 |> List.collect (fun (_, service) -> (unbox<BackendService> service).Ports)
                 |> List.map _.Number)
                [ 81 ]
                "as after kubectl apply"

            Expect.equal
                (problems content)
                [
                    $"""{files.At "b.yaml"}:1: Service shop/same is declared before, at {files.At "a.yaml"}:1; this one counts"""
                ]
                "said"
        }

        test "a folder that vanishes says what it said before" {
            use files = new TestFolder()
            files.Write("in/a.yaml", service "a" 80)
            let folder = ManifestFolder(RouteKinds.kinds, files.At "in")
            folder.Scan() |> ignore
            Directory.Move(files.At "in", files.At "away")
            let content = settle folder
            Expect.equal (names content) [ "a" ] "still"
            Expect.equal content.Problems.Length 1 "and it is reported"
            Directory.Move(files.At "away", files.At "in")
            Expect.isEmpty (settle folder).Problems "until it is back"
        }

        test "an empty file, a pipe and a device are not opened" {
            use files = new TestFolder()
            files.Write("a.yaml", service "a" 80)
            files.Write("empty.yaml", "")
            Expect.equal (Native.mkfifo (files.At "pipe.yaml", 0o600u)) 0 "made"
            File.CreateSymbolicLink(files.At "zero.yaml", "/dev/zero") |> ignore
            let content = (ManifestFolder(RouteKinds.kinds, files.Path)).Scan()
            Expect.equal (names content) [ "a" ] "the others are served"
            Expect.isEmpty content.Problems "and nothing is wrong"
        }

        test "a mounted ConfigMap changes by its link" {
            use files = new TestFolder()
            files.Write("..v1/a.yaml", service "a" 80)
            files.Write("..v2/a.yaml", service "b" 80)
            Directory.CreateSymbolicLink(files.At "..data", "..v1") |> ignore

            File.CreateSymbolicLink(files.At "a.yaml", Path.Combine("..data", "a.yaml"))
            |> ignore

            let folder = ManifestFolder(RouteKinds.kinds, files.Path)
            Expect.equal (names (folder.Scan())) [ "a" ] "once, through the link"
            Directory.Delete(files.At "..data")
            Directory.CreateSymbolicLink(files.At "..data", "..v2") |> ignore
            Expect.equal (names (settle folder)) [ "b" ] "what the link leads to now"
        }

        testCaseTask "following hands on each change once, and no scan without one"
        <| fun () -> task {
            use files = new TestFolder()
            files.Write("a.yaml", service "a" 80)
            use following = new Following(files.Path, TimeSpan.FromSeconds 2.0)
            do! following.HasRested()
            files.Write("a.yaml", service "after" 80)
            let! change = following.NextChange()
            Expect.equal (names change) [ "after" ] "the change"
            files.Write("a.yaml", service "last" 80)
            let! last = following.NextChange()
            Expect.equal (names last) [ "last" ] "the next change, and nothing between"
        }

        for what, write in
            [
                "a file that is written",
                (fun (files: TestFolder) -> files.Write("a.yaml", service "after" 80))
                "a file in a folder below", (fun files -> files.Write("below/b.yaml", service "after" 80))
                "a file that is moved there",
                (fun files ->
                    files.Write(".hidden", service "after" 80)
                    File.Move(files.At ".hidden", files.At "b.yaml"))
                "a link that is replaced",
                (fun files ->
                    files.Write("..v2/linked.yaml", service "after" 80)
                    Directory.CreateSymbolicLink(files.At "..next", "..v2") |> ignore
                    Directory.Delete(files.At "..data")
                    Directory.Move(files.At "..next", files.At "..data"))
            ] do
            // The clock stands still but for the time that a change has to settle: nothing but the system tells of the change.
            testCaseTask $"{what} is seen at once"
            <| fun () -> task {
                use files = new TestFolder()
                files.Write("a.yaml", service "a" 80)
                files.Write("below/c.yaml", service "c" 80)
                files.Write("..v1/linked.yaml", service "linked" 80)
                Directory.CreateSymbolicLink(files.At "..data", "..v1") |> ignore

                File.CreateSymbolicLink(files.At "linked.yaml", Path.Combine("..data", "linked.yaml"))
                |> ignore

                use following = new Following(files.Path, TimeSpan.FromDays 1.0)
                do! following.HasRested()
                write files
                let! change = following.NextChange()
                Expect.contains (names change) "after" "what it is now"
            }

        testCaseTask "a folder that cannot be watched is scanned as before"
        <| fun () -> task {
            use files = new TestFolder()
            let root = files.At "later"
            use following = new Following(root, TimeSpan.FromDays 1.0)
            // It is not there, which is no change of what it says.
            do! following.Scans()
            files.Write("later/a.yaml", service "after" 80)
            let mutable seen: string list = []

            while seen.IsEmpty do
                let! change = following.NextChange()
                seen <- names change

            Expect.equal seen [ "after" ] "what came later"
        }
    ]
