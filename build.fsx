// Every task of the project by name: dotnet fsi build.fsx TARGET. Needs the .NET SDK and nothing else.

#load "build/Repository.fs"

open System
open System.Diagnostics
open System.IO
open System.Net.Http
open System.Runtime.InteropServices
open System.Text.RegularExpressions
open System.Threading
open K8sReq.Build

let root = __SOURCE_DIRECTORY__
let solution = Path.Combine(root, "K8sReq.slnx")
let artifacts = Path.Combine(root, "artifacts", "k8sreq")
let nativeArtifacts = Path.Combine(root, "artifacts", "k8sreq-native")
let extension = if OperatingSystem.IsWindows() then ".exe" else ""
let program = Path.Combine(artifacts, "k8sreq" + extension)

// The portable one: a distribution's own build of .NET names itself, and has no runtime package to publish with.
let runtimeIdentifier =
    let system =
        if OperatingSystem.IsWindows() then
            "win"
        elif OperatingSystem.IsMacOS() then
            "osx"
        elif RuntimeInformation.RuntimeIdentifier.Contains "musl" then
            "linux-musl"
        else
            "linux"

    $"{system}-{RuntimeInformation.ProcessArchitecture.ToString().ToLowerInvariant()}"

/// Ends the script with this exit code.
exception Stop of int

/// Starts a command with these variables besides those of this process.
let startWith (variables: (string * string) list) (command: string) (arguments: string list) onLine =
    let info =
        ProcessStartInfo(
            command,
            arguments,
            WorkingDirectory = root,
            RedirectStandardOutput = Option.isSome onLine
        )

    info.Environment["DOTNET_NOLOGO"] <- "1"
    info.Environment["DOTNET_CLI_TELEMETRY_OPTOUT"] <- "1"

    for name, value in variables do
        info.Environment[name] <- value

    // The compiler ends before profiles would make it faster: taking them costs it a quarter of its time.
    if List.contains (List.tryHead arguments) [ Some "build"; Some "publish" ] then
        info.Environment["DOTNET_TieredPGO"] <- "0"

    let started = Process.Start info

    match onLine with
    | None -> ()
    | Some onLine ->
        started.OutputDataReceived.Add(fun line ->
            if not (isNull line.Data) then
                onLine line.Data)

        started.BeginOutputReadLine()

    started

let start = startWith []

let exitCodeWith variables command arguments onLine =
    use running: Process = startWith variables command arguments onLine
    running.WaitForExit()
    running.ExitCode

let exitCodeOf command arguments onLine =
    exitCodeWith [] command arguments onLine

/// Runs a command; the script ends if it fails.
let run command arguments =
    match exitCodeOf command arguments None with
    | 0 -> ()
    | code ->
        eprintfn "build: failed with exit code %d: %s %s" code command (String.concat " " arguments)
        raise (Stop 1)

let dotnet arguments = run "dotnet" arguments

let restore () =
    dotnet [ "restore"; solution; "-v"; "quiet" ]

/// Whether packages are there for a project as its files, and the versions, are now.
let isRestored folder =
    let assets = FileInfo(Path.Combine(folder, "obj", "project.assets.json"))

    let sources = [
        yield! Directory.GetFiles(root, "*.props")
        Path.Combine(root, "paket.dependencies")
        yield! Directory.GetFiles(Path.Combine(root, "src"), "*.*proj", SearchOption.AllDirectories)
        yield! Directory.GetFiles(folder, "*.fsproj")
    ]

    assets.Exists
    && sources
       |> List.forall (fun source -> File.GetLastWriteTimeUtc source < assets.LastWriteTimeUtc)

let build () =
    restore ()

    dotnet [
        "build"
        solution
        "-c"
        "Release"
        "--no-restore"
        "-v"
        "quiet"
        "--nologo"
    ]

let publishArguments platform folder options =
    [
        "publish"
        Path.Combine(root, "src", "K8sReq.Host")
        "-c"
        "Release"
        "-r"
        platform
        "-p:DebugType=None"
        "-p:DebugSymbols=false"
        "-o"
        folder
        "-v"
        "quiet"
        "--nologo"
    ]
    @ options

// With the runtime and compiled ahead of time: it starts as it is, on a machine without .NET too.
let portableOptions = [ "--self-contained"; "-p:PublishReadyToRun=true" ]

let publish () =
    dotnet (publishArguments runtimeIdentifier artifacts portableOptions)

let nativeOptions platform = [
    "-p:PublishAot=true"
    "-p:StripSymbols=true"
    // The compiler is a package of the machine's own: one platform, and a lock file that is not the repository's.
    $"-p:RuntimeIdentifiers={platform}"
    "-p:NuGetLockFilePath=obj/native/packages.lock.json"
    "-p:RestoreLockedMode=false"
    "-p:BaseIntermediateOutputPath=obj/native/"
]

/// The same program as native code. Needs a C compiler's linker (gcc or clang) and a few minutes.
let publishNative () =
    dotnet (publishArguments runtimeIdentifier nativeArtifacts (nativeOptions runtimeIdentifier))

// "… – 167 passed, 0 ignored, 0 failed, 0 errored."
let summary = Regex @"(\d+) passed, (\d+) ignored, (\d+) failed, (\d+) errored"

/// A test program.
type TestRun = {
    Name: string
    Arguments: string list
    /// What it tests if that is not the published program.
    Program: string option
    /// Without the event loops, as on systems that have none.
    OnSockets: bool
}

let expecto name arguments = {
    Name = name
    Arguments = [ "--no-spinner"; "--colours"; "0" ] @ arguments
    Program = None
    OnSockets = false
}

let onSockets (test: TestRun) = { test with OnSockets = true }

/// Runs one test program; passed, failed, skipped.
let runTests (test: TestRun) =
    let name = test.Name

    let assembly =
        Path.Combine(root, "tests", name, "bin", "Release", "net10.0", name + ".dll")

    let mutable counted = None

    let onLine (line: string) =
        // Others may print theirs meanwhile.
        lock summary (fun () ->
            match test.Program with
            | Some _ -> printfn "native: %s" line
            | None when test.OnSockets -> printfn "on sockets: %s" line
            | None -> printfn "%s" line)

        let found = summary.Match line

        if found.Success then
            let number (group: int) = int found.Groups[group].Value
            counted <- Some(number 1, number 3 + number 4, number 2)

    let variables = [
        // Empty: the published program.
        "K8SREQ_TEST_PROGRAM", Option.defaultValue "" test.Program
        if test.OnSockets then
            "EVENT_LOOPS", "0"
    ]

    let code =
        exitCodeWith variables "dotnet" (assembly :: test.Arguments) (Some onLine)

    match counted, code with
    | Some(passed, 0, skipped), 0 -> passed, 0, skipped
    | Some(passed, failed, skipped), _ -> passed, max 1 failed, skipped
    | None, _ ->
        eprintfn "build: %s ended with exit code %d before it counted its tests" name code
        0, 1, 0

/// Runs test programs, so many at the same time and in this order, and ends with a line that counts.
let report (atOnce: int) (programs: TestRun list) =
    let waiting = Collections.Concurrent.ConcurrentQueue programs

    let rec work counted =
        match waiting.TryDequeue() with
        | true, next -> work (runTests next :: counted)
        | _ -> counted

    let running =
        List.init atOnce (fun _ -> Threading.Tasks.Task.Run(fun () -> work []))

    let results = running |> List.collect _.Result
    let sum choose = List.sumBy choose results
    let failed = sum (fun (_, failed, _) -> failed)
    let skipped = sum (fun (_, _, skipped) -> skipped)
    let skippedPart = if skipped > 0 then $", {skipped} skipped" else ""
    printfn "%d passed, %d failed%s" (sum (fun (passed, _, _) -> passed)) failed skippedPart

    if failed > 0 then
        raise (Stop 1)

/// The test programs by what they are called on the command line, and whether they start the published program.
let suites = [
    "core", "K8sReq.Core.Tests", false
    "proxy", "K8sReq.Proxy.Tests", false
    "journal", "K8sReq.Journal.Tests", false
    "kubernetes", "K8sReq.Kubernetes.Tests", true
    "host", "K8sReq.Host.Tests", true
    "chart", "K8sReq.Chart.Tests", true
    "docs", "K8sReq.Docs.Tests", false
]

let native = Path.Combine(nativeArtifacts, "k8sreq" + extension)

/// The tests that start the program, with the native one. The test programs leave out the others.
let withNative name arguments = {
    expecto name arguments with
        Program = Some native
}

let nativeSuites () = [ withNative "K8sReq.Host.Tests" []; withNative "K8sReq.Kubernetes.Tests" [] ]

/// This variable adds the native program to all tests; it needs a C compiler's linker.
let testsNative = Environment.GetEnvironmentVariable "K8SREQ_TEST_NATIVE" = "1"

/// The suite that takes longest: it waits for browsers, servers that come back and leases that end. So it begins.
let longest = "K8sReq.Host.Tests"

let testAll () =
    build ()
    publish ()

    if testsNative then
        publishNative ()

    let long, others =
        suites
        |> List.map (fun (_, project, _) -> expecto project [])
        |> List.partition (fun suite -> suite.Name = longest)

    // Each transport has its turn: where the native program is tested on event loops, the other one is on sockets.
    let long = if testsNative then List.map onSockets long else long

    // These load the machine: they come when most of the others are over.
    let loads = [
        for name in [ "K8sReq.Attack"; "K8sReq.Crash" ] ->
            {
                Name = name
                Arguments = [ "--short" ]
                Program = None
                OnSockets = false
            }
    ]

    [
        yield! long
        if testsNative then
            yield! nativeSuites ()
        yield! others
        onSockets (expecto "K8sReq.Proxy.Tests" [])
        yield! loads
    ]
    // Each waits for a part of its time.
    |> report (if testsNative then 3 else 2)

/// One test program, and what it needs alone; further arguments go to it, such as --filter.
let testOne suite arguments =
    match suites |> List.tryFind (fun (name, _, _) -> name = suite) with
    | None ->
        let names = suites |> List.map (fun (name, _, _) -> name) |> String.concat ", "
        eprintfn "build: there are no tests called \"%s\"; there are %s" suite names
        raise (Stop 2)
    | Some(_, project, startsProgram) ->
        let folder = Path.Combine(root, "tests", project)

        dotnet (
            [ "build"; folder; "-c"; "Release"; "-v"; "quiet"; "--nologo" ]
            // Restoring what is there takes a second of the few that a change should need.
            @ (if isRestored folder then [ "--no-restore" ] else [])
        )

        if startsProgram then
            publish ()

        report 1 [ expecto project arguments ]

let test arguments =
    match arguments with
    | [] -> testAll ()
    | suite :: rest -> testOne suite rest

let testNative () =
    build ()
    publishNative ()
    report 1 (nativeSuites ())

/// The chart and the bases alone.
let chart () =
    build ()
    publish ()
    report 1 [ expecto "K8sReq.Chart.Tests" [] ]

/// Rewrites the parts of documents that are made from the program. The tests of the documents render the same.
let docs () =
    let folder = Path.Combine(root, "tests", "K8sReq.Docs.Tests")
    dotnet [ "build"; folder; "-c"; "Release"; "-v"; "quiet"; "--nologo" ]

    dotnet [
        Path.Combine(folder, "bin", "Release", "net10.0", "K8sReq.Docs.Tests.dll")
        "--write"
    ]

/// Runs a program of this repository against the published one.
let runAgainstPublished folder name arguments =
    build ()
    publish ()

    let assembly =
        Path.Combine(root, folder, name, "bin", "Release", "net10.0", name + ".dll")

    dotnet (assembly :: arguments)

let soak = runAgainstPublished "tests" "K8sReq.Soak"
let attack = runAgainstPublished "tests" "K8sReq.Attack"
let crash = runAgainstPublished "tests" "K8sReq.Crash"
let bench = runAgainstPublished "bench" "K8sReq.Bench"

/// Finds which methods run for each request, and writes the list by which the native program is laid out.
let hotMethods () =
    build ()
    let folder = Path.Combine(root, "artifacts", "k8sreq-symbols")

    // Linked beside the one without symbols: a file that is there already is not linked again.
    let withSymbols =
        "-p:NativeOutputPath=obj/native/symbols/"
        :: (nativeOptions runtimeIdentifier
            |> List.map (fun option -> option.Replace("StripSymbols=true", "StripSymbols=false")))

    dotnet (publishArguments runtimeIdentifier folder withSymbols)

    dotnet [
        Path.Combine(root, "bench", "K8sReq.Bench", "bin", "Release", "net10.0", "K8sReq.Bench.dll")
        "hot-methods"
        Path.Combine(folder, "k8sreq" + extension)
        Path.Combine(root, "src", "K8sReq.Host", "Native.Order.txt")
    ]

/// Answers of targets, manifests and heads of requests, spoilt at random, against what reads them.
let fuzz arguments =
    build ()

    dotnet (
        Path.Combine(root, "tests", "K8sReq.Fuzz", "bin", "Release", "net10.0", "K8sReq.Fuzz.dll")
        :: arguments
    )

let check () =
    restore ()
    dotnet [ "tool"; "restore" ]
    dotnet [ "fantomas"; "--check"; "src"; "tests"; "bench"; "build"; "build.fsx" ]
    // Warnings are errors in every build; this one compiles all of it anew.
    dotnet [
        "build"
        solution
        "-c"
        "Release"
        "--no-restore"
        "--no-incremental"
        "-v"
        "quiet"
        "--nologo"
    ]

let ci () =
    check ()
    test []

/// Ends a process that this script started.
let stop (started: Process) =
    try
        // Ctrl-C reaches it too: it is ending by itself, unless only this script was asked to.
        if not (started.WaitForExit 500) then
            started.Kill()
            started.WaitForExit()
    with :? InvalidOperationException ->
        ()

/// Where the example keeps its copies.
let exampleJournal = Path.Combine(root, "artifacts", "journal")

/// The proxy and two receivers, until Ctrl-C or until the proxy ends.
let runExample arguments =
    publish ()
    use ended = new ManualResetEventSlim(false)

    let onSignal (context: PosixSignalContext) =
        context.Cancel <- true
        ended.Set()

    use _ = PosixSignalRegistration.Create(PosixSignal.SIGINT, onSignal)
    use _ = PosixSignalRegistration.Create(PosixSignal.SIGTERM, onSignal)
    let mutable children: Process list = []

    let launch (isNeeded: bool) arguments =
        let child = start program arguments None
        child.EnableRaisingEvents <- true

        // A receiver may be stopped, and started again by hand, to see what the proxy makes of it.
        let onExited () =
            if isNeeded || child.ExitCode = 1 then
                ended.Set()

        child.Exited.Add(fun _ -> onExited ())
        children <- child :: children

        // It may have ended before anybody listened.
        if child.HasExited then
            onExited ()

    let rec addressIn (arguments: string list) =
        match arguments with
        | "--http-addr" :: address :: _ -> address
        | argument :: _ when argument.StartsWith "--http-addr=" -> argument.Substring "--http-addr=".Length
        | _ :: rest -> addressIn rest
        | [] -> ":8080"

    let address = addressIn arguments

    let host =
        if address.StartsWith ':' then
            "localhost" + address
        else
            address

    try
        launch false [ "receive"; "--addr"; "127.0.0.1:9001"; "--name"; "app-1" ]
        launch false [ "receive"; "--addr"; "127.0.0.1:9002"; "--name"; "app-2" ]

        let isJournalGiven =
            arguments
            |> List.exists (fun (argument: string) -> argument.StartsWith "--journal")

        let journal =
            if isJournalGiven then
                []
            else
                [ "--journal"; exampleJournal ]

        launch true ([ "--manifests"; Path.Combine(root, "examples", "local") ] @ journal @ arguments)

        if not (ended.Wait(TimeSpan.FromSeconds 1.5)) then
            printfn ""
            printfn "In another terminal:"
            printfn ""

            printfn
                """  curl -i 'http://%s/hooks?source=readme' -H 'Host: webhooks.example' -H 'Content-Type: application/json' -d '{"event":"ping"}'"""
                host

            printfn ""

            printfn
                "A 202 survives a crash: copies are kept in artifacts/journal until they are delivered. Try it:"

            printfn ""
            printfn "  1. Stop a receiver:        kill %d" children[1].Id
            printfn "  2. Send the request again: the other receiver has it, and 202 is the answer."
            printfn "  3. Kill the proxy:         kill -9 %d" children[0].Id
            printfn "  4. Start it all again, as you did now: the copy arrives."
            printfn ""
            printfn "Ctrl-C ends the proxy and both receivers."
            ended.Wait()
    finally
        children |> List.iter stop

    // Ended by one of the programs and not by a signal: it has said why.
    if children |> List.exists (fun child -> child.ExitCode = 1) then
        raise (Stop 1)

/// What is apart from this script, because few need it and it takes seconds to compile.
let runPack arguments =
    dotnet ("fsi" :: Path.Combine(root, "build", "pack.fsx") :: arguments)

/// Whether the registry of the image's base can be reached.
let canPullBase () =
    let image = Repository.programProperty "ContainerBaseImage"

    try
        use client = new HttpClient(Timeout = TimeSpan.FromSeconds 10.0)

        use response =
            client.GetAsync($"https://{image.Substring(0, image.IndexOf '/')}/v2/").GetAwaiter().GetResult()

        response.IsSuccessStatusCode
    with
    | :? HttpRequestException
    | :? Threading.Tasks.TaskCanceledException -> false

/// Whether this machine has a program that starts with these arguments.
let has command arguments =
    try
        exitCodeOf command arguments (Some ignore) = 0
    with :? ComponentModel.Win32Exception ->
        false

/// Leaves all that is published in artifacts/release, and says what cannot be made on this machine. The programs are those for
/// these platforms, or for all.
let release platforms =
    let known = (Repository.property "RuntimeIdentifiers").Split ';' |> List.ofArray

    match platforms |> List.except known with
    | [] -> ()
    | unknown ->
        eprintfn
            "build: no program is published for %s, but for %s"
            (String.concat ", " unknown)
            (String.concat ", " known)

        raise (Stop 2)

    let folder = Path.Combine(root, "artifacts", "release")
    let work = Path.Combine(root, "artifacts", "release-work")

    for path in [ folder; work ] do
        if Directory.Exists path then
            Directory.Delete(path, true)

        Directory.CreateDirectory path |> ignore

    // For each platform: how it is published, or why it is not.
    let native platform =
        match platform with
        | _ when platform = runtimeIdentifier -> Ok(nativeOptions platform)
        | "linux-arm64" when runtimeIdentifier = "linux-x64" ->
            // clang links for any platform whose libraries and tools are there: those of this gcc.
            if has "clang" [ "--version" ] && has "aarch64-linux-gnu-gcc" [ "--version" ] then
                Ok(
                    nativeOptions platform
                    @ [ "-p:CppCompilerAndLinker=clang"; "-p:ObjCopyName=aarch64-linux-gnu-objcopy" ]
                )
            else
                Error
                    "it is linked by clang with gcc-aarch64-linux-gnu and libc6-dev-arm64-cross, and one of them is missing"
        | _ -> Error "native code for it is compiled on that system"

    let results = [
        for platform in (if List.isEmpty platforms then known else platforms) do
            for kind, options in [ "native", native platform; "portable", Ok portableOptions ] do
                let name = $"{kind}-{platform}"
                let target = Path.Combine(work, name)

                match options with
                | Error reason -> name, Some reason
                | Ok options ->
                    printfn "build: %s" name

                    if exitCodeOf "dotnet" (publishArguments platform target options) None = 0 then
                        name, None
                    else
                        // Nothing half-made is packed.
                        if Directory.Exists target then
                            Directory.Delete(target, true)

                        name, Some "it could not be published, as the lines above say"
    ]

    if OperatingSystem.IsLinux() then
        if canPullBase () then
            let architecture =
                runtimeIdentifier.Substring("linux-".Length).Replace("x64", "amd64")

            let image =
                $"""k8sreq-{Repository.property "Version"}-image-linux-{architecture}.tar"""

            dotnet (
                publishArguments
                    runtimeIdentifier
                    (Path.Combine(root, "artifacts", "k8sreq-native"))
                    (nativeOptions runtimeIdentifier)
                @ [
                    "-t:PublishContainer"
                    "-p:ContainerImageFormat=OCI"
                    $"""-p:ContainerImageTag={Repository.property "Version"}"""
                    $"-p:ContainerArchiveOutputPath={Path.Combine(folder, image)}"
                ]
            )
        else
            printfn "build: the registry of the image's base cannot be reached: it is made without that base"

    runPack [ "release"; work ]
    Directory.Delete(work, true)
    printfn ""
    printfn "artifacts/release:"

    for file in Directory.GetFiles folder |> Array.sort do
        printfn "  %7.1f MiB  %s" (float (FileInfo file).Length / 1048576.0) (Path.GetFileName file)

    match
        [
            for name, reason in results do
                match reason with
                | Some reason -> name, reason
                | None -> ()
        ]
    with
    | [] -> ()
    | missing ->
        printfn ""
        printfn "Not made on this machine:"

        for name, reason in missing do
            printfn "  %s: %s" name reason

/// The pictures of the documents, as the tests of the page leave them.
let screenshots () =
    testOne "host" [ "--filter"; "Host.how the status page looks" ]

    for picture, name in
        [
            "trouble-light", "status-light"
            "trouble-dark", "status-dark"
            "well-light", "status-well"
            "route-light", "status-route"
            "trouble-phone-light", "status-phone"
        ] do
        let source = Path.Combine(root, "artifacts", "status-page", picture + ".png")
        File.Copy(source, Path.Combine(root, "docs", "images", name + ".png"), true)

let targets = [
    "build", "compile everything (what is done without a target)", (fun _ -> build ())
    "run", "serve examples/local with two receivers; further arguments go to the proxy", runExample
    "test",
    "all tests, against the published program too; -- core|proxy|journal|kubernetes|host|chart|docs [--filter LIST]: some of them",
    test
    "chart", "render the chart and the bases with helm and kubectl, and check them", (fun _ -> chart ())
    "docs", "rewrite the parts of documents that are made from the program", (fun _ -> docs ())
    "soak",
    "a minute of load over good and bad targets, then the totals; -- SECONDS; -- --chaos SECONDS: targets are killed",
    soak
    "attack",
    "attacks on the published program (and the native one, if it is there), beside a good client; -- --only TEXT",
    attack
    "crash",
    "kill -9 and power cuts (root) under load: nothing that was acknowledged is lost; -- --kills N --cuts N --seed N",
    crash
    "fuzz",
    "read ten million spoilt answers of targets, a million spoilt manifests and ten million heads; -- --heads N --seed N: only these",
    fuzz
    "bench",
    "the proxy beside nginx; -- --list: what is compared; -- --only TEXT; -- micro: single functions; -- cluster: 10,000 routes of a cluster",
    bench
    "hot-methods",
    "measure which methods run for each request, for the layout of the native program (Linux; needs nginx and perf)",
    (fun _ -> hotMethods ())
    "check", "formatting, and a build from nothing with warnings as errors", (fun _ -> check ())
    "screenshots", "make the pictures of docs/images again; needs Chromium", (fun _ -> screenshots ())
    "publish", "leave the program at artifacts/k8sreq/k8sreq", (fun _ -> publish ())
    "publish-native",
    "the same as native code, at artifacts/k8sreq-native/k8sreq: starts faster, takes minutes to build",
    (fun _ -> publishNative ())
    "release",
    "leave programs, chart, image, SBOM, checksums and notes in artifacts/release; says what this machine cannot make; -- PLATFORM…: only these",
    release
    "values", "write the table of the chart's values into its README", (fun _ -> runPack [ "values" ])
    "test-native", "the tests of the program as a process, with the native one", (fun _ -> testNative ())
    "ci", "all that CI does: check, test", (fun _ -> ci ())
    "help", "these lines (so does -- --help)", ignore
]

let usage () =
    printfn "dotnet fsi build.fsx [TARGET] [-- ARGUMENTS]"
    printfn ""

    for name, description, _ in targets do
        printfn "  %-16s%s" name description

let main arguments =
    match arguments with
    | [] -> build ()
    // Without the "--" before it, dotnet fsi takes --help for itself.
    | [ "--"; "--help" ]
    | [ "--help" ]
    | [ "help" ] -> usage ()
    | name :: rest ->
        match targets |> List.tryFind (fun (target, _, _) -> target = name) with
        | Some(_, _, action) -> action (rest |> List.filter ((<>) "--"))
        | None ->
            eprintfn "build: there is no target \"%s\"." name
            usage ()
            raise (Stop 2)

try
    main (fsi.CommandLineArgs |> Array.toList |> List.tail)
with Stop code ->
    exit code
