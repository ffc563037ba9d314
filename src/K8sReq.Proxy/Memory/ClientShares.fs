namespace K8sReq.Proxy

open System.Collections.Generic
open System.Net
open System.Net.Sockets
open System.Threading

/// The shares of clients in the memory for requests, by address; of IPv6 by the first 64 bits, which is what one client
/// has. One is kept for as long as the client has a connection or holds any memory: copies of what it has sent may wait long
/// after its connections have ended.
[<Sealed>]
type ClientShares() =
    // Guards everything below. A client has an entry for as long as it has a connection or its share is in use.
    let gate = Lock()
    // Each with its number of connections.
    let shares = Dictionary<IPAddress, struct (BudgetShare * int)>()
    // At so many those that are nobody's any more are looked for.
    let mutable sweepAt = 256

    let isOver (struct (share: BudgetShare, connections: int)) = connections = 0 && share.Used = 0L

    // To be called under the lock.
    let sweep () =
        if shares.Count >= sweepAt then
            for KeyValue(client, share) in shares do
                if isOver share then
                    // Which a Dictionary allows while it is gone through.
                    shares.Remove client |> ignore

            sweepAt <- max 256 (2 * shares.Count)

    let clientOf (endpoint: EndPoint | null) =
        match endpoint with
        | :? IPEndPoint as endpoint ->
            let address = endpoint.Address

            if address.IsIPv4MappedToIPv6 then
                address.MapToIPv4()
            elif address.AddressFamily = AddressFamily.InterNetworkV6 then
                let bytes = address.GetAddressBytes()
                System.Array.Clear(bytes, 8, 8)
                IPAddress bytes
            else
                address
        | _ -> IPAddress.None

    /// A connection of this client begins. `Leave` is to be called when it has ended.
    member _.Enter(endpoint: EndPoint | null) : BudgetShare =
        let client = clientOf endpoint

        exclusively gate (fun () ->
            match shares.TryGetValue client with
            | true, struct (share, connections) ->
                shares[client] <- struct (share, connections + 1)
                share
            | false, _ ->
                sweep ()
                let share = BudgetShare.ofClient ()
                shares[client] <- struct (share, 1)
                share)

    member _.Leave(endpoint: EndPoint | null) : unit =
        let client = clientOf endpoint

        exclusively gate (fun () ->
            match shares.TryGetValue client with
            | true, struct (share, connections) ->
                let left = struct (share, connections - 1)

                if isOver left then
                    shares.Remove client |> ignore
                else
                    shares[client] <- left
            | false, _ -> ())

    /// How many clients have one.
    member _.Count = exclusively gate (fun () -> shares.Count)
