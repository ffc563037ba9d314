module K8sReq.TestKit.HeldPort

open System.Collections.Concurrent
open System.Net
open System.Net.Sockets

let private held = ConcurrentBag<Socket>()

/// A port of 127.0.0.1 on which nobody listens. A socket that does not listen holds it for as long as this process lives:
/// connections are refused, the system gives it to nobody who asks for any port, and who asks for it by its number can have it.
let take () : int =
    let socket =
        new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp)

    socket.Bind(IPEndPoint(IPAddress.Loopback, 0))
    held.Add socket

    match socket.LocalEndPoint with
    | :? IPEndPoint as bound -> bound.Port
    | other -> failwith $"bound to {other}"
