module K8sReq.Core.Tests.Bench.ReportTests

open Expecto
open K8sReq.Bench
open K8sReq.Bench.Report

let private slice = {
    Cpu = 100.0
    UserShare = 0.25
    Switches = 2.5
    Connects = 0.0
    P50 = nan
    P99 = nan
    Rate = 1000.0
    Lost = 0L
    NotAccepted = 0L
    MemoryBefore = 10L * 1048576L
    Memory = 12L * 1048576L
    LateP50 = 11.0
    LateP99 = 90.0
    Waited = 1L
    GeneratorCpu = 20.0
    IdlePeers = 0.01
    Foreign = 0.5
}

let private peer name slices = {
    Peer = name
    Slices = slices
    SystemCalls = None
}

let private result peers = {
    Scenario = "GET"
    LoadAverage = "1 2 3"
    Peers = peers
}

/// The cells of each line, by the names of the columns.
let private rows (table: string list) =
    let cells (line: string) =
        line.Trim('|').Split '|' |> Array.map _.Trim() |> List.ofArray

    match table with
    | heading :: _ :: lines -> lines |> List.map (fun line -> List.zip (cells heading) (cells line))
    | _ -> failtest "a table has a heading"

let private cellsNamed name row =
    row |> List.filter (fun (column, _) -> column = name) |> List.map snd

let tests =
    testList "Bench.Report" [
        test "a ratio is the median of those of the rounds, with the smallest and the largest" {
            let table =
                Report.table [ "a" ] [
                    result [
                        // A slow second round slows both down: in each of them b takes as much or less than a.
                        peer "a" [ for cpu in [ 100.0; 300.0; 100.0 ] -> { slice with Cpu = cpu } ]
                        peer "b" [ for cpu in [ 50.0; 300.0; 80.0 ] -> { slice with Cpu = cpu } ]
                    ]
                ]

            let ratios = rows table |> List.map (cellsNamed "of a")
            Expect.equal ratios[0] [ ""; "" ] "a is not compared with itself"
            Expect.equal (List.head ratios[1]) "0.80 (0.50–1.00)" "0.5, 1.0, 0.8"
        }

        test "throughput is compared with the first baseline" {
            let table =
                Report.table [ "a"; "b" ] [
                    result [ peer "a" [ slice ]; peer "b" [ { slice with Rate = 1500.0 } ] ]
                ]

            let rows = rows table
            Expect.equal (cellsNamed "of a" rows[1]) [ "1.00"; "1.50" ] "CPU, throughput"
            Expect.equal (cellsNamed "of b" rows[0]) [ "1.00" ] "CPU alone"
        }

        test "user and system time are parts of the CPU time" {
            let row = List.head (rows (Report.table [] [ result [ peer "a" [ slice ] ] ]))
            Expect.equal (cellsNamed "user" row) [ "25.0" ] "a quarter of 100"
            Expect.equal (cellsNamed "system" row) [ "75.0" ] "the rest"
        }

        test "what is not known is a dash" {
            let row = List.head (rows (Report.table [] [ result [ peer "a" [ slice ] ] ]))
            Expect.equal (cellsNamed "p50 ms" row) [ "–" ] "nan"
        }

        test "losses of all rounds add up, and stand out" {
            let row = [
                peer "a" [
                    { slice with Lost = 2L }
                    { slice with NotAccepted = 3L }
                    { slice with Lost = 1L }
                ]
            ]

            let row = List.head (rows (Report.table [] [ result row ]))
            Expect.equal (cellsNamed "lost" row) [ "**3** lost, **3** not answered 202" ] "2 + 1, 3"
        }

        test "memory is the most of all rounds, grown since before the first" {
            let later = {
                slice with
                    MemoryBefore = slice.Memory
                    Memory = 15L * 1048576L
            }

            let row =
                List.head (rows (Report.table [] [ result [ peer "a" [ slice; later ] ] ]))

            Expect.equal (cellsNamed "MiB" row @ cellsNamed "grown" row) [ "15"; "+5" ] "10 to 15"
        }

        test "system calls have a column if they were counted" {
            let counted = {
                peer "a" [ slice ] with
                    SystemCalls = Some 13.44
            }

            let row = List.head (rows (Report.table [] [ result [ counted ] ]))
            Expect.equal (cellsNamed "system calls" row) [ "13.4" ] "counted"
            let row = List.head (rows (Report.table [] [ result [ peer "a" [ slice ] ] ]))
            Expect.equal (cellsNamed "system calls" row) [] "not counted"
        }

        test "conditions are those of all turns of a scenario" {
            let slices = [ slice; { slice with Foreign = 1.5 } ]

            let row =
                List.head (rows (Report.conditions [ result [ peer "a" slices; peer "b" slices ] ]))

            Expect.equal (cellsNamed "sent late, p50 / p99 µs" row) [ "11 / 90" ] "medians"
            Expect.equal (cellsNamed "waited for a connection" row) [ "4" ] "the sum"
            Expect.equal (cellsNamed "other processes, cores (most)" row) [ "1.00 (1.50)" ] "median, most"
        }
    ]
