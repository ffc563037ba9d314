namespace K8sReq.Proxy

open System
open System.Threading
open System.Threading.Tasks
open K8sReq.Core

/// How one send ended, and when the target wants to be asked again, if it has said so (`Retry-After`).
[<Struct>]
type SendResult = {
    Outcome: TargetOutcome
    RetryAfter: TimeSpan voption
    /// False if nothing was tried: the stop had come before. It counts as no attempt.
    IsAttempt: bool
}

module SendResult =
    let ofOutcome (outcome: TargetOutcome) = {
        Outcome = outcome
        RetryAfter = ValueNone
        IsAttempt = true
    }

    /// Given up before it began.
    let notTried = {
        Outcome = TargetOutcome.Cancelled
        RetryAfter = ValueNone
        IsAttempt = false
    }

/// Told how a send has ended.
[<AbstractClass>]
type SendObserver() =
    /// On whatever thread found it out. That may be one that waits for sockets: what is done here must not block.
    abstract Sent: result: SendResult -> unit

/// Something that is being sent, and ends once. Less than a task, of which there would be several objects, and calls that are
/// looked up, for each copy.
type Sending() =
    let mutable result = Unchecked.defaultof<SendResult>
    let mutable observer: SendObserver | null = null
    // Which of the two is there. Who comes second finds both, and tells. A number: an exchange of objects takes several times as long.
    let mutable there = 0
    static let anObserver = 1
    static let aResult = 2

    /// Ends it; who waits for it goes on within this call. A second end is a defect that would end one copy twice: it throws.
    member _.Complete(ended: SendResult) : unit =
        result <- ended
        let before = Interlocked.Or(&there, aResult)

        if before &&& aResult <> 0 then
            invalidOp "This send has ended before."

        if before &&& anObserver <> 0 then
            (nonNull observer).Sent ended

    /// Tells this one how it has ended: now if it has. To be called once.
    member _.Tell(waiting: SendObserver) : unit =
        observer <- waiting

        if Interlocked.Or(&there, anObserver) &&& aResult <> 0 then
            waiting.Sent result

    /// How it has ended, instead of `Tell`. What waits for this does not go on within `Complete`.
    member sending.AsTask() : Task<SendResult> =
        let source =
            TaskCompletionSource<SendResult> TaskCreationOptions.RunContinuationsAsynchronously

        sending.Tell
            {
                new SendObserver() with
                    override _.Sent result = source.SetResult result
            }

        source.Task

    /// One that has ended so.
    static member Ended(result: SendResult) : Sending =
        let sending = Sending()
        sending.Complete result
        sending
