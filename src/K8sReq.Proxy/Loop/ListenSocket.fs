/// The sockets of listeners.
module K8sReq.Proxy.ListenSocket

open System.Net
open System.Net.Sockets
open Microsoft.AspNetCore.Connections
open Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets

/// Listens on the address. Throws an `AddressInUseException` where somebody else does.
let bind (options: SocketTransportOptions) (endpoint: EndPoint) : Socket =
    try
        let socket = options.CreateBoundListenSocket.Invoke endpoint

        try
            socket.Listen options.Backlog
            socket
        with _ ->
            socket.Dispose()
            reraise ()
    // The server tells this exception from others: it does not look for another family of addresses then.
    with :? SocketException as error when error.SocketErrorCode = SocketError.AddressAlreadyInUse ->
        raise (AddressInUseException(error.Message, error))
