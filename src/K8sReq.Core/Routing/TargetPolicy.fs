namespace K8sReq.Core

open System
open System.Net
open System.Net.Sockets

/// Which addresses copies may be sent to. Write access to a Service's `clusterIP` must not give access to what only this
/// machine reaches: its own ports, or a cloud's metadata at 169.254.169.254.
type TargetPolicy = {
    /// Those of this machine and its link, and multicast: for a run without a cluster.
    AllowsLocal: bool
    /// Ports that this process listens on: a copy of a copy would come back to them.
    OwnPorts: Set<int>
    /// How many RequestClones of one namespace a host may have: each costs every request of the host a copy.
    MostPerHost: int
    /// Whether there is a journal.
    HasJournal: bool
    /// Of RequestClones that do not say.
    Durability: Durability
    /// As well: how long their dead letters are kept.
    DeadLetterKeep: TimeSpan
}

module TargetPolicy =
    let permissive = {
        AllowsLocal = true
        OwnPorts = Set.empty
        MostPerHost = Int32.MaxValue
        HasJournal = false
        Durability = Durability.Memory
        DeadLetterKeep = TimeSpan.Zero
    }

    // The kind of an address that is none of a Service in a cluster.
    let private tryLocal (address: IPAddress) : string option =
        let address =
            if address.IsIPv4MappedToIPv6 then
                address.MapToIPv4()
            else
                address

        let bytes = address.GetAddressBytes()

        if address.AddressFamily = AddressFamily.InterNetwork then
            match bytes[0] with
            | 0uy -> Some "an unspecified one"
            | 127uy -> Some "a loopback one"
            | 169uy when bytes[1] = 254uy -> Some "a link-local one"
            | first when first >= 224uy && first < 240uy -> Some "a multicast one"
            | 255uy when Array.forall ((=) 255uy) bytes -> Some "the broadcast one"
            | _ -> None
        elif IPAddress.IPv6Any.Equals address then
            Some "an unspecified one"
        elif IPAddress.IsLoopback address then
            Some "a loopback one"
        elif address.IsIPv6LinkLocal then
            Some "a link-local one"
        elif address.IsIPv6Multicast then
            Some "a multicast one"
        else
            None

    /// The target, or why no copies are sent to it.
    let admit (policy: TargetPolicy) (target: Target) : Result<Target, ResolutionError> =
        match tryLocal target.Address with
        | Some what when not policy.AllowsLocal ->
            Error(ResolutionError.ServiceAddressRefused(target.Service, target.Address, what))
        | Some _ when policy.OwnPorts.Contains target.Port ->
            Error(
                ResolutionError.ServiceAddressRefused(
                    target.Service,
                    target.Address,
                    $"and port {target.Port} is this program's own"
                )
            )
        | Some _
        | None ->
            let delivery = target.Delivery

            match delivery.Durability |> Option.defaultValue policy.Durability with
            | Durability.Journal when not policy.HasJournal -> Error ResolutionError.JournalNotConfigured
            // Where dead letters are sent, they are kept first.
            | Durability.Memory when delivery.DeadLetterSink.IsSome ->
                Error ResolutionError.JournalNotConfigured
            | Durability.Memory -> Ok target
            | Durability.Journal ->
                Ok {
                    target with
                        Delivery = {
                            delivery with
                                Durability = Some Durability.Journal
                                DeadLetterKeep =
                                    delivery.DeadLetterKeep |> Option.orElse (Some policy.DeadLetterKeep)
                        }
                }

    /// Of a host's targets, ordered by RequestClone, those that are too many of their namespace: the last ones by name.
    let excess (policy: TargetPolicy) (targets: Target[]) : Target list =
        if targets.Length <= policy.MostPerHost then
            []
        else
            [
                for _, ofNamespace in targets |> Seq.groupBy _.Clone.Namespace do
                    yield! ofNamespace |> Seq.skip (min policy.MostPerHost (Seq.length ofNamespace))
            ]
