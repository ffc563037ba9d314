/// One watch from its opening to its end. The one place that knows how the client's watches behave.
module K8sReq.Kubernetes.WatchStream

open System
open System.Threading
open System.Threading.Tasks
open K8sReq.Core

/// Hands on every event and gives the reason for which the watch ended. `idle` is the longest time without any.
/// Throws only when `stop` is cancelled.
let run
    (clock: TimeProvider)
    (idle: TimeSpan)
    (openWatch: (exn -> unit) -> CancellationToken -> WatchEvents<'T>)
    (onSignal: WatchSignal<'T> -> unit)
    (stop: CancellationToken)
    : Task<WatchEnd> = task {
    // A peer that is gone without a word is not noticed by the client.
    use silence = new CancellationTokenSource(idle, clock)
    use ending = CancellationTokenSource.CreateLinkedTokenSource(silence.Token, stop)
    let mutable cause: exn option = None
    use _ = ResponseScope.Enter()

    // An event of kind ERROR and a line that cannot be read come this way only, and the stream goes on after them:
    // what it says from there on has a gap.
    let onError error =
        if cause.IsNone then
            cause <- Some error

        ending.Cancel()

    try
        use events = (openWatch onError ending.Token).GetAsyncEnumerator ending.Token
        let mutable isOpen = true

        while isOpen do
            let! hasMore = events.MoveNextAsync()
            isOpen <- hasMore && cause.IsNone

            if isOpen then
                silence.CancelAfter idle
                onSignal events.Current

        return
            match cause with
            | Some error -> ApiFailure.toEnd error
            | None -> WatchEnd.Closed
    with error ->
        stop.ThrowIfCancellationRequested()

        return
            match cause with
            | Some error -> ApiFailure.toEnd error
            | None when silence.IsCancellationRequested -> WatchEnd.Idle
            | None -> ApiFailure.toEnd error
}
