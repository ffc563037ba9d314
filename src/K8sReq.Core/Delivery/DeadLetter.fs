namespace K8sReq.Core

open System

/// Why a dead letter was not delivered: whom to ask about it.
[<RequireQualifiedAccess>]
type DeadCause =
    /// The target answered that it does not want it (mostly 4xx).
    | Refused
    /// The target failed (5xx), did not answer, or could not be reached, as often as it was asked.
    | Failing
    /// Its time was over.
    | Expired
    /// A fault of this program: sending it has ended the process, or met a defect.
    | Poison

module DeadCause =
    let all = [ DeadCause.Refused; DeadCause.Failing; DeadCause.Expired; DeadCause.Poison ]

    /// As it is written in answers, labels and the journal.
    let name (cause: DeadCause) : string =
        match cause with
        | DeadCause.Refused -> "refused"
        | DeadCause.Failing -> "failing"
        | DeadCause.Expired -> "expired"
        | DeadCause.Poison -> "poison"

    let tryParse (text: string) : DeadCause option =
        all |> List.tryFind (fun cause -> name cause = text)

    /// The cause for a copy that has ended so; None for one that leaves no dead letter: it was delivered, or no target has
    /// failed it.
    let ofOutcome (outcome: TargetOutcome) : DeadCause option =
        match outcome with
        | TargetOutcome.Rejected status when status < 500 -> Some DeadCause.Refused
        | TargetOutcome.Rejected _
        | TargetOutcome.ConnectFailed _
        | TargetOutcome.TimedOut _
        | TargetOutcome.SendFailed _
        | TargetOutcome.BadAnswer _ -> Some DeadCause.Failing
        | TargetOutcome.Expired _ -> Some DeadCause.Expired
        | TargetOutcome.Poisonous
        | TargetOutcome.Faulted _ -> Some DeadCause.Poison
        | TargetOutcome.Delivered _
        | TargetOutcome.Overflowed
        | TargetOutcome.NoRoomToRetry _
        | TargetOutcome.TakenOver
        | TargetOutcome.Cancelled -> None

/// A copy that has failed for good, and is kept.
[<NoComparison>]
type DeadLetter = {
    Id: CopyId
    /// Of its request: the same in every copy, attempt and replay.
    RequestId: Guid
    Clone: ObjectKey
    Host: string
    Method: string
    /// Path and query, as sent.
    Target: string
    Cause: DeadCause
    /// How its last attempt ended, in a few words.
    Outcome: string
    Attempts: int
    ReceivedAt: DateTimeOffset
    EndedAt: DateTimeOffset
    /// Of head and body.
    Bytes: int64
}

/// Which dead letters are meant: those that fit all that is given.
[<NoComparison>]
type DeadLetterFilter = {
    Id: CopyId option
    Clone: ObjectKey option
    Cause: DeadCause option
    /// Ended at this time or later.
    Since: DateTimeOffset option
    /// Ended at this time or earlier.
    Until: DateTimeOffset option
    /// At most so many, the oldest first.
    Limit: int
}

module DeadLetterFilter =
    /// How many are meant where nobody says.
    let defaultLimit = 100

    let mostLimit = 10_000

    let everything = {
        Id = None
        Clone = None
        Cause = None
        Since = None
        Until = None
        Limit = defaultLimit
    }

    /// Whether all of them are meant, up to the limit.
    let isEverything (filter: DeadLetterFilter) : bool =
        filter.Id.IsNone
        && filter.Clone.IsNone
        && filter.Cause.IsNone
        && filter.Since.IsNone
        && filter.Until.IsNone
