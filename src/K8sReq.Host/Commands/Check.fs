/// What a folder of manifests would route, as a text for people and an exit code for their CI.
module K8sReq.Host.Commands.Check

open System
open System.IO
open K8sReq.Core
open K8sReq.Host.Sources

let private table (header: string list) (rows: string list list) =
    let widths =
        header :: rows
        |> List.transpose
        |> List.map (List.map String.length >> List.max)

    header :: rows
    |> List.map (fun row ->
        List.map2 (fun (cell: string) (width: int) -> cell.PadRight width) row widths
        |> String.concat "  "
        |> _.TrimEnd())

let private routes (routeTable: RouteTable) = [
    for KeyValue(host, targets) in routeTable.Routes do
        for target in targets ->
            [ host.Value; string target.Clone; $"{target.Service.Name}"; target.Endpoint ]
]

let private isAboutClone (problem: ManifestProblem) =
    match problem with
    | ManifestProblem.Invalid(_, "RequestClone", _, _) -> true
    | ManifestProblem.Invalid _
    | ManifestProblem.Unparsable _
    | ManifestProblem.Unreadable _
    | ManifestProblem.Unusable _
    | ManifestProblem.Duplicate _ -> false

/// The lines to print, and whether nothing is wrong.
let report (content: FolderContent) : string list * bool =
    let routeTable =
        ClusterState.fold ClusterState.initial (FolderContent.toEvents content)
        |> RouteTable.ofState

    let routed =
        match routes routeTable with
        | [] -> [ "Nothing is routed." ]
        | rows -> table [ "HOST"; "REQUESTCLONE"; "SERVICE"; "ADDRESS" ] rows

    let section title lines =
        if List.isEmpty lines then [] else "" :: title :: lines

    // A RequestClone that is not valid is in both; it is said once, with its place.
    let unrouted = [
        for key, error in routeTable.Unrouted do
            match error with
            | ResolutionError.InvalidSpec _ -> ()
            | _ -> $"  RequestClone {key}: {Resolution.describeError error}"

        for problem in content.Problems do
            if isAboutClone problem then
                $"  {ManifestProblem.describe problem}"
    ]

    let problems =
        content.Problems
        |> List.filter (isAboutClone >> not)
        |> List.map (fun problem -> $"  {ManifestProblem.describe problem}")

    routed @ section "Not routed:" unrouted @ section "Problems:" problems,
    List.isEmpty unrouted && List.isEmpty problems

/// Prints the report and gives the exit code: 0 if nothing is wrong, else 1.
let run (output: TextWriter) (folder: string) : int =
    let lines, isGood = report ((ManifestFolder folder).Scan())

    for line in lines do
        output.WriteLine line

    if isGood then 0 else 1
