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
    new CopyObserver() with
        override _.Attempted _ _ number _ duration = attempted number duration
        override _.Ended _ lane (struct (outcome, _)) duration = ended lane outcome duration
        override _.Shelved _ _ = ()
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
        new CopyStore() with
            override _.Append request = append request
            override _.MaySend request stop = maySend request stop
            override _.Parked request id state wait = memory.Parked request id state wait
            override _.Shelved request id state wait = memory.Shelved request id state wait
            override _.Ended request id outcome = memory.Ended request id outcome

            override _.Died request id outcome attempts keep isForSink =
                memory.Died request id outcome attempts keep isForSink

            override _.TryReserve clone bytes = memory.TryReserve clone bytes
            override _.Release clone bytes = memory.Release clone bytes
            override _.Backlog clone = memory.Backlog clone
            override _.Take clone most bytes = memory.Take clone most bytes
    }

/// A client that sends so. What throws later than at once has faulted.
let clientOf (send: Target -> CapturedRequest -> ValueTask<SendResult>) : TargetClient =
    TargetClient(fun target request ->
        let sent = send target request

        if sent.IsCompleted then
            Sending.Ended sent.Result
        else
            let sending = Sending()

            sent
                .AsTask()
                .ContinueWith(
                    (fun (sent: Task<SendResult>) ->
                        match sent.Exception with
                        | null -> sending.Complete sent.Result
                        | error ->
                            TargetOutcome.Faulted(error.GetBaseException().Message)
                            |> SendResult.ofOutcome
                            |> sending.Complete),
                    TaskContinuationOptions.ExecuteSynchronously
                )
            |> ignore

            sending)

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
