namespace K8sReq.Core

open System
open FsToolkit.ErrorHandling

/// Where durable copies are kept.
type JournalSettings = {
    KeptIn: JournalPlace
    /// The file with the password of a database, if there is one.
    PasswordFile: string option
    /// Bytes of requests that it may hold.
    Limit: int64
    /// How long a commit waits for further requests to share it.
    Linger: TimeSpan
    /// How long copies of a RequestClone that is gone wait for it to come back.
    OrphanKeep: TimeSpan
    /// How long a copy that failed for good is kept where its RequestClone does not say; zero for not at all.
    DeadLetterKeep: TimeSpan
}

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
    /// Threads that serve clients and targets; None for one per two processors, 0 for the runtime's sockets.
    EventLoops: int option
    /// Bytes; None for no limit.
    BodySizeLimit: int64 option
    /// Of each target.
    Lane: LaneLimits
    /// Bytes of requests that are held in memory, all together.
    BufferBytes: int64
    /// None for none.
    Journal: JournalSettings option
    /// Of RequestClones that do not say.
    Durability: Durability
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

module Settings =
    let private readKubeconfig (input: SettingInput) =
        let spec = KnownSettings.kubeconfig.Spec

        match input.Flags.TryFind spec.Name with
        | Some "" -> Error(SettingError.Invalid(SettingSpec.flag spec, "", "a file"))
        | file -> Ok file

    let private readFolder (input: SettingInput) : Result<string option, SettingError> =
        match Setting.given input KnownSettings.manifests.Spec with
        | Some _ -> Setting.read input KnownSettings.manifests
        | None -> Ok None

    // Telemetry is configured by the standard variables; flags of the same names are accepted as they were before.
    let private telemetry name =
        (Setting.create name "" "a value" "" Some).Spec

    let private tryFlag (name: string) =
        if name.StartsWith "otel-" then
            Some(telemetry name)
        else
            KnownSettings.specs |> List.tryFind (fun spec -> spec.Name = name)

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

    // Where there is no journal, nothing can be kept in it.
    let private readDurability (input: SettingInput) : Result<Durability, SettingError> =
        let hasJournal =
            Setting.read input KnownSettings.journal
            |> Result.map Option.isSome
            |> Result.defaultValue false

        match Setting.read input KnownSettings.durability with
        | Error error -> Error error
        | Ok(Some Durability.Journal) when not hasJournal ->
            Error(SettingError.Missing("JOURNAL", "DURABILITY is Journal"))
        | Ok(Some given) -> Ok given
        | Ok None -> Ok(if hasJournal then Durability.Journal else Durability.Memory)

    let private readValues (input: SettingInput) =
        let read setting = Setting.read input setting

        validation {
            let! manifests = readFolder input
            and! kubeconfig = readKubeconfig input
            and! httpAddr = read KnownSettings.httpAddr
            and! metricsAddr = read KnownSettings.metricsAddr
            and! probeAddr = read KnownSettings.probeAddr
            and! statusAddr = read KnownSettings.statusAddr
            and! readTimeout = read KnownSettings.readTimeout
            and! writeTimeout = read KnownSettings.writeTimeout
            and! idleTimeout = read KnownSettings.idleTimeout
            and! targetConnectionMaxAge = read KnownSettings.targetConnectionMaxAge
            and! eventLoops = read KnownSettings.eventLoops
            and! bodySizeLimit = read KnownSettings.bodySizeLimit
            and! concurrency = read KnownSettings.maxConcurrentRequests
            and! queueBytes = read KnownSettings.queueBytes
            and! bufferBytes = read KnownSettings.bufferBytes

            and! journalPlace = read KnownSettings.journal
            and! journalPasswordFile = read KnownSettings.journalPasswordFile
            and! durability = readDurability input
            and! journalBytes = read KnownSettings.journalBytes
            and! journalLinger = read KnownSettings.journalLinger
            and! orphanKeep = read KnownSettings.orphanKeep
            and! deadLetterKeep = read KnownSettings.deadLetterKeep
            and! maxConnections = read KnownSettings.maxConnections

            and! retriesPerSecond = read KnownSettings.retriesPerSecond
            and! maxClonesPerHost = read KnownSettings.maxClonesPerHost
            and! allowLocalTargets = read KnownSettings.allowLocalTargets
            and! viaName = read KnownSettings.viaName
            and! shutdownDelay = read KnownSettings.shutdownDelay
            and! gracefulShutdownTimeout = read KnownSettings.gracefulShutdownTimeout
            and! enableLeaderElection = read KnownSettings.enableLeaderElection
            and! leaderElectionNamespace = read KnownSettings.leaderElectionNamespace
            and! leaderElectionName = read KnownSettings.leaderElectionName
            and! namespaces = read KnownSettings.namespaces
            and! watchLabelSelector = read KnownSettings.watchLabelSelector
            and! concurrent = read KnownSettings.concurrent
            and! logDetail = read KnownSettings.logLevel
            and! logFormat = read KnownSettings.logFormat

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
                EventLoops = eventLoops
                BodySizeLimit = if bodySizeLimit = 0L then None else Some bodySizeLimit
                Lane = {
                    Concurrency = concurrency
                    QueueBytes = queueBytes
                }
                BufferBytes = bufferBytes
                Journal =
                    journalPlace
                    |> Option.map (fun place -> {
                        KeptIn = place
                        PasswordFile = journalPasswordFile
                        Limit = journalBytes
                        Linger = journalLinger
                        OrphanKeep = orphanKeep
                        DeadLetterKeep = deadLetterKeep
                    })
                Durability = durability
                MaxConnections = maxConnections
                RetriesPerSecond = retriesPerSecond
                MaxClonesPerHost = maxClonesPerHost
                AllowLocalTargets = allowLocalTargets
                ViaName = viaName
                ShutdownDelay = shutdownDelay
                GracefulShutdownTimeout = gracefulShutdownTimeout
                EnableLeaderElection = enableLeaderElection
                LeaderElectionNamespace = leaderElectionNamespace
                LeaderElectionName = leaderElectionName
                Namespaces = namespaces
                WatchLabelSelector = watchLabelSelector
                Concurrent = concurrent
                LogDetail = logDetail
                LogFormat = logFormat
                OpenTelemetry = [
                    for KeyValue(name, value) in input.Flags do
                        if name.StartsWith "otel-" then
                            SettingSpec.variable (telemetry name), value
                ]
                InForce = [
                    for spec in KnownSettings.specs ->
                        let value =
                            Setting.given input spec |> Option.map snd |> Option.defaultValue spec.Default

                        SettingSpec.variable spec, Secret.mask value
                ]
            }
        }

    /// Settings from flags and environment variables; a flag wins. Reports everything that is wrong at once.
    let parse
        (environment: Map<string, string>)
        (arguments: string list)
        : Validation<Settings, SettingError> =
        let flags, flagErrors = readFlags arguments

        match
            readValues {
                Flags = flags
                Environment = environment
            },
            flagErrors
        with
        | Ok settings, [] -> Ok settings
        | Ok _, errors -> Error errors
        | Error valueErrors, errors -> Error(errors @ valueErrors)

    /// One line for people.
    let describeError (error: SettingError) =
        match error with
        | SettingError.Invalid(source, given, accepted) ->
            $"{source} is \"{Secret.mask given}\"; accepted is {accepted}"
        | SettingError.Missing(source, why) -> $"{source} is required: {why}"
        | SettingError.WithoutValue(flag, accepted) -> $"{flag} has no value; accepted is {accepted}"
        | SettingError.UnknownFlag flag ->
            match NearestName.tryFind (KnownSettings.specs |> List.map SettingSpec.flag) flag with
            | Some nearest -> $"unknown flag {flag} (did you mean {nearest}?)"
            | None -> $"unknown flag {flag}; --help lists all flags"
        | SettingError.UnexpectedArgument argument ->
            $"unexpected argument \"{Secret.mask argument}\"; flags are written --name value or --name=value"
