/// What manifests would route, as a text for people and an exit code for their CI.
module K8sReq.Host.Commands.Check

open System
open System.IO
open System.Text
open K8sReq.Core
open K8sReq.Host
open K8sReq.Host.Admin
open K8sReq.Proxy
open K8sReq.Kubernetes
open K8sReq.Host.Manifests

/// A copy that would be made.
type CheckedRoute = {
    Host: string
    Clone: ObjectKey
    Service: string
    /// None where the input has no Service to take it from.
    Address: string option
}

/// What manifests give.
type CheckReport = {
    Routes: CheckedRoute list
    /// RequestClones that are not routed: each with its reason, in a line.
    NotRouted: string list
    Problems: string list
} with

    member report.IsGood = report.NotRouted.IsEmpty && report.Problems.IsEmpty
    /// Whether there are RequestClones whose Services were not in the input.
    member report.HasUnjudged = report.Routes |> List.exists _.Address.IsNone

let private routes (routeTable: RouteTable) : CheckedRoute list = [
    for host, targets in routeTable.Routes.Ordered do
        for target in targets ->
            {
                Host = host.Value
                Clone = target.Clone
                Service = target.Service.Name
                Address = Some(AssignedAddresses.describe target)
            }
]

let private isAboutClone (problem: ManifestProblem) =
    match problem with
    | ManifestProblem.Invalid(_, "RequestClone", _, _) -> true
    | ManifestProblem.Invalid _
    | ManifestProblem.Unparsable _
    | ManifestProblem.Unreadable _
    | ManifestProblem.Unusable _
    | ManifestProblem.Duplicate _ -> false

// RequestClones whose Service nobody can judge: they are shown as they would be routed.
let private unjudged (routeTable: RouteTable) : CheckedRoute list = [
    for clone in routeTable.Clones.Values do
        match clone.Resolved, clone.Clone.Spec with
        | Error(ResolutionError.ServiceNotFound service), Ok spec -> {
            Host = spec.Host.Value
            Clone = clone.Clone.Key
            Service = service.Name
            Address = None
          }
        | _ -> ()
]

/// What the content gives. Unless `judgesServices`, a Service that is not there is no fault.
let report (judgesServices: bool) (content: FolderContent) : CheckReport =
    let routeTable =
        ClusterState.fold ClusterState.initial (FolderContent.toEvents RouteKinds.all content)
        |> RouteTable.ofState

    {
        Routes =
            routes routeTable
            @ if judgesServices then
                  []
              else
                  List.sort (unjudged routeTable)
        // A RequestClone that is not valid is in both; it is printed once, with its place.
        NotRouted = [
            for key, error in routeTable.Unrouted do
                match error with
                | ResolutionError.InvalidSpec _ -> ()
                | ResolutionError.ServiceNotFound _ when not judgesServices -> ()
                | _ -> $"RequestClone {key}: {Resolution.describeError error}"

            for problem in content.Problems do
                if isAboutClone problem then
                    ManifestProblem.describe problem
        ]
        Problems =
            content.Problems
            |> List.filter (isAboutClone >> not)
            |> List.map ManifestProblem.describe
    }

let private tableLines (isForCluster: bool) (report: CheckReport) : string list =
    let routed =
        match report.Routes with
        | [] -> [ "Nothing is routed." ]
        | routes ->
            TextTable.lines [ "HOST"; "REQUESTCLONE"; "SERVICE"; "ADDRESS" ] [
                for route in routes ->
                    [
                        route.Host
                        string route.Clone
                        route.Service
                        route.Address |> Option.defaultValue "not checked"
                    ]
            ]

    let section title lines =
        if List.isEmpty lines then
            []
        else
            "" :: title :: [ for line in lines -> $"  {line}" ]

    let notes = [
        if report.HasUnjudged then
            ""
            "The input has no Services, so only the RequestClones themselves were checked."

        if isForCluster then
            ""
            "No Service has a clusterIP: a cluster assigns it. Outside a cluster (--manifests) these are not routed."
    ]

    routed
    @ section "Not routed:" report.NotRouted
    @ section "Problems:" report.Problems
    @ notes

// Field names are part of the interface.
let private json (report: CheckReport) : string =
    JsonOutput.render (fun json ->
        JsonOutput.object json (fun () ->
            json.WriteBoolean("ok", report.IsGood)

            JsonOutput.array json "routes" report.Routes (fun route ->
                JsonOutput.object json (fun () ->
                    json.WriteString("host", route.Host)
                    json.WriteString("clone", string route.Clone)
                    json.WriteString("service", route.Service)

                    match route.Address with
                    | Some address -> json.WriteString("address", address)
                    | None -> json.WriteNull "address"))

            JsonOutput.array json "notRouted" report.NotRouted json.WriteStringValue
            JsonOutput.array json "problems" report.Problems json.WriteStringValue))
    |> Encoding.UTF8.GetString

// What was read, before it is put together.
type private Input = Manifest list * ManifestProblem list

let private ofText (name: string) (text: string) : Input =
    let read =
        // kubectl writes either, and only a name would tell which.
        if text.TrimStart().StartsWith '{' then
            ManifestFile.parseJson RouteKinds.kinds name text
        else
            ManifestFile.parse RouteKinds.kinds name text

    match read with
    | Ok(manifests, problems) -> manifests, problems
    | Error problem -> [], [ problem ]

let private readText (name: string) (reader: TextReader) : Input =
    try
        match reader.ReadToEnd() with
        // That is no list without objects: whatever should have written it has failed.
        | text when String.IsNullOrWhiteSpace text -> [], [ ManifestProblem.Unreadable(name, "it is empty") ]
        | text -> ofText name text
    with
    | :? DecoderFallbackException -> [], [ ManifestProblem.Unreadable(name, "the text is not UTF-8") ]
    | :? IOException
    | :? UnauthorizedAccessException as error -> [], [ ManifestProblem.Unreadable(name, error.Message) ]

/// Standard input as text.
let standardInput () : TextReader =
    new StreamReader(StandardStreams.openInput (), UTF8Encoding(false, true))

// A folder, a file or, for `-`, standard input.
let private readPath (input: unit -> TextReader) (path: string) : Input =
    if Directory.Exists path then
        ManifestFolder(RouteKinds.kinds, path).Read()
    elif path = "-" then
        use reader = input ()
        readText "standard input" reader
    else
        try
            use reader = new StreamReader(path, UTF8Encoding(false, true))
            readText path reader
        with
        | :? IOException
        | :? UnauthorizedAccessException as error -> [], [ ManifestProblem.Unreadable(path, error.Message) ]

/// Prints what folders, files and standard input (`-`) give together, and returns the exit code: 0 if nothing is wrong, else 1.
/// Services that are not there are faults of a folder, which has all that is routed by; without one, only where there is any
/// Service: `kubectl get requestclones` gives none.
let run (input: unit -> TextReader) (output: TextWriter) (command: CheckCommand) : int =
    let inputs = command.Paths |> List.map (readPath input)

    let content, isForCluster =
        FolderContent.ofManifests (List.collect fst inputs) (List.collect snd inputs)
        |> AssignedAddresses.assign

    let judgesServices =
        List.exists Directory.Exists command.Paths
        || not (FolderContent.ofKind BackendService.kind.Name content).IsEmpty

    let report = report judgesServices content

    match command.Output with
    | OutputFormat.Table ->
        for line in tableLines isForCluster report do
            output.WriteLine(line: string)
    | OutputFormat.Json -> output.WriteLine(json report)

    if report.IsGood then 0 else 1
