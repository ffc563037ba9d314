/// Which methods of the native program run while it copies requests, the most frequent first: the linker puts these beside each
/// other (`src/K8sReq.Host/Native.Order.txt`). Needs perf, and a program that was published with its symbols.
module K8sReq.Bench.HotMethods

open System
open System.Diagnostics
open System.IO
open System.Threading.Tasks
open K8sReq.TestKit

let private time = TimeSpan.FromSeconds 15.0

type private Setting =
    | Plain
    | Filtered
    | WithJournal

// What plain requests meet, from a few at a time to many, small and large; then what else is done for each of them.
let private runs = [
    for text, setting in
        [
            "POST 1 KiB, 2000/s, one write, empty", Plain
            "POST 1 KiB, 2000/s, two writes, responses of 2 bytes", Plain
            "POST 1 KiB, 400/s, one write, empty", Plain
            "GET, 2000/s", Plain
            "POST 64 KiB", Plain
            "POST 1 KiB, 2000/s, one write, empty", Filtered
            "POST 1 KiB, 2000/s, one write, empty", WithJournal
        ] do
        Scenarios.all
        |> List.find (fun scenario -> scenario.Name.StartsWith(text, StringComparison.Ordinal)),
        setting
]

let private peerOf (program: string) (journal: string) (setting: Setting) : Peer =
    let environment = [ "EVENT_LOOPS", "1" ]

    match setting with
    | Plain -> Peers.k8sreq "k8sreq" program environment
    | Filtered -> Peers.k8sreqWithFilter "k8sreq" program environment
    | WithJournal -> Peers.k8sreq "k8sreq" program (("JOURNAL", journal) :: environment)

let private perf (arguments: string list) : Task<string> = task {
    use running =
        Process.Start(
            ProcessStartInfo("perf", arguments, RedirectStandardOutput = true, RedirectStandardError = true)
        )
        |> nonNull

    let errors = running.StandardError.ReadToEndAsync()
    let! printed = running.StandardOutput.ReadToEndAsync()
    do! running.WaitForExitAsync()
    let! errors = errors

    if running.ExitCode <> 0 then
        failwith $"perf: {errors}"

    return printed
}

let private methodsOf (program: string) (scenario: Scenario) (setting: Setting) : Task<Map<string, int>> =
    task {
        use stage = new Stage(scenario)
        use folder = new TestFolder()
        let recording = folder.At "perf.data"
        use journal = new TestFolder()
        do! stage.Add(peerOf program journal.Path setting, 20_000L)
        let peer = List.head stage.Peers

        let load =
            Stage.Load(
                peer,
                scenario,
                fun generator ->
                    match Schedule.ofPace 0 time scenario.Pace with
                    | Some schedule -> generator.Follow(schedule, time)
                    | None -> generator.Saturate(Int64.MaxValue, time)
            )

        let seconds = string (int time.TotalSeconds - 1)

        let! _ =
            perf [
                yield! [ "record"; "-q"; "-e"; "cpu-clock:u"; "-F"; "10000"; "-o"; recording ]
                yield! [ "-p"; string peer.Running.ProcessId; "--"; "sleep"; seconds ]
            ]

        let! _ = load
        let! samples = perf [ "script"; "-i"; recording; "-F"; "comm,ip,sym,dso" ]
        let found = MethodSamples.count program samples
        printfn $"{scenario.Name}, {setting}: {found.Count} methods"

        if found.Count < 20 then
            failwith $"Hardly any method has a name: was {program} published with its symbols?"

        return found
    }

/// Writes their names into a file, a line each.
let run (program: string) (file: string) : Task<int> = task {
    let mutable all = Map.empty

    for scenario, setting in runs do
        let! found = methodsOf (Path.GetFullPath program) scenario setting

        all <-
            (all, found)
            ||> Map.fold (fun all name count ->
                all |> Map.change name (fun before -> Some(count + defaultArg before 0)))

    let names =
        all
        |> Map.toList
        |> List.sortBy (fun (name, count) -> -count, name)
        |> List.map fst

    File.WriteAllText(file, String.Join("\n", names) + "\n")
    printfn $"{names.Length} methods: {file}"
    return 0
}
