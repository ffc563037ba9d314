namespace K8sReq.Host.Http

open System.Collections.Generic
open System.Net
open System.Net.Sockets
open System.Threading

/// The shares of clients in the memory for requests, by address; of IPv6 by the first 64 bits, which is what one client
/// has. One is kept for as long as the client has a connection.
[<Sealed>]
type ClientShares() =
    let gate = Lock()
    let shares = Dictionary<IPAddress, struct (BudgetShare * int)>()

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

        lock gate (fun () ->
            match shares.TryGetValue client with
            | true, struct (share, connections) ->
                shares[client] <- struct (share, connections + 1)
                share
            | false, _ ->
                let share = BudgetShare.ofClient ()
                shares[client] <- struct (share, 1)
                share)

    member _.Leave(endpoint: EndPoint | null) : unit =
        let client = clientOf endpoint

        lock gate (fun () ->
            match shares.TryGetValue client with
            | true, struct (_, 1) -> shares.Remove client |> ignore
            | true, struct (share, connections) -> shares[client] <- struct (share, connections - 1)
            | false, _ -> ())
