namespace K8sReq.Core

/// How many copies have been accepted, and how many have ended how. `Accepted + Recovered + Replayed = Delivered + Failed +
/// Dropped + Expired + TakenOver + Pending`, always. Dropped are those that no target has failed: there was no room for them,
/// or they were given up. Retries are attempts after a copy's first.
[<Struct>]
type CopyTotals = {
    Accepted: int64
    /// Found in the journal when the process began, or taken over from another replica.
    Recovered: int64
    /// Dead letters that were made copies again.
    Replayed: int64
    Delivered: int64
    Failed: int64
    Dropped: int64
    Expired: int64
    /// By another replica.
    TakenOver: int64
    Retries: int64
} with

    member totals.Pending =
        totals.Accepted + totals.Recovered + totals.Replayed
        - totals.Delivered
        - totals.Failed
        - totals.Dropped
        - totals.Expired
        - totals.TakenOver

module CopyTotals =
    let zero = {
        Accepted = 0L
        Recovered = 0L
        Replayed = 0L
        Delivered = 0L
        Failed = 0L
        Dropped = 0L
        Expired = 0L
        TakenOver = 0L
        Retries = 0L
    }
