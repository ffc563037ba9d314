/// What manifests would route, as a text for people and an exit code for their CI.
module K8sReq.Host.Commands.Check

open System
open System.IO
open System.Net
open System.Text
open K8sReq.Core
open K8sReq.Host
open K8sReq.Proxy
open K8sReq.Kubernetes
open K8sReq.Host.Manifests

// Stands for the address that a cluster gives a Service. One of those for documentation: no Service has it.
let private assigned = IPAddress.Parse "192.0.2.1"

/// With addresses for Services that get theirs in a cluster, and whether there are any. Where one Service has an address, all
/// need one: that folder is meant for `--manifests`.
let private assignAddresses (content: FolderContent) : FolderContent * bool =
    let isService (object: DeclaredObject) = object.Kind = BackendService.kind.Name

    let addresses =
        content.Objects
        |> List.filter isService
        |> List.map (fun object -> (unbox<BackendService> object.Object).Address)

    let isGiven =
        function
        | ServiceAddress.ClusterIP _ -> true
        | _ -> false

    if
        List.exists isGiven addresses
        || not (List.contains ServiceAddress.Unassigned addresses)
    then
        content, false
    else
        let assign (object: DeclaredObject) =
            match object.Object with
            | :? BackendService as service when service.Address = ServiceAddress.Unassigned -> {
                object with
                    Object = {
                        service with
                            Address = ServiceAddress.ClusterIP assigned
                    }
              }
            | _ -> object

        {
            content with
                Objects = List.map assign content.Objects
        },
        true

let private routes (routeTable: RouteTable) = [
    for host, targets in routeTable.Routes.Ordered do
        for target in targets ->
            [
                host.Value
                string target.Clone
                $"{target.Service.Name}"
                if target.Address.Equals assigned then
                    $"clusterIP:{target.Port}"
                else
                    target.Endpoint
            ]
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
let private unjudged (routeTable: RouteTable) = [
    for clone in routeTable.Clones.Values do
        match clone.Resolved, clone.Clone.Spec with
        | Error(ResolutionError.ServiceNotFound service), Ok spec -> [
            spec.Host.Value
            string clone.Clone.Key
            service.Name
            "not checked"
          ]
        | _ -> ()
]

/// The lines to print, and whether nothing is wrong. Unless `judgesServices`, a Service that is not there is no fault.
let report (judgesServices: bool) (content: FolderContent) : string list * bool =
    let content, isForCluster = assignAddresses content

    let routeTable =
        ClusterState.fold ClusterState.initial (FolderContent.toEvents RouteKinds.all content)
        |> RouteTable.ofState

    let unjudged = if judgesServices then [] else unjudged routeTable

    let routed =
        match routes routeTable @ List.sort unjudged with
        | [] -> [ "Nothing is routed." ]
        | rows -> TextTable.lines [ "HOST"; "REQUESTCLONE"; "SERVICE"; "ADDRESS" ] rows

    let section title lines =
        if List.isEmpty lines then [] else "" :: title :: lines

    // A RequestClone that is not valid is in both; it is printed once, with its place.
    let unrouted = [
        for key, error in routeTable.Unrouted do
            match error with
            | ResolutionError.InvalidSpec _ -> ()
            | ResolutionError.ServiceNotFound _ when not judgesServices -> ()
            | _ -> $"  RequestClone {key}: {Resolution.describeError error}"

        for problem in content.Problems do
            if isAboutClone problem then
                $"  {ManifestProblem.describe problem}"
    ]

    let problems =
        content.Problems
        |> List.filter (isAboutClone >> not)
        |> List.map (fun problem -> $"  {ManifestProblem.describe problem}")

    let notes = [
        if not (List.isEmpty unjudged) then
            ""
            "The input has no Services, so only the RequestClones themselves were checked."
        if isForCluster then
            ""
            "No Service has a clusterIP: a cluster assigns it. Outside a cluster (--manifests) these are not routed."
    ]

    routed @ section "Not routed:" unrouted @ section "Problems:" problems @ notes,
    List.isEmpty unrouted && List.isEmpty problems

let private ofText (name: string) (text: string) : FolderContent =
    let read =
        // kubectl writes either, and only a name would tell which.
        if text.TrimStart().StartsWith '{' then
            ManifestFile.parseJson RouteKinds.kinds name text
        else
            ManifestFile.parse RouteKinds.kinds name text

    match read with
    | Ok(manifests, problems) -> FolderContent.ofManifests manifests problems
    | Error problem -> FolderContent.ofManifests [] [ problem ]

let private readText (name: string) (reader: TextReader) : FolderContent =
    try
        match reader.ReadToEnd() with
        // That is no list without objects: whatever should have written it has failed.
        | text when String.IsNullOrWhiteSpace text ->
            FolderContent.ofManifests [] [ ManifestProblem.Unreadable(name, "it is empty") ]
        | text -> ofText name text
    with
    | :? DecoderFallbackException ->
        FolderContent.ofManifests [] [ ManifestProblem.Unreadable(name, "the text is not UTF-8") ]
    | :? IOException
    | :? UnauthorizedAccessException as error ->
        FolderContent.ofManifests [] [ ManifestProblem.Unreadable(name, error.Message) ]

/// Standard input as text.
let standardInput () : TextReader =
    new StreamReader(StandardStreams.openInput (), UTF8Encoding(false, true))

/// Prints what a folder, a file or, for `-`, the input gives, and returns the exit code: 0 if nothing is wrong, else 1.
/// Services that are not there are faults of a folder, which has all that is routed by; of the other two, only where there
/// is any Service: `kubectl get requestclones` gives none.
let run (input: unit -> TextReader) (output: TextWriter) (path: string) : int =
    let lines, isGood =
        if Directory.Exists path then
            report true ((ManifestFolder(RouteKinds.kinds, path)).Scan())
        else
            let content =
                if path = "-" then
                    use reader = input ()
                    readText "standard input" reader
                else
                    try
                        use reader = new StreamReader(path, UTF8Encoding(false, true))
                        readText path reader
                    with
                    | :? IOException
                    | :? UnauthorizedAccessException as error ->
                        FolderContent.ofManifests [] [ ManifestProblem.Unreadable(path, error.Message) ]

            report (not (FolderContent.ofKind BackendService.kind.Name content).IsEmpty) content

    for line in lines do
        output.WriteLine line

    if isGood then 0 else 1
