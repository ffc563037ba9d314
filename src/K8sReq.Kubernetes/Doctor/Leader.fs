/// The Lease that one replica holds.
module K8sReq.Kubernetes.Doctor.Leader

open System
open System.Text.Json
open System.Threading
open k8s
open K8sReq.Core

/// Whether a replica holds the Lease and renews it.
let examine (client: IKubernetes) (clock: TimeProvider) (settings: Settings) (ns: string) stop = task {
    if not settings.EnableLeaderElection then
        return Finding.skipped "leader" "leader election is off: each replica writes statuses"
    else
        let name = settings.LeaderElectionName

        try
            let! lease =
                client.CustomObjects.GetNamespacedCustomObjectAsync<JsonElement>(
                    "coordination.k8s.io",
                    "v1",
                    ns,
                    "leases",
                    name,
                    cancellationToken = stop
                )

            let holder = Json.textAt [ "spec"; "holderIdentity" ] lease
            let renewed = Json.tryAt [ "spec"; "renewTime" ] lease |> Option.bind Json.tryTime

            return
                match holder, renewed with
                | "", _ -> Finding.failed "leader" $"nobody holds Lease {ns}/{name}: no replica runs"
                | holder, Some renewed when clock.GetUtcNow() - renewed > TimeSpan.FromMinutes 1.0 ->
                    Finding.failed
                        "leader"
                        $"""{holder} holds Lease {ns}/{name}, last renewed {renewed.UtcDateTime.ToString "yyyy-MM-ddTHH:mm:ssZ"}: no replica runs"""
                | holder, _ -> Finding.ok "leader" $"{holder} holds Lease {ns}/{name}"
        with
        | error when Problem.isStatus 404 error ->
            return
                Finding.failed
                    "leader"
                    $"there is no Lease {ns}/{name}: no replica has run with these settings"
        | error -> return Finding.skipped "leader" (Problem.describe error)
}
