namespace K8sReq.Core

open System

/// How the time between attempts grows.
[<RequireQualifiedAccess>]
type BackoffPolicy =
    | Linear
    | Exponential

/// Whether and when a copy that failed is sent again.
type RetryPolicy = {
    /// Attempts after the first; 0 for none.
    Retries: int
    Backoff: BackoffPolicy
    /// The time that the growth begins with.
    Delay: TimeSpan
    /// The longest time between two attempts.
    Longest: TimeSpan
    /// The most that a target's Retry-After counts for; zero ignores it. None: as `Longest`.
    LongestAsked: TimeSpan option
} with

    member policy.MostAsked = policy.LongestAsked |> Option.defaultValue policy.Longest

/// Where accepted copies are kept until they have ended.
[<RequireQualifiedAccess>]
type Durability =
    /// They are lost with the process.
    | Memory
    /// They survive the process: the sender is answered once they are on disk.
    | Journal

/// What happens where there is no room for a copy.
[<RequireQualifiedAccess>]
type FullPolicy =
    /// It is dropped and counted; the sender does not learn of it as long as another copy has room.
    | Drop
    /// The request is refused (503), and nothing of it is copied.
    | Refuse

/// A Service of the RequestClone's namespace that its dead letters are sent to.
type DeadLetterSink = {
    ServiceName: string
    ServicePort: PortRef
}

/// What a RequestClone asks for beyond its target.
type DeliveryPolicy = {
    /// For one attempt as a whole; None for the proxy's own timeouts alone.
    AttemptTimeout: TimeSpan option
    Retry: RetryPolicy
    /// None where the RequestClone does not say. Of a target that is routed, that is `Memory`.
    Durability: Durability option
    WhenFull: FullPolicy
    /// A copy that has not been delivered so long after its acceptance is not sent any more; None for no limit.
    ExpireAfter: TimeSpan option
    /// Its copies say which request they are of, and which attempt it is (see `CopyIdentity`).
    IsIdentified: bool
    /// How long a durable copy that failed for good is kept; None where the RequestClone does not say.
    DeadLetterKeep: TimeSpan option
    /// Where they are sent besides.
    DeadLetterSink: DeadLetterSink option
} with

    member policy.IsDurable =
        match policy.Durability with
        | Some Durability.Journal -> true
        | Some Durability.Memory
        | None -> false

module DeliveryPolicy =
    /// Without the optional fields: one attempt. The names and the first two values of back-off are Knative's.
    let byDefault = {
        AttemptTimeout = None
        Retry = {
            Retries = 0
            Backoff = BackoffPolicy.Exponential
            Delay = TimeSpan.FromSeconds 0.2
            Longest = TimeSpan.FromSeconds 30.0
            LongestAsked = None
        }
        Durability = None
        WhenFull = FullPolicy.Drop
        ExpireAfter = None
        IsIdentified = false
        DeadLetterKeep = None
        DeadLetterSink = None
    }

module GatewayDuration =
    // GEP-2257: one to four parts of one to five digits, each with a unit.
    let private isDuration (text: string) =
        let rec parts count (rest: string) =
            let digits = rest |> Seq.takeWhile Char.IsAsciiDigit |> Seq.length
            let units = [ "ms"; "h"; "m"; "s" ]

            match
                units
                |> List.tryFind (fun name ->
                    rest.Substring(digits).StartsWith(name, StringComparison.Ordinal))
            with
            | Some name when digits >= 1 && digits <= 5 && count < 4 ->
                let next = rest.Substring(digits + name.Length)
                next = "" || parts (count + 1) next
            | _ -> false

        parts 0 text

    /// Reads a Gateway API duration, `500ms` or `1m30s`; a subset of Go's spellings.
    let tryParse (text: string) : TimeSpan option =
        if isDuration text then GoDuration.tryParse text else None
