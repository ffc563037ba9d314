/// `k8sreq doctor`: looks at what the proxy needs, and says what is wrong with it, a line each.
module K8sReq.Host.Commands.Doctor

open System
open System.IO
open System.Net.Http
open System.Text
open System.Text.Json
open System.Threading
open System.Threading.Tasks
open Npgsql
open K8sReq.Core
open K8sReq.Host.Admin
open K8sReq.Host.Manifests
open K8sReq.Journal.Postgres
open K8sReq.Kubernetes
open K8sReq.Kubernetes.Doctor

let private folderFindings (folder: string) : Finding list =
    if not (Directory.Exists folder) then
        [ Finding.failed "routes" $"the folder {folder} does not exist" ]
    else
        let report = Check.report true ((ManifestFolder(RouteKinds.kinds, folder)).Scan())
        let routes = report.Routes.Length

        [
            if report.IsGood && routes = 0 then
                Finding.warning "routes" $"{folder} has no RequestClone: every request is answered 503"
            elif report.IsGood then
                Finding.ok
                    "routes"
                    $"""{routes} {if routes = 1 then "RequestClone" else "RequestClones"} in {folder}, all routed"""
            else
                for problem in report.NotRouted @ report.Problems do
                    Finding.failed "routes" problem
        ]

// A file is written and synced, as the journal does.
let private tryWrite (folder: string) : Result<unit, string> =
    try
        let probe = Path.Combine(folder, $".doctor-{Guid.NewGuid():N}")

        use file =
            new FileStream(
                probe,
                FileMode.CreateNew,
                FileAccess.Write,
                FileShare.None,
                4096,
                FileOptions.DeleteOnClose
            )

        file.WriteByte 0uy
        file.Flush true
        Ok()
    with
    | :? IOException
    | :? UnauthorizedAccessException as error -> Error error.Message

let private folderJournal (folder: string) (limit: int64) : Finding =
    if not (Directory.Exists folder) then
        Finding.warning "journal" $"the folder {folder} does not exist yet; the proxy creates it"
    else
        match tryWrite folder with
        | Error reason -> Finding.failed "journal" $"{folder} cannot be written: {reason}"
        | Ok() ->
            let free = DriveInfo(Path.GetFullPath folder).AvailableFreeSpace

            let used =
                Directory.EnumerateFiles folder |> Seq.sumBy (fun file -> FileInfo(file).Length)

            // Dead letters may take a quarter more.
            let wanted = limit + limit / 4L - used

            if free < wanted then
                Finding.warning
                    "journal"
                    $"{folder} can be written, but has {free} bytes free, and JOURNAL_BYTES ({limit}) with dead letters may take {wanted} more"
            else
                Finding.ok "journal" $"{folder} can be written, {free} bytes free"

let private postgresJournal (address: PostgresAddress) (settings: JournalSettings) : Task<Finding> = task {
    let place = PostgresAddress.describe address

    try
        let password = settings.PasswordFile |> Option.map JournalEngines.readPassword
        use connections = PostgresConnections.create address password
        use! connection = connections.OpenConnectionAsync()

        return
            match PostgresSchema.state connection with
            | PostgresSchema.Missing ->
                Finding.warning
                    "journal"
                    $"{place} can be reached, and has no tables yet; the proxy creates them if its role may, else see `k8sreq journal sql`"
            | PostgresSchema.Version version when version > PostgresSchema.version ->
                Finding.failed "journal" $"{place} has tables of version {version}, later than this program's"
            | PostgresSchema.Version _ -> Finding.ok "journal" $"{place} can be reached, and has its tables"
    with
    | :? NpgsqlException
    | :? IOException
    | :? UnauthorizedAccessException as error ->
        return Finding.failed "journal" $"{place} cannot be reached: {error.GetBaseException().Message}"
}

let private journal (settings: Settings) : Task<Finding> =
    match settings.Journal with
    | None ->
        Task.FromResult(Finding.skipped "journal" "none is configured (JOURNAL): copies are kept in memory")
    | Some journal ->
        match journal.KeptIn with
        | JournalPlace.Folder folder -> Task.FromResult(folderJournal folder journal.Limit)
        | JournalPlace.Postgres address -> postgresJournal address journal

// Where a client of the same machine finds the page.
let private pageOf (address: ListenAddress) : string =
    match address.Host with
    | ListenHost.Any
    | ListenHost.Localhost -> $"http://127.0.0.1:{address.Port}"
    | ListenHost.Address ip -> $"http://{Net.IPEndPoint(ip, address.Port)}"

// The replica beside this command, as in `kubectl exec`.
let private replica (settings: Settings) : Task<Finding> = task {
    let page = pageOf settings.StatusAddr
    use handler = new SocketsHttpHandler(UseProxy = false)
    use client = new HttpClient(handler, Timeout = TimeSpan.FromSeconds 5.0)

    try
        let! text = client.GetStringAsync(page + "/api/status")
        use document = JsonDocument.Parse text
        let status = document.RootElement
        let name = Json.textAt [ "instance" ] status

        return
            match Json.tryField "ready" status with
            | Some ready when ready.ValueKind = JsonValueKind.True ->
                Finding.ok "replica" $"{name} at {page} is ready"
            | _ -> Finding.failed "replica" $"{name} at {page} is not ready: its log says why"
    with
    | :? HttpRequestException
    | :? TaskCanceledException
    | :? JsonException -> return Finding.skipped "replica" $"none runs beside this command ({page})"
}

let private cluster environment (settings: Settings) : Task<Finding list> = task {
    match ClusterAccess.find settings.Kubeconfig environment with
    | Error reason -> return [ Finding.failed "cluster" reason ]
    | Ok access ->
        use limit = new CancellationTokenSource(TimeSpan.FromMinutes 1.0)
        return! Diagnosis.run TimeProvider.System access settings limit.Token
}

let private lines (findings: Finding list) : string list =
    TextTable.lines [ "STATE"; "CHECK"; "WHAT" ] [
        for finding in findings -> [ Finding.stateName finding.State; finding.Check; finding.Detail ]
    ]

let private json (findings: Finding list) : string =
    JsonOutput.render (fun json ->
        JsonOutput.object json (fun () ->
            json.WriteBoolean("ok", not (List.exists Finding.isBad findings))

            JsonOutput.array json "findings" findings (fun finding ->
                JsonOutput.object json (fun () ->
                    json.WriteString("check", finding.Check)
                    json.WriteString("state", Finding.stateName finding.State)
                    json.WriteString("detail", finding.Detail)))))
    |> Encoding.UTF8.GetString

/// Prints what was found, and returns the exit code: 1 if anything has failed, else 0.
let run (environment: Map<string, string>) (output: TextWriter) (command: DoctorCommand) : Task<int> = task {
    let settings = command.Settings

    let! ofRoutes =
        match settings.Manifests with
        | Some folder -> Task.FromResult(folderFindings folder)
        | None -> cluster environment settings

    let! journal = journal settings
    let! replica = replica settings
    let findings = ofRoutes @ [ journal; replica ]

    match command.Output with
    | OutputFormat.Table ->
        for line in lines findings do
            output.WriteLine(line: string)
    | OutputFormat.Json -> output.WriteLine(json findings)

    return if List.exists Finding.isBad findings then 1 else 0
}
