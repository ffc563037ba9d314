namespace K8sReq.Proxy

open System
open System.Collections.Concurrent
open K8sReq.Core

/// Finds what belongs to a host by any of the host's spellings. One writer, any number of readers, no lock: a reader
/// sees each host as it was before or after a change.
[<Sealed; AllowNullLiteral(false)>]
type HostIndex<'T>() =
    // Changed host by host, because building an index of 10,000 anew takes longer than a change may. Keys differ in
    // case only where hosts do not.
    let index =
        ConcurrentDictionary<string, 'T>(Environment.ProcessorCount, 31, StringComparer.OrdinalIgnoreCase)

    let lookup = index.GetAlternateLookup<ReadOnlySpan<char>>()

    member _.Set(host: HostName, value: 'T) = index[host.Value] <- value
    member _.Remove(host: HostName) = index.TryRemove host.Value |> ignore

    /// What belongs to this host, however it is spelled (capitals, port, trailing dot).
    member _.TryFind(host: string) : 'T voption =
        // An IPv6 address has more spellings than its letters' case; it is rare enough to be parsed.
        let key =
            if host.StartsWith '[' then
                match HostName.parse host with
                | Ok address -> address.Value
                | Error _ -> host
            else
                host

        let mutable value = Unchecked.defaultof<'T>

        // `HostName.parse` takes no other port, and there is one answer to whether a text is a host.
        if
            HostName.hasPort (key.AsSpan())
            && lookup.TryGetValue(HostName.significant (key.AsSpan()), &value)
        then
            ValueSome value
        else
            ValueNone
