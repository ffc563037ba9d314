/// Every setting of the proxy.
module K8sReq.Core.KnownSettings

open System

let private address = "[HOST]:PORT, such as :8080 or 127.0.0.1:8080"
let private timeout = "a duration of 1ms or more, such as 30s, 1m30s or 500ms"
let private bytes = Setting.tryInteger 0L Int64.MaxValue

let httpAddr =
    Setting.create "http-addr" ":8080" address "address for incoming requests" ListenAddress.tryParse

let metricsAddr =
    Setting.create "metrics-addr" ":9556" address "address of /metrics" ListenAddress.tryParse

let probeAddr =
    Setting.create "probe-addr" ":9557" address "address of /healthz and /readyz" ListenAddress.tryParse

let statusAddr =
    Setting.create
        "status-addr"
        "127.0.0.1:9558"
        address
        "address of the status page, and of its data under /api/"
        ListenAddress.tryParse

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

let logLevel =
    Setting.create "log-level" "info" "debug, info, warn or error" "lowest level that is logged" tryLogDetail

let private tryLogFormat (text: string) =
    match text.ToLowerInvariant() with
    | "console" -> Some LogFormat.Console
    | "json" -> Some LogFormat.Json
    | _ -> None

let logFormat =
    Setting.create
        "log-format"
        "console"
        "console or json"
        "lines for people, or one JSON object per line"
        tryLogFormat

let manifests =
    Setting.create
        "manifests"
        ""
        "a folder"
        "folder of manifests to read routes from; without it, routes come from the cluster"
        (fun folder -> if folder = "" then None else Some(Some folder))

let kubeconfig =
    Setting.create
        "kubeconfig"
        ""
        "a file; in KUBECONFIG several, separated as in PATH"
        "kubeconfig file; default: the pod's service account, else ~/.kube/config"
        (fun file -> if file = "" then None else Some file)

let readTimeout =
    Setting.create
        "proxy-read-timeout"
        "30s"
        timeout
        "time limit for reading a client's headers, for reading its body, and for a target's response headers (each)"
        Setting.tryTimeout

let writeTimeout =
    Setting.create
        "proxy-write-timeout"
        "30s"
        timeout
        "time limit for connecting to a target and sending it a copy"
        Setting.tryTimeout

let bodySizeLimit =
    Setting.create
        "body-size-limit"
        "2000000"
        "a number of bytes, 0 for no limit"
        "size limit of a request body, in bytes; larger requests get 413"
        bytes

let maxConcurrentRequests =
    Setting.create
        "max-concurrent-requests"
        "256"
        "a whole number from 1 to 65535"
        "maximum number of copies that are sent to one target at once"
        (Setting.tryCount 65535)

let queueBytes =
    Setting.create
        "queue-bytes"
        "16777216"
        "a number of bytes"
        "size limit of each target's queue, in bytes; copies beyond it are dropped"
        bytes

let bufferBytes =
    Setting.create
        "buffer-bytes"
        "268435456"
        "a number of bytes from 65536"
        "memory limit for all buffered requests; requests beyond it get 503"
        (Setting.tryInteger 65536L Int64.MaxValue)

let journal =
    Setting.create
        "journal"
        ""
        "a folder, or postgres://USER:PASSWORD@HOST:PORT/DATABASE with options that are known"
        "folder or PostgreSQL database for copies that survive the process; empty: all copies are kept in memory"
        (fun text ->
            if text = "" then
                Some None
            elif PostgresAddress.isMeant text then
                PostgresAddress.tryParse text |> Option.map (JournalPlace.Postgres >> Some)
            // An address in other words, which would be a folder with a password in its name.
            elif text.Contains "://" || Secret.isIn text then
                None
            else
                Some(Some(JournalPlace.Folder text)))

let journalPasswordFile =
    Setting.create
        "journal-password-file"
        ""
        "a file"
        "file with the password for the journal's PostgreSQL database; read at each connection"
        (fun file -> if file = "" then Some None else Some(Some file))

let private tryDurability (text: string) =
    match text.ToLowerInvariant() with
    | "memory" -> Some Durability.Memory
    | "journal" -> Some Durability.Journal
    | _ -> None

let durability =
    Setting.create
        "durability"
        "auto"
        "Memory, Journal or auto"
        "default of spec.delivery.durability; auto: Journal if there is a journal"
        (Setting.tryAuto tryDurability)

let journalBytes =
    Setting.create
        "journal-bytes"
        "1073741824"
        "a number of bytes from 1048576"
        "size limit of the journal, in bytes of copies; copies beyond it are dropped"
        (Setting.tryInteger 1048576L Int64.MaxValue)

let journalLinger =
    Setting.create
        "journal-linger"
        "5ms"
        "a duration from 0ms to 100ms"
        "how long a commit waits for further requests to share it"
        (fun text ->
            Setting.tryDelay text
            |> Option.filter (fun time -> time <= TimeSpan.FromMilliseconds 100.0))

let deadLetterKeep =
    Setting.create
        "dead-letter-keep"
        "168h"
        "a duration of up to 1176h, such as 168h; 0s for none"
        "default of spec.delivery.deadLetter.keep: how long dead letters are kept"
        Setting.tryDelay

let orphanKeep =
    Setting.create
        "orphan-keep"
        "10m"
        "a duration such as 10m or 0s"
        "how long copies in the journal wait for a deleted RequestClone to be created again"
        Setting.tryDelay

let maxConnections =
    Setting.create
        "max-connections"
        "auto"
        "a whole number from 1, or auto"
        "maximum number of client connections; auto: as memory and descriptors allow"
        (Setting.tryAuto (Setting.tryCount Int32.MaxValue))

let retriesPerSecond =
    Setting.create
        "retries-per-second"
        "1000"
        "a whole number from 1 to 1000000"
        "rate limit of retries for all RequestClones of a namespace together; more wait"
        (Setting.tryCount 1_000_000)

let maxClonesPerHost =
    Setting.create
        "max-clones-per-host"
        "1000"
        "a whole number from 1 to 1000000"
        "maximum number of RequestClones of one namespace for one host"
        (Setting.tryCount 1_000_000)

let allowLocalTargets =
    Setting.create
        "allow-local-targets"
        "auto"
        "true, false or auto"
        "whether a Service may have a loopback, link-local or multicast address; auto: with --manifests only"
        (Setting.tryAuto Setting.tryBool)

let viaName =
    Setting.create
        "via-name"
        "k8sreq"
        "letters, digits and any of !#$%&'*+-.^_`|~"
        "name in the Via header of copies; a request that has it already is a loop"
        (Setting.tryIf MessageSyntax.isToken)

let shutdownDelay =
    Setting.create
        "shutdown-delay"
        "0s"
        "a duration, such as 5s or 0s"
        "how long to keep serving, not ready, after SIGTERM"
        Setting.tryDelay

let gracefulShutdownTimeout =
    Setting.create
        "graceful-shutdown-timeout"
        "25s"
        "a duration, such as 25s or 0s"
        "maximum time to finish accepted copies, after shutdown-delay"
        Setting.tryDelay

let idleTimeout =
    Setting.create
        "idle-timeout"
        "620s"
        "a duration of at least 1ms, such as 620s"
        "keep-alive timeout of client connections; longer than that of the load balancer in front"
        Setting.tryTimeout

let targetConnectionMaxAge =
    Setting.create
        "target-connection-max-age"
        "30s"
        "a duration, such as 30s, or 0s for no limit"
        "maximum age of a connection to a target, so that copies reach new pods of the Service"
        Setting.tryDelay

let eventLoops =
    Setting.create
        "event-loops"
        "auto"
        "a whole number from 0 to 64, or auto"
        "threads that serve clients and targets, Linux only; auto: one per two processors; 0: the runtime's sockets"
        (Setting.tryAuto (fun text -> Setting.tryInteger 0L 64L text |> Option.map int))

let enableLeaderElection =
    let setting =
        Setting.create
            "enable-leader-election"
            "false"
            "true or false"
            "only one replica writes statuses and events"
            Setting.tryBool

    {
        setting with
            Spec = { setting.Spec with IsSwitch = true }
    }

let leaderElectionNamespace =
    Setting.create
        "leader-election-namespace"
        ""
        "a namespace"
        "namespace of the lease; by default the program's own namespace"
        (Setting.tryOptional KubernetesName.isLabel)

let leaderElectionName =
    Setting.create
        "leader-election-name"
        "k8sreq-duplicator-controller"
        "the name of a Lease"
        "the Lease that replicas share; each installation in a namespace needs its own"
        (Setting.tryIf KubernetesName.isSubdomain)

let private tryNamespaces (text: string) =
    let names =
        text.Split(',', StringSplitOptions.TrimEntries ||| StringSplitOptions.RemoveEmptyEntries)

    if Array.forall KubernetesName.isLabel names then
        Some(List.ofArray (Array.distinct names))
    else
        None

let namespaces =
    Setting.create
        "namespaces"
        ""
        "namespaces, separated by commas"
        "namespaces in which RequestClones and Services are watched; empty: all"
        tryNamespaces

let watchLabelSelector =
    Setting.create
        "watch-label-selector"
        ""
        "a label selector, such as team=a,tier!=test"
        "watch only RequestClones with these labels"
        (Setting.tryIf LabelSelector.isValid)

let concurrent =
    Setting.create
        "concurrent"
        "2"
        "a whole number from 1 to 1000"
        "maximum number of statuses that are written at once"
        (Setting.tryCount 1000)

/// All of them, in the order in which they are shown.
let specs: SettingSpec list = [
    manifests.Spec
    httpAddr.Spec
    probeAddr.Spec
    metricsAddr.Spec
    statusAddr.Spec
    readTimeout.Spec
    writeTimeout.Spec
    idleTimeout.Spec
    targetConnectionMaxAge.Spec
    eventLoops.Spec
    bodySizeLimit.Spec
    maxConcurrentRequests.Spec
    queueBytes.Spec
    bufferBytes.Spec
    journal.Spec
    journalPasswordFile.Spec
    durability.Spec
    journalBytes.Spec
    journalLinger.Spec
    deadLetterKeep.Spec
    orphanKeep.Spec
    maxConnections.Spec
    retriesPerSecond.Spec
    maxClonesPerHost.Spec
    allowLocalTargets.Spec
    viaName.Spec
    shutdownDelay.Spec
    gracefulShutdownTimeout.Spec
    namespaces.Spec
    watchLabelSelector.Spec
    enableLeaderElection.Spec
    leaderElectionNamespace.Spec
    leaderElectionName.Spec
    concurrent.Spec
    kubeconfig.Spec
    logLevel.Spec
    logFormat.Spec
]
