/// What copies are delivered with where nothing is kept, counted or waited for.
module K8sReq.TestKit.InMemoryDelivery

open System
open System.Threading
open System.Threading.Tasks
open K8sReq.Core
open K8sReq.Journal
open K8sReq.Proxy

/// Told of the ends of attempts, by their numbers, and of copies.
let observing
    (attempted: int -> TimeSpan -> unit)
    (ended: Lane -> TargetOutcome -> TimeSpan -> unit)
    : CopyObserver = {
    new CopyObserver with
        member _.Attempted _ _ number _ duration = attempted number duration
        member _.Ended _ lane (struct (outcome, _)) duration = ended lane outcome duration
        member _.Shelved _ _ = ()
}

/// Told of nothing.
let unobserved = observing (fun _ _ -> ()) (fun _ _ _ -> ())

/// A store in memory that keeps requests as this says, and lets their copies be sent as that says.
let storeWith
    (append: AcceptedRequest -> ValueTask<bool>)
    (maySend: AcceptedRequest -> CancellationToken -> ValueTask<bool>)
    : CopyStore =
    let memory = MemoryStore.create ()

    {
        new CopyStore with
            member _.Append request = append request
            member _.MaySend request stop = maySend request stop
            member _.Parked request id state wait = memory.Parked request id state wait
            member _.Shelved request id state wait = memory.Shelved request id state wait
            member _.Ended request id outcome = memory.Ended request id outcome

            member _.Died request id outcome attempts keep isForSink =
                memory.Died request id outcome attempts keep isForSink

            member _.TryReserve clone bytes = memory.TryReserve clone bytes
            member _.Release clone bytes = memory.Release clone bytes
            member _.Backlog clone = memory.Backlog clone
            member _.Take clone most bytes = memory.Take clone most bytes
    }

/// With this client, by the real clock. Retries come after their whole back-off; what throws within fails the test.
let services (client: TargetClient) : DeliveryServices = {
    Client = client
    Clock = TimeProvider.System
    Jitter = fun () -> 1.0
    Store = MemoryStore.create ()
    Observer = unobserved
    Unexpected = raise
    PaceRetry = fun _ -> TimeSpan.Zero
    Stop = CancellationToken.None
}
