/// The four ports of the proxy: probes, metrics, status page, and the one that takes requests.
module K8sReq.Host.Commands.ProxyListeners

open System
open System.Threading
open Microsoft.Extensions.Logging
open K8sReq.Core
open K8sReq.Host
open K8sReq.Host.Admin
open K8sReq.Host.Admin.DeadLetters
open K8sReq.Host.Admin.Status
open K8sReq.Host.Commands.Listeners
open K8sReq.Journal
open K8sReq.Proxy

/// The families of metrics, as they are at the moment of each call.
let metricFamilies (version: string) (settings: Settings) (source: SourceMetrics) (plane: DataPlane) =
    fun () ->
        Metrics.families {
            Version = version
            Http = plane.Http
            Clones = plane.Clones
            Source = source
            Budget = plane.Budget
            Journal =
                Option.map2
                    (fun (durable: DurableParts) (settings: JournalSettings) -> {
                        Store = durable.Store
                        Limit = settings.Limit
                        Sinks = fun () -> durable.Sinks.Totals
                    })
                    plane.Durable
                    settings.Journal
            Routes = fun () -> plane.Snapshots.Current.Counts
            UnknownHosts = fun () -> plane.UnknownHosts.Hosts
            Stalls = fun () -> plane.Stalls
            IsReady = fun () -> plane.IsReady
        }

// What the page tells of a journal.
let private statusOf (journal: JournalStore) : StatusJournal = {
    Of =
        fun clone ->
            let backlog = journal.Store.Backlog clone

            {
                Backlog = backlog.Copies
                OldestAge = backlog.OldestAge
                DeadLetters = (journal.Letters.Of clone).Letters
            }
    All =
        fun () ->
            let waiting = journal.Usage.Waiting |> List.map snd
            let now = journal.Now

            {
                Backlog = waiting |> List.sumBy _.Copies
                OldestAge =
                    (TimeSpan.Zero, waiting)
                    ||> List.fold (fun age copies -> max age (now - copies.Oldest))
                DeadLetters = journal.Letters.Kept |> List.sumBy (fun (_, kept) -> kept.Letters)
            }
}

/// In the order in which they are bound: the proxy's own is the last one. `pageReaders` ends the streams of the page.
let create
    (logger: ILogger)
    (clock: TimeProvider)
    (version: string)
    (instance: string)
    (settings: Settings)
    (source: SourceMetrics)
    (plane: DataPlane)
    (pageReaders: CancellationToken)
    : Listener list =
    let status = {
        Version = version
        Instance = instance
        StartedAt = clock.GetUtcNow()
        Clock = clock
        IsReady = fun () -> plane.IsReady
        Table = fun () -> plane.Snapshots.Current.Table
        Counts = fun () -> plane.Snapshots.Current.Counts
        Clones = plane.Clones
        Totals = fun () -> plane.Accounts.Totals
        Requests = fun () -> plane.Http.Requests
        UnknownHosts = fun () -> plane.UnknownHosts.Hosts
        Tap = plane.Tap
        Source = source
        Budget = plane.Budget
        Journal = plane.Journal |> Option.map statusOf
        DeadLetters = DeadLetterService(plane.Journal, plane.IsRouted)
        Replicas = fun () -> plane.Durable |> Option.bind _.Replicas
    }

    // Of the probes, the metrics and the page: a few for each who has to do with them, out of the descriptors that are kept.
    let adminLimits: ServerLimits = {
        Headers = settings.ReadTimeout
        Idle = settings.IdleTimeout
        Connections = Some 96
        Memory = None
        HighestDescriptor = Int32.MaxValue
        Exhausted = Log.acceptFailed logger
    }

    let proxyLimits: ServerLimits = {
        adminLimits with
            HighestDescriptor = ConnectionMemory.highestDescriptor ()
            Connections = Some(settings.MaxConnections |> Option.defaultWith ConnectionMemory.mostConnections)
            Memory =
                Some {
                    Budget = plane.Budget
                    Shares = plane.Shares
                }
    }

    let admin name setting address handler = {
        Name = name
        Setting = setting
        Address = address
        Transport = ServerTransport.Pooled
        Refused = fun _ _ -> ()
        Limits = adminLimits
        Handler = handler
    }

    [
        admin "Probes" "PROBE_ADDR" settings.ProbeAddr (Probes.handler (fun () -> plane.IsReady))
        admin
            "Metrics"
            "METRICS_ADDR"
            settings.MetricsAddr
            (Metrics.handler (metricFamilies version settings source plane))
        admin
            "Status page"
            "STATUS_ADDR"
            settings.StatusAddr
            (StatusPage.handler status settings.StatusAddr StatusPage.usualInterval pageReaders)
        {
            Name = "Proxy"
            Setting = "HTTP_ADDR"
            Address = settings.HttpAddr
            Transport = plane.CreateTransport()
            // Of the request no more is known than that it is none.
            Refused =
                fun status reason ->
                    plane.Http.Served("", "", status, Refusal.wordOfStatus status, TimeSpan.Zero)
                    plane.Refusals.Tell(status, reason, "")
            Limits = proxyLimits
            Handler = plane.Handler
        }
    ]
