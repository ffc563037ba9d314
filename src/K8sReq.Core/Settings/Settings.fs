namespace K8sReq.Core

open System
open FsToolkit.ErrorHandling

/// Where a setting came from, as the user wrote it: `--http-addr` or `HTTP_ADDR`.
type SettingSource = string

/// One thing that is wrong with the command line or the environment.
[<RequireQualifiedAccess>]
type SettingError =
    | Invalid of SettingSource * given: string * accepted: string
    | Missing of SettingSource * why: string
    | WithoutValue of flag: string * accepted: string
    | UnknownFlag of flag: string
    | UnexpectedArgument of argument: string

/// How much is logged, each including those after it.
[<RequireQualifiedAccess>]
type LogDetail =
    | Debug
    | Info
    | Warning
    | Error

[<RequireQualifiedAccess>]
type LogFormat =
    | Console
    /// One object a line.
    | Json

/// All that the proxy can be told. Timeouts are never 0.
type Settings = {
    HttpAddr: ListenAddress
    MetricsAddr: ListenAddress
    ProbeAddr: ListenAddress
    StatusAddr: ListenAddress
    /// The folder of manifests that the routes come from; None for the cluster.
    Manifests: string option
    /// The kubeconfig file that was given as a flag. Where the variable alone names some, see `ClusterAccess`.
    Kubeconfig: string option
    /// How long a client may take to send its body, and a target to answer.
    ReadTimeout: TimeSpan
    /// How long a client's connection is kept without a request.
    IdleTimeout: TimeSpan
    /// How long connecting to a target and sending it a copy may take.
    WriteTimeout: TimeSpan
    /// How old a connection to a target may grow before it is closed between two copies; zero for no limit.
    TargetConnectionMaxAge: TimeSpan
    /// Bytes; None for no limit.
    BodySizeLimit: int64 option
    /// Of each target.
    Lane: LaneLimits
    /// Bytes of requests that are held in memory, all together.
    BufferBytes: int64
    /// Of clients, at once. None for as many as memory and descriptors allow.
    MaxConnections: int option
    /// Attempts after the first, of all RequestClones of a namespace together.
    RetriesPerSecond: int
    /// RequestClones of one namespace that are served for one host.
    MaxClonesPerHost: int
    /// Whether copies are sent to addresses of this machine or its link. None: where the routes come from a folder.
    AllowLocalTargets: bool option
    /// The name that Via fields know this proxy by.
    ViaName: string
    /// How long to go on serving, unready, after being told to stop.
    ShutdownDelay: TimeSpan
    /// How long accepted copies have for their end after that.
    GracefulShutdownTimeout: TimeSpan
    EnableLeaderElection: bool
    LeaderElectionNamespace: string option
    /// What the Lease is called: replicas that share it elect one leader.
    LeaderElectionName: string
    /// Empty for all.
    Namespaces: string list
    /// Which RequestClones count; empty for all.
    WatchLabelSelector: string
    /// Of status writes.
    Concurrent: int
    LogDetail: LogDetail
    LogFormat: LogFormat
    /// OpenTelemetry's variables that were given as flags, by their names.
    OpenTelemetry: (string * string) list
    /// Every setting as it was given, or its default: by variable, for people.
    InForce: (string * string) list
}

/// A setting as users see it: the flag `--name` and the variable `NAME` mean the same.
type SettingSpec = {
    Name: string
    Default: string
    Accepted: string
    Help: string
    /// A flag that may stand without a value, which then means true.
    IsSwitch: bool
}

module SettingSpec =
    let flag (spec: SettingSpec) = "--" + spec.Name

    let variable (spec: SettingSpec) =
        spec.Name.ToUpperInvariant().Replace('-', '_')

module Settings =
    let private address = "[HOST]:PORT, such as :8080 or 127.0.0.1:8080"
    let private duration = "a duration of 1ms or more, such as 30s, 1m30s or 500ms"

    let private spec name byDefault accepted help = {
        Name = name
        Default = byDefault
        Accepted = accepted
        Help = help
        IsSwitch = false
    }

    let private httpAddr =
        spec "http-addr" ":8080" address "where requests to duplicate come in"

    let private metricsAddr =
        spec "metrics-addr" ":9556" address "where /metrics answers"

    let private probeAddr =
        spec "probe-addr" ":9557" address "where /healthz and /readyz answer"

    let private statusAddr =
        spec "status-addr" "127.0.0.1:9558" address "where the status page is, and its data under /api"

    let private logLevel =
        spec "log-level" "info" "debug, info, warn or error" "how much is logged"

    let private logFormat =
        spec "log-format" "console" "console or json" "lines for people, or an object a line"

    let private manifests =
        spec
            "manifests"
            ""
            "a folder"
            "the folder of manifests that the routes come from; without it they come from the cluster"

    let private kubeconfig =
        spec
            "kubeconfig"
            ""
            "a file; in KUBECONFIG several, separated as in PATH"
            "how to reach the cluster; by default the pod's service account, else ~/.kube/config"

    let private readTimeout =
        spec
            "proxy-read-timeout"
            "30s"
            duration
            "how long a client may take for its body, and a target for the head of its answer"

    let private writeTimeout =
        spec
            "proxy-write-timeout"
            "30s"
            duration
            "how long connecting to a target and sending it a copy may take"

    let private bodySizeLimit =
        spec
            "body-size-limit"
            "2000000"
            "a number of bytes, 0 for no limit"
            "the largest body that is accepted"

    let private maxConcurrentRequests =
        spec
            "max-concurrent-requests"
            "256"
            "a whole number from 1 to 65535"
            "the number of copies that are sent to one target at once"

    let private queueBytes =
        spec "queue-bytes" "16777216" "a number of bytes" "what may wait for one target; more is dropped"

    let private bufferBytes =
        spec
            "buffer-bytes"
            "268435456"
            "a number of bytes from 65536"
            "what requests may hold in memory, all together; more are answered 503"

    let private maxConnections =
        spec
            "max-connections"
            "auto"
            "a whole number from 1, or auto"
            "of clients, at once; auto: as memory and descriptors allow"

    let private retriesPerSecond =
        spec
            "retries-per-second"
            "1000"
            "a whole number from 1 to 1000000"
            "attempts after the first, of all RequestClones of a namespace; more wait"

    let private maxClonesPerHost =
        spec
            "max-clones-per-host"
            "1000"
            "a whole number from 1 to 1000000"
            "RequestClones of one namespace for one host that are served"

    let private allowLocalTargets =
        spec
            "allow-local-targets"
            "auto"
            "true, false or auto"
            "whether a Service may have a loopback, link-local or multicast address; auto: with --manifests alone"

    let private viaName =
        spec
            "via-name"
            "k8sreq"
            "letters, digits and any of !#$%&'*+-.^_`|~"
            "the name in the Via field of copies; a request that has it already is a loop"

    let private shutdownDelay =
        spec
            "shutdown-delay"
            "0s"
            "a duration, such as 5s or 0s"
            "how long to go on serving, unready, after SIGTERM"

    let private gracefulShutdownTimeout =
        spec
            "graceful-shutdown-timeout"
            "25s"
            "a duration, such as 25s or 0s"
            "how long accepted copies have for their end after that"

    let private idleTimeout =
        spec
            "idle-timeout"
            "620s"
            "a duration of at least 1ms, such as 620s"
            "how long a client's connection is kept without a request; longer than the balancer in front keeps it"

    let private targetConnectionMaxAge =
        spec
            "target-connection-max-age"
            "30s"
            "a duration, such as 30s, or 0s for no limit"
            "close a connection to a target when it is this old, so that copies follow the Service to other pods"

    let private enableLeaderElection = {
        spec
            "enable-leader-election"
            "false"
            "true or false"
            "let one replica alone write statuses and events" with
            IsSwitch = true
    }

    let private leaderElectionNamespace =
        spec
            "leader-election-namespace"
            ""
            "a namespace"
            "where the lease is; by default the program's own namespace"

    let private leaderElectionName =
        spec
            "leader-election-name"
            "k8sreq-duplicator-controller"
            "the name of a Lease"
            "the Lease that replicas share; another one for each installation in a namespace"

    let private namespaces =
        spec
            "namespaces"
            ""
            "namespaces, separated by commas, empty for all"
            "where RequestClones and Services are watched"

    let private watchLabelSelector =
        spec
            "watch-label-selector"
            ""
            "a label selector, such as team=a,tier!=test"
            "the RequestClones that count"

    let private concurrent =
        spec "concurrent" "2" "a whole number from 1 to 1000" "how many statuses are written at once"

    /// Every setting, in the order in which they are shown.
    let specs = [
        manifests
        httpAddr
        probeAddr
        metricsAddr
        statusAddr
        readTimeout
        writeTimeout
        idleTimeout
        targetConnectionMaxAge
        bodySizeLimit
        maxConcurrentRequests
        queueBytes
        bufferBytes
        maxConnections
        retriesPerSecond
        maxClonesPerHost
        allowLocalTargets
        viaName
        shutdownDelay
        gracefulShutdownTimeout
        namespaces
        watchLabelSelector
        enableLeaderElection
        leaderElectionNamespace
        leaderElectionName
        concurrent
        kubeconfig
        logLevel
        logFormat
    ]

    let private tryBool (text: string) =
        match text with
        | "1"
        | "t"
        | "T"
        | "true"
        | "True"
        | "TRUE" -> Some true
        | "0"
        | "f"
        | "F"
        | "false"
        | "False"
        | "FALSE" -> Some false
        | _ -> None

    let private tryInteger (lowest: int64) (highest: int64) (text: string) =
        match
            Int64.TryParse(text, Globalization.NumberStyles.None, Globalization.CultureInfo.InvariantCulture)
        with
        | true, number when number >= lowest && number <= highest -> Some number
        | _ -> None

    // None for auto.
    let private tryAuto (tryParse: string -> 'T option) (text: string) : 'T option option =
        if text.Equals("auto", StringComparison.OrdinalIgnoreCase) then
            Some None
        else
            tryParse text |> Option.map Some

    let private tryLogDetail (text: string) =
        match text.ToLowerInvariant() with
        | "debug"
        | "trace" -> Some LogDetail.Debug
        | "info"
        | "information" -> Some LogDetail.Info
        | "warn"
        | "warning" -> Some LogDetail.Warning
        | "error" -> Some LogDetail.Error
        | _ -> None

    let private tryLogFormat (text: string) =
        match text.ToLowerInvariant() with
        | "console" -> Some LogFormat.Console
        | "json" -> Some LogFormat.Json
        | _ -> None

    // A timer takes at most 2^32 - 2 ms, which is 49 days.
    let private tryTimeout (text: string) =
        GoDuration.tryParse text
        |> Option.filter (fun time -> time >= TimeSpan.FromMilliseconds 1.0 && time <= TimeSpan.FromDays 49.0)

    let private tryDelay (text: string) =
        GoDuration.tryParse text
        |> Option.filter (fun time -> time <= TimeSpan.FromDays 49.0)

    let private tryToken (text: string) =
        if MessageSyntax.isToken text then Some text else None

    let private tryNamespaces (text: string) =
        let names =
            text.Split(',', StringSplitOptions.TrimEntries ||| StringSplitOptions.RemoveEmptyEntries)

        if Array.forall KubernetesName.isLabel names then
            Some(List.ofArray (Array.distinct names))
        else
            None

    let private trySelector (text: string) =
        if LabelSelector.isValid text then Some text else None

    let private tryOptionalNamespace (text: string) =
        if text = "" then Some None
        elif KubernetesName.isLabel text then Some(Some text)
        else None

    let private tryObjectName (text: string) =
        if KubernetesName.isSubdomain text then Some text else None

    // What was given for a setting, and where. An empty variable counts as not set, as it did for the users of
    // the replaced controller; an empty flag was typed on purpose.
    let private given (environment: Map<string, string>) (flags: Map<string, string>) (spec: SettingSpec) =
        match flags.TryFind spec.Name, environment.TryFind(SettingSpec.variable spec) with
        | Some value, _ -> Some(SettingSpec.flag spec, value)
        | None, Some value when value <> "" -> Some(SettingSpec.variable spec, value)
        | None, _ -> None

    let private read environment flags (tryParse: string -> 'T option) (spec: SettingSpec) =
        let source, value =
            given environment flags spec
            |> Option.defaultValue (SettingSpec.variable spec, spec.Default)

        tryParse value
        |> Result.requireSome (SettingError.Invalid(source, value, spec.Accepted))

    let private readKubeconfig (flags: Map<string, string>) =
        match flags.TryFind kubeconfig.Name with
        | Some "" -> Error(SettingError.Invalid(SettingSpec.flag kubeconfig, "", "a file"))
        | file -> Ok file

    let private readFolder environment flags =
        match given environment flags manifests with
        | Some(_, folder) when folder <> "" -> Ok(Some folder)
        | Some(source, folder) -> Error(SettingError.Invalid(source, folder, manifests.Accepted))
        | None -> Ok None

    // Telemetry is configured by the standard variables; flags of the same names are accepted as they were before.
    let private telemetry name = spec name "" "a value" ""

    let private tryFlag (name: string) =
        if name.StartsWith "otel-" then
            Some(telemetry name)
        else
            specs |> List.tryFind (fun spec -> spec.Name = name)

    // The values of the flags that could be read (the last of several wins), and what is wrong with the others.
    let private readFlags (arguments: string list) : Map<string, string> * SettingError list =
        let rec go flags errors (arguments: string list) =
            match arguments with
            | [] -> flags, List.rev errors
            | argument :: rest when not (argument.StartsWith "--") ->
                go flags (SettingError.UnexpectedArgument argument :: errors) rest
            | argument :: rest ->
                let name, inlined =
                    match argument.IndexOf '=' with
                    | -1 -> argument.Substring 2, None
                    | equals -> argument.Substring(2, equals - 2), Some(argument.Substring(equals + 1))

                match tryFlag name, inlined, rest with
                | None, None, value :: afterValue when not (value.StartsWith "--") ->
                    // What follows an unknown flag is most likely its value, and no error of its own.
                    go flags (SettingError.UnknownFlag("--" + name) :: errors) afterValue
                | None, _, _ -> go flags (SettingError.UnknownFlag("--" + name) :: errors) rest
                | Some _, Some value, _ -> go (Map.add name value flags) errors rest
                | Some spec, None, _ when spec.IsSwitch -> go (Map.add name "true" flags) errors rest
                | Some _, None, value :: afterValue when not (value.StartsWith "--") ->
                    go (Map.add name value flags) errors afterValue
                | Some spec, None, _ ->
                    go flags (SettingError.WithoutValue("--" + name, spec.Accepted) :: errors) rest

        go Map.empty [] arguments

    let private readValues (environment: Map<string, string>) (flags: Map<string, string>) =
        let read tryParse spec = read environment flags tryParse spec

        validation {
            let! manifests = readFolder environment flags
            and! kubeconfig = readKubeconfig flags
            and! httpAddr = read ListenAddress.tryParse httpAddr
            and! metricsAddr = read ListenAddress.tryParse metricsAddr
            and! probeAddr = read ListenAddress.tryParse probeAddr
            and! statusAddr = read ListenAddress.tryParse statusAddr
            and! readTimeout = read tryTimeout readTimeout
            and! writeTimeout = read tryTimeout writeTimeout
            and! idleTimeout = read tryTimeout idleTimeout
            and! targetConnectionMaxAge = read tryDelay targetConnectionMaxAge
            and! bodySizeLimit = read (tryInteger 0L Int64.MaxValue) bodySizeLimit
            and! concurrency = read (tryInteger 1L 65535L) maxConcurrentRequests
            and! queueBytes = read (tryInteger 0L Int64.MaxValue) queueBytes
            and! bufferBytes = read (tryInteger 65536L Int64.MaxValue) bufferBytes

            and! maxConnections =
                read (tryAuto (tryInteger 1L (int64 Int32.MaxValue))) maxConnections

            and! retriesPerSecond = read (tryInteger 1L 1_000_000L) retriesPerSecond
            and! maxClonesPerHost = read (tryInteger 1L 1_000_000L) maxClonesPerHost
            and! allowLocalTargets = read (tryAuto tryBool) allowLocalTargets
            and! viaName = read tryToken viaName
            and! shutdownDelay = read tryDelay shutdownDelay
            and! gracefulShutdownTimeout = read tryDelay gracefulShutdownTimeout
            and! enableLeaderElection = read tryBool enableLeaderElection
            and! leaderElectionNamespace = read tryOptionalNamespace leaderElectionNamespace
            and! leaderElectionName = read tryObjectName leaderElectionName
            and! namespaces = read tryNamespaces namespaces
            and! watchLabelSelector = read trySelector watchLabelSelector
            and! concurrent = read (tryInteger 1L 1000L) concurrent
            and! logDetail = read tryLogDetail logLevel
            and! logFormat = read tryLogFormat logFormat

            return {
                HttpAddr = httpAddr
                MetricsAddr = metricsAddr
                ProbeAddr = probeAddr
                StatusAddr = statusAddr
                Manifests = manifests
                Kubeconfig = kubeconfig
                ReadTimeout = readTimeout
                WriteTimeout = writeTimeout
                IdleTimeout = idleTimeout
                TargetConnectionMaxAge = targetConnectionMaxAge
                BodySizeLimit = if bodySizeLimit = 0L then None else Some bodySizeLimit
                Lane = {
                    Concurrency = int concurrency
                    QueueBytes = queueBytes
                }
                BufferBytes = bufferBytes
                MaxConnections = maxConnections |> Option.map int
                RetriesPerSecond = int retriesPerSecond
                MaxClonesPerHost = int maxClonesPerHost
                AllowLocalTargets = allowLocalTargets
                ViaName = viaName
                ShutdownDelay = shutdownDelay
                GracefulShutdownTimeout = gracefulShutdownTimeout
                EnableLeaderElection = enableLeaderElection
                LeaderElectionNamespace = leaderElectionNamespace
                LeaderElectionName = leaderElectionName
                Namespaces = namespaces
                WatchLabelSelector = watchLabelSelector
                Concurrent = int concurrent
                LogDetail = logDetail
                LogFormat = logFormat
                OpenTelemetry = [
                    for KeyValue(name, value) in flags do
                        if name.StartsWith "otel-" then
                            SettingSpec.variable (telemetry name), value
                ]
                InForce = [
                    for spec in specs ->
                        let value =
                            given environment flags spec
                            |> Option.map snd
                            |> Option.defaultValue spec.Default

                        SettingSpec.variable spec, value
                ]
            }
        }

    /// Settings from flags and environment variables; a flag wins. Reports everything that is wrong at once.
    let parse
        (environment: Map<string, string>)
        (arguments: string list)
        : Validation<Settings, SettingError> =
        let flags, flagErrors = readFlags arguments

        match readValues environment flags, flagErrors with
        | Ok settings, [] -> Ok settings
        | Ok _, errors -> Error errors
        | Error valueErrors, errors -> Error(errors @ valueErrors)

    /// One line for people.
    let describeError (error: SettingError) =
        match error with
        | SettingError.Invalid(source, given, accepted) -> $"{source} is \"{given}\"; accepted is {accepted}"
        | SettingError.Missing(source, why) -> $"{source} is required: {why}"
        | SettingError.WithoutValue(flag, accepted) -> $"{flag} has no value; accepted is {accepted}"
        | SettingError.UnknownFlag flag -> $"{flag} is no flag of this program; --help lists them"
        | SettingError.UnexpectedArgument argument ->
            $"\"{argument}\" is not understood; flags are written --name value or --name=value"
