namespace K8sReq.Proxy

open System
open System.Threading.Tasks
open System.Threading.Tasks.Sources
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

/// How long a send may take: `Write` from the start of connecting to the last byte sent, `Read` from there to the
/// head of the answer. A target may have a limit for both together besides (`DeliveryPolicy.AttemptTimeout`).
type SendTimeouts = { Write: TimeSpan; Read: TimeSpan }

/// One send of a request. It completes once, on whatever thread finds out how it has ended. That may be one that waits
/// for sockets: what goes on from there must not block.
[<Sealed>]
type Attempt(request: CapturedRequest, endsBy: TimeSpan) =
    let mutable source = ManualResetValueTaskSourceCore<SendResult>()

    member _.Request = request

    /// On the connections' clock; `TimeSpan.MaxValue` without a limit of its own.
    member _.EndsBy = endsBy

    /// To be awaited once.
    member attempt.Result: ValueTask<SendResult> =
        ValueTask<SendResult>(attempt, source.Version)

    /// Ends it. To be called once; what waits for the result goes on within this call.
    member attempt.Complete(result: SendResult) = source.SetResult result

    interface IValueTaskSource<SendResult> with
        member _.GetResult token = source.GetResult token
        member _.GetStatus token = source.GetStatus token

        member _.OnCompleted(continuation, state, token, flags) =
            source.OnCompleted(continuation, state, token, flags)
