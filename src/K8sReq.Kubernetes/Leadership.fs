namespace K8sReq.Kubernetes

open System
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open k8s
open k8s.LeaderElection
open k8s.LeaderElection.ResourceLock
open K8sReq.Core
open K8sReq.Proxy

/// Which lease decides who leads, and under what name this replica asks for it.
type LeaseSettings = {
    Namespace: string
    Name: string
    Identity: string
    /// How long a leader that says nothing more is believed in.
    Duration: TimeSpan
    /// How long a leader tries to say something before it gives up.
    RenewDeadline: TimeSpan
    RetryPeriod: TimeSpan
}

module LeaseSettings =
    let usual ns name identity = {
        Namespace = ns
        Name = name
        Identity = identity
        Duration = TimeSpan.FromSeconds 15.0
        RenewDeadline = TimeSpan.FromSeconds 10.0
        RetryPeriod = TimeSpan.FromSeconds 2.0
    }

/// Takes part in the election of the one replica that writes: `onChange` is told whether that is this one, `onLeader` what
/// the one is called. Whatever happens to the lease, nothing else is touched.
[<Sealed>]
type Leadership
    (
        logger: ILogger,
        clock: TimeProvider,
        connection: KubernetesConnection,
        lease: LeaseSettings,
        onChange: bool -> unit,
        onLeader: string -> unit
    ) =
    // The elector goes on saying that it leads after it has lost the lease: this is set by its events instead.
    let mutable isLeading = false
    let mutable hasFailed = false

    let change leads =
        if Interlocked.Exchange(&isLeading, leads) <> leads then
            hasFailed <- false

            if leads then
                KubernetesLog.leading logger lease.Identity
            else
                KubernetesLog.notLeading logger lease.Identity

            onChange leads

    // Once per transition: the elector tries every two seconds.
    let tell (error: exn) =
        if not hasFailed then
            hasFailed <- true
            KubernetesLog.leaderElectionFailed logger (ApiFailure.describe error)

    let renew (client: IKubernetes) =
        try
            connection.Renew client
        with error ->
            KubernetesLog.credentialsNotRenewed logger error.Message

    let elect (client: IKubernetes) (stop: CancellationToken) = task {
        // The elector tries with its client for ever: one whose credentials are refused is left, and another one takes
        // its place.
        use leaving = CancellationTokenSource.CreateLinkedTokenSource stop

        let onError (error: exn) =
            tell error

            if ApiFailure.needsRenewal error then
                renew client

                try
                    leaving.Cancel()
                with :? ObjectDisposedException ->
                    ()

        use elector =
            new LeaderElector(
                LeaderElectionConfig(
                    LeaseLock(client, lease.Namespace, lease.Name, lease.Identity),
                    LeaseDuration = lease.Duration,
                    RenewDeadline = lease.RenewDeadline,
                    RetryPeriod = lease.RetryPeriod
                )
            )

        elector.add_OnStartedLeading (fun () -> change true)
        elector.add_OnStoppedLeading (fun () -> change false)
        elector.add_OnError onError

        elector.add_OnNewLeader (fun leader ->
            onLeader leader

            if leader <> lease.Identity && leader <> "" then
                KubernetesLog.otherLeader logger leader)

        try
            do! elector.RunUntilLeadershipLostAsync leaving.Token
        with :? OperationCanceledException when not stop.IsCancellationRequested ->
            ()
    }

    // Else the others wait for as long as they would believe in a leader that has died.
    let rec release tries (stop: CancellationToken) : Task = task {
        let leases = connection.Client.CoordinationV1

        let! held =
            leases.ReadNamespacedLeaseAsync(lease.Name, lease.Namespace, cancellationToken = stop)

        if held.Spec.HolderIdentity = lease.Identity then
            held.Spec.HolderIdentity <- ""
            held.Spec.LeaseDurationSeconds <- Nullable 1
            held.Spec.RenewTime <- Nullable(clock.GetUtcNow().UtcDateTime)

            try
                // With the version that was read: if another one has it meanwhile, this is refused. Or it is our own
                // last renewal that came between.
                let! _ =
                    leases.ReplaceNamespacedLeaseAsync(
                        held,
                        lease.Name,
                        lease.Namespace,
                        cancellationToken = stop
                    )

                ()
            with error when tries > 1 && ApiFailure.tryStatus error = Some 409 ->
                do! release (tries - 1) stop
    }

    member _.IsLeading = Volatile.Read &isLeading

    /// Takes part until the token says stop, and gives the lease back then.
    member _.RunAsync(stop: CancellationToken) : Task = task {
        let mutable failures = 0

        while not stop.IsCancellationRequested do
            let client = connection.Client

            try
                do! elect client stop
                failures <- 0
            with
            | _ when stop.IsCancellationRequested -> ()
            | error ->
                tell error
                failures <- failures + 1

                if ApiFailure.needsRenewal error then
                    renew client

            change false

            if stop.IsCancellationRequested then
                // Also where it does not know that it leads: the lease may have been written, and the answer not read.
                use limit = new CancellationTokenSource(TimeSpan.FromSeconds 2.0, clock)

                try
                    do! release 3 limit.Token
                with
                // There is none.
                | error when ApiFailure.tryStatus error = Some 404 -> ()
                | error -> tell error
            else
                let pause =
                    Backoff.delay lease.RetryPeriod lease.Duration failures (Random.Shared.NextDouble())

                try
                    do! Task.Delay(pause, clock, stop)
                with :? OperationCanceledException ->
                    ()
    }
