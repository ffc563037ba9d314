/// What copies are delivered with where nothing is kept, counted or waited for.
module K8sReq.TestKit.InMemoryDelivery

open System
open System.Threading
open K8sReq.Journal
open K8sReq.Proxy

/// With this client, by the real clock. Retries come after their whole back-off; what throws within fails the test.
let services (client: TargetClient) : DeliveryServices = {
    Client = client
    Clock = TimeProvider.System
    Jitter = fun () -> 1.0
    Store = MemoryStore.create ()
    Attempted = fun _ _ _ _ _ -> ()
    Ended = fun _ _ _ _ -> ()
    Unexpected = raise
    Shelved = fun _ _ -> ()
    PaceRetry = fun _ -> TimeSpan.Zero
    Stop = CancellationToken.None
}
