/// What is logged of the cluster that routes come from.
module K8sReq.Kubernetes.KubernetesLog

open Microsoft.Extensions.Logging
open K8sReq.Core
open K8sReq.Proxy
open K8sReq.Proxy.LogMessage

let credentialsNotRenewed: ILogger -> string -> unit =
    message1<string>
        LogLevel.Warning
        (EventId(13, "CredentialsNotRenewed"))
        "Cannot reload the credentials: {Reason}"

let private watchFaultMessage =
    message3<string, string, string>
        LogLevel.Warning
        (EventId(14, "WatchFault"))
        "Cannot watch {Watched}: {Problem}: {Detail}. Retrying"

/// The kind and scope that is listed and watched, and what stands in the way.
let watchFault (logger: ILogger) (name: string) (fault: WatchFault) : unit =
    let what, detail =
        match fault with
        | WatchFault.Unauthorized detail -> "the API server rejects the credentials (401)", detail
        | WatchFault.Forbidden detail -> "a permission is missing (403)", detail
        | WatchFault.UnknownKind detail ->
            "the API server does not know this kind (404; is its CustomResourceDefinition installed?)", detail
        | WatchFault.Untrusted detail -> "the API server's certificate is not trusted", detail
        | WatchFault.Unreachable detail -> "the API server cannot be reached", detail

    watchFaultMessage logger name what (detail.Trim().TrimEnd '.')

let watchRecovered: ILogger -> string -> unit =
    message1<string> LogLevel.Information (EventId(15, "WatchRecovered")) "{Watched}: watching again"

/// RequestClone and reason.
let statusNotWritten: ILogger -> string -> string -> unit =
    message2<string, string>
        LogLevel.Warning
        (EventId(16, "StatusNotWritten"))
        "Cannot write the status of {Clone}: {Reason}"

/// RequestClone and what the API server said.
let statusRefused: ILogger -> string -> string -> unit =
    message2<string, string>
        LogLevel.Warning
        (EventId(26, "StatusRefused"))
        "The API server refuses the status of {Clone}: {Reason}. The status may be out of date. Logged once; retrying with backoff"

let private refusalsNotLoggedWith =
    message1<Quantity>
        LogLevel.Warning
        (EventId(27, "RefusalsNotLogged"))
        "{Count} not logged (limit: 10 per minute)"

let refusalsNotLogged (logger: ILogger) (count: int64) : unit =
    refusalsNotLoggedWith logger (Quantity.create "more refused status" count)

let eventNotWritten: ILogger -> string -> string -> unit =
    message2<string, string>
        LogLevel.Warning
        (EventId(17, "EventNotWritten"))
        "Cannot write the event about {Clone}: {Reason}"

/// The name of the leader.
let leading: ILogger -> string -> unit =
    message1<string>
        LogLevel.Information
        (EventId(18, "Leading"))
        "{Identity} is the leader now: it writes statuses and events"

let notLeading: ILogger -> string -> unit =
    message1<string> LogLevel.Information (EventId(19, "NotLeading")) "{Identity} is no longer the leader"

let otherLeader: ILogger -> string -> unit =
    message1<string> LogLevel.Information (EventId(20, "OtherLeader")) "The leader is {Leader}"

let leaderElectionFailed: ILogger -> string -> unit =
    message1<string>
        LogLevel.Warning
        (EventId(21, "LeaderElectionFailed"))
        "Leader election failed: {Reason}. Requests are still copied. Retrying"

/// Where the cluster was found.
let cluster: ILogger -> string -> string -> unit =
    message2<string, string>
        LogLevel.Information
        (EventId(22, "Cluster"))
        "Reading routes from the cluster of {Origin}, {Scopes}"
