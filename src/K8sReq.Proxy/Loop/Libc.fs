namespace K8sReq.Proxy

#nowarn "9"

open System
open System.Buffers
open System.Net
open System.Net.Sockets
open System.Runtime.InteropServices
open Microsoft.FSharp.NativeInterop

// Every argument is a number: nothing has to be converted on the way, and what failed is asked of the system at once (errno).
[<assembly: System.Runtime.CompilerServices.DisableRuntimeMarshalling>]
do ()

/// The calls of Linux for sockets that never block, by their descriptors.
module Libc =
    module private Native =
        [<DllImport("libc")>]
        extern int close(int descriptor)

        [<DllImport("libc")>]
        extern int socket(int domain, int kind, int protocol)

        [<DllImport("libc")>]
        extern int accept4(int descriptor, nativeint address, nativeint length, int flags)

        [<DllImport("libc")>]
        extern int connect(int descriptor, nativeint address, int length)

        [<DllImport("libc")>]
        extern int getsockname(int descriptor, nativeint address, nativeint length)

        [<DllImport("libc")>]
        extern int setsockopt(int descriptor, int level, int name, nativeint value, int length)

        [<DllImport("libc")>]
        extern int getsockopt(int descriptor, int level, int name, nativeint value, nativeint length)

        [<DllImport("libc")>]
        extern int shutdown(int descriptor, int how)

        [<DllImport("libc")>]
        extern nativeint recv(int descriptor, nativeint buffer, unativeint length, int flags)

        [<DllImport("libc")>]
        extern nativeint recvmsg(int descriptor, nativeint message, int flags)

        [<DllImport("libc")>]
        extern nativeint send(int descriptor, nativeint buffer, unativeint length, int flags)

        [<DllImport("libc")>]
        extern nativeint sendmsg(int descriptor, nativeint message, int flags)

    // errno.h, as it is on x64 and arm64.
    module private Errno =
        let interrupted = 4
        let again = 11
        let tooManyInSystem = 23
        let tooMany = 24
        let inProgress = 115

    // The network's errors (errno.h) as the runtime names them.
    let private toSocketError (errno: int) : SocketError =
        match errno with
        | 1
        | 13 -> SocketError.AccessDenied
        | 23
        | 24 -> SocketError.TooManyOpenSockets
        | 22 -> SocketError.InvalidArgument
        | 32
        | 108 -> SocketError.Shutdown
        | 97 -> SocketError.AddressFamilyNotSupported
        | 98 -> SocketError.AddressAlreadyInUse
        | 99 -> SocketError.AddressNotAvailable
        | 100 -> SocketError.NetworkDown
        | 101 -> SocketError.NetworkUnreachable
        | 103 -> SocketError.ConnectionAborted
        | 104 -> SocketError.ConnectionReset
        | 12
        | 105 -> SocketError.NoBufferSpaceAvailable
        | 107 -> SocketError.NotConnected
        | 110 -> SocketError.TimedOut
        | 111 -> SocketError.ConnectionRefused
        | 112 -> SocketError.HostDown
        | 113 -> SocketError.HostUnreachable
        | _ -> SocketError.SocketError

    /// Why the last call failed. To be asked at once.
    let lastError () : SocketError =
        toSocketError (Marshal.GetLastSystemError())

    /// What came of a call that moves bytes.
    [<Struct>]
    type Moved = {
        /// 0 and `Success`: the other side sends no more.
        Count: int
        /// `WouldBlock`: not now; the loop tells when.
        Error: SocketError
    }

    let private moved (count: nativeint) : Moved =
        if count >= 0n then
            {
                Count = int count
                Error = SocketError.Success
            }
        else
            let errno = Marshal.GetLastSystemError()

            {
                Count = 0
                Error =
                    if errno = Errno.again then
                        SocketError.WouldBlock
                    else
                        toSocketError errno
            }

    // MSG_DONTWAIT, and MSG_NOSIGNAL: a connection that is closed is an error, not a signal.
    let private dontWait = 0x40
    let private noSignal = 0x4000

    let private receiveOnce (descriptor: int) (start: nativeint) (length: int) : Moved =
        moved (Native.recv (descriptor, start, unativeint length, dontWait))

    let private sendOnce (descriptor: int) (start: nativeint) (length: int) : Moved =
        moved (Native.send (descriptor, start, unativeint length, dontWait ||| noSignal))

    /// Receives what is there.
    let receive (descriptor: int) (space: Span<byte>) : Moved =
        use start = fixed space

        let mutable result =
            receiveOnce descriptor (NativePtr.toNativeInt start) space.Length

        while result.Error <> SocketError.Success
              && Marshal.GetLastSystemError() = Errno.interrupted do
            result <- receiveOnce descriptor (NativePtr.toNativeInt start) space.Length

        result

    /// Sends what there is room for.
    let send (descriptor: int) (bytes: ReadOnlySpan<byte>) : Moved =
        use start = fixed bytes
        let mutable result = sendOnce descriptor (NativePtr.toNativeInt start) bytes.Length

        while result.Error <> SocketError.Success
              && Marshal.GetLastSystemError() = Errno.interrupted do
            result <- sendOnce descriptor (NativePtr.toNativeInt start) bytes.Length

        result

    /// The most pieces that one call moves.
    [<Literal>]
    let mostPieces = 8

    // struct iovec, and struct msghdr with iovecs at their place and all else empty, as 64-bit systems have them.
    let private vectorSize = 16
    let private headerSize = 56
    let private vectorsAt = 16

    let private putVector (vectors: nativeint) (index: int) (start: nativeptr<byte>) (length: int) =
        let vector = vectors + nativeint (index * vectorSize)
        Marshal.WriteIntPtr(vector, NativePtr.toNativeInt start)
        Marshal.WriteIntPtr(vector, 8, nativeint length)

    let private moveOnce (isSent: bool) (descriptor: int) (header: nativeint) : Moved =
        moved (
            if isSent then
                Native.sendmsg (descriptor, header, dontWait ||| noSignal)
            else
                Native.recvmsg (descriptor, header, dontWait)
        )

    // The first ones of these pieces, as many as `count` says. What holds a piece where it is, is the local that points to it: each
    // needs its own, in the method that makes the call. A function that holds one and calls itself for the rest does not do: it
    // is compiled to a loop, with one local.
    let private movePieces
        (isSent: bool)
        (descriptor: int)
        (count: int)
        (piece0: ReadOnlySpan<byte>)
        (piece1: ReadOnlySpan<byte>)
        (piece2: ReadOnlySpan<byte>)
        (piece3: ReadOnlySpan<byte>)
        (piece4: ReadOnlySpan<byte>)
        (piece5: ReadOnlySpan<byte>)
        (piece6: ReadOnlySpan<byte>)
        (piece7: ReadOnlySpan<byte>)
        : Moved =
        use start0 = fixed piece0
        use start1 = fixed piece1
        use start2 = fixed piece2
        use start3 = fixed piece3
        use start4 = fixed piece4
        use start5 = fixed piece5
        use start6 = fixed piece6
        use start7 = fixed piece7

        let vectors =
            NativePtr.toNativeInt (NativePtr.stackalloc<byte>(mostPieces * vectorSize))

        putVector vectors 0 start0 piece0.Length
        putVector vectors 1 start1 piece1.Length
        putVector vectors 2 start2 piece2.Length
        putVector vectors 3 start3 piece3.Length
        putVector vectors 4 start4 piece4.Length
        putVector vectors 5 start5 piece5.Length
        putVector vectors 6 start6 piece6.Length
        putVector vectors 7 start7 piece7.Length
        let bytes = NativePtr.stackalloc<byte> headerSize
        NativePtr.initBlock bytes 0uy (uint32 headerSize)
        let header = NativePtr.toNativeInt bytes
        Marshal.WriteIntPtr(header, vectorsAt, vectors)
        Marshal.WriteIntPtr(header, vectorsAt + 8, nativeint count)
        let mutable result = moveOnce isSent descriptor header

        while result.Error <> SocketError.Success
              && Marshal.GetLastSystemError() = Errno.interrupted do
            result <- moveOnce isSent descriptor header

        result

    let private next
        (rest: byref<ReadOnlySequence<byte>.Enumerator>)
        (count: byref<int>)
        : ReadOnlySpan<byte> =
        if rest.MoveNext() then
            count <- count + 1
            rest.Current.Span
        else
            ReadOnlySpan.Empty

    /// Sends what there is room for of these pieces, of the first few at the most, by one call.
    let sendPieces (descriptor: int) (pieces: ReadOnlySequence<byte>) : Moved =
        if pieces.IsSingleSegment then
            send descriptor pieces.FirstSpan
        else
            let mutable rest = pieces.GetEnumerator()
            let mutable count = 0
            let piece0 = next &rest &count
            let piece1 = next &rest &count
            let piece2 = next &rest &count
            let piece3 = next &rest &count
            let piece4 = next &rest &count
            let piece5 = next &rest &count
            let piece6 = next &rest &count
            let piece7 = next &rest &count
            movePieces true descriptor count piece0 piece1 piece2 piece3 piece4 piece5 piece6 piece7

    let private space (spaces: ReadOnlySpan<ArraySegment<byte>>) (index: int) : ReadOnlySpan<byte> =
        if index < spaces.Length then
            Span.op_Implicit (spaces[index].AsSpan())
        else
            ReadOnlySpan.Empty

    /// Receives what is there into these spaces, one after the other, by one call: at most `mostPieces` of them.
    let receivePieces (descriptor: int) (spaces: ReadOnlySpan<ArraySegment<byte>>) : Moved =
        if spaces.Length = 1 then
            receive descriptor (spaces[0].AsSpan())
        else
            let piece0 = space spaces 0
            let piece1 = space spaces 1
            let piece2 = space spaces 2
            let piece3 = space spaces 3
            let piece4 = space spaces 4
            let piece5 = space spaces 5
            let piece6 = space spaces 6
            let piece7 = space spaces 7
            movePieces false descriptor spaces.Length piece0 piece1 piece2 piece3 piece4 piece5 piece6 piece7

    let close (descriptor: int) : unit = Native.close descriptor |> ignore

    let private shutWrite = 1

    /// Sends no more: the other side sees the end.
    let endOutput (descriptor: int) : unit =
        Native.shutdown (descriptor, shutWrite) |> ignore

    let private solSocket = 1
    let private ipprotoTcp = 6

    let private setOption (descriptor: int) (level: int) (name: int) (value: int) =
        let cell = NativePtr.stackalloc<int> 1
        NativePtr.write cell value

        Native.setsockopt (descriptor, level, name, NativePtr.toNativeInt cell, sizeof<int>)
        |> ignore

    let noDelay (descriptor: int) : unit = setOption descriptor ipprotoTcp 1 1

    /// What has failed on it, to be asked once: SO_ERROR.
    let pendingError (descriptor: int) : SocketError =
        let cells = NativePtr.stackalloc<int> 2
        NativePtr.set cells 0 0
        NativePtr.set cells 1 sizeof<int>

        let asked =
            Native.getsockopt (
                descriptor,
                solSocket,
                4,
                NativePtr.toNativeInt cells,
                NativePtr.toNativeInt (NativePtr.add cells 1)
            )

        if asked < 0 then lastError ()
        elif NativePtr.get cells 0 = 0 then SocketError.Success
        else toSocketError (NativePtr.get cells 0)

    /// An option of TCP as bytes: how many were written, none where the system does not know it.
    let tcpOption (descriptor: int) (name: int) (into: Span<byte>) : int =
        let length = NativePtr.stackalloc<int> 1
        NativePtr.write length into.Length
        use start = fixed into

        if
            Native.getsockopt (
                descriptor,
                ipprotoTcp,
                name,
                NativePtr.toNativeInt start,
                NativePtr.toNativeInt length
            )
                <
                0
        then
            0
        else
            NativePtr.read length

    // MSG_PEEK.
    let private peek = 0x2

    /// Whether anything has come that was not received: bytes, the end, or an error.
    let hasUnread (descriptor: int) : bool =
        let cell = NativePtr.stackalloc<byte> 1

        let count =
            Native.recv (descriptor, NativePtr.toNativeInt cell, 1un, dontWait ||| peek)

        count >= 0n || Marshal.GetLastSystemError() <> Errno.again

    // SOCK_STREAM with SOCK_NONBLOCK and SOCK_CLOEXEC.
    let private nonBlocking = 0x800
    let private closeOnExec = 0x80000
    let private stream = 1

    // AF_INET and AF_INET6, as Linux numbers them.
    let private domainOf (family: AddressFamily) =
        if family = AddressFamily.InterNetworkV6 then 10 else 2

    // sockaddr_storage.
    let private longestAddress = 128

    let private addressOf (bytes: ReadOnlySpan<byte>) : IPEndPoint | null =
        let family =
            match int bytes[0] ||| (int bytes[1] <<< 8) with
            | 2 -> AddressFamily.InterNetwork
            | 10 -> AddressFamily.InterNetworkV6
            | _ -> AddressFamily.Unknown

        if family = AddressFamily.Unknown then
            null
        else
            let address = SocketAddress(family, bytes.Length)
            // The family is there already, as the runtime numbers it.
            bytes.Slice(2).CopyTo(address.Buffer.Span.Slice 2)

            match IPEndPoint(IPAddress.Any, 0).Create address with
            | :? IPEndPoint as endpoint -> endpoint
            | _ -> null

    /// A connection that was accepted.
    [<Struct; NoEquality; NoComparison>]
    type Accepted = {
        /// -1 if there is none: `Error` says why.
        Descriptor: int
        /// Of the client; null where the system does not say.
        Remote: IPEndPoint | null
        Error: SocketError
    }

    /// The next connection that waits.
    let accept (listener: int) : Accepted =
        let address = NativePtr.stackalloc<byte> longestAddress
        let length = NativePtr.stackalloc<int> 1
        NativePtr.write length longestAddress

        let descriptor =
            Native.accept4 (
                listener,
                NativePtr.toNativeInt address,
                NativePtr.toNativeInt length,
                nonBlocking ||| closeOnExec
            )

        if descriptor < 0 then
            let errno = Marshal.GetLastSystemError()

            {
                Descriptor = -1
                Remote = null
                Error =
                    if errno = Errno.again then
                        SocketError.WouldBlock
                    elif errno = Errno.interrupted then
                        SocketError.ConnectionAborted
                    else
                        toSocketError errno
            }
        else
            {
                Descriptor = descriptor
                Remote = addressOf (ReadOnlySpan(NativePtr.toVoidPtr address, NativePtr.read length))
                Error = SocketError.Success
            }

    /// The address of this side; null where the system does not say.
    let localAddress (descriptor: int) : IPEndPoint | null =
        let address = NativePtr.stackalloc<byte> longestAddress
        let length = NativePtr.stackalloc<int> 1
        NativePtr.write length longestAddress

        if
            Native.getsockname (descriptor, NativePtr.toNativeInt address, NativePtr.toNativeInt length) < 0
        then
            null
        else
            addressOf (ReadOnlySpan(NativePtr.toVoidPtr address, NativePtr.read length))

    /// A socket for a connection to an address of this family.
    let openSocket (family: AddressFamily) : Result<int, SocketError> =
        let descriptor =
            Native.socket (domainOf family, stream ||| nonBlocking ||| closeOnExec, 0)

        if descriptor < 0 then
            Error(lastError ())
        else
            Ok descriptor

    /// Begins to connect. `InProgress`: the loop tells when it can be written to, or has failed.
    let connect (descriptor: int) (endpoint: IPEndPoint) : SocketError =
        let address = endpoint.Serialize()
        let bytes = NativePtr.stackalloc<byte> longestAddress
        address.Buffer.Span.Slice(0, address.Size).CopyTo(Span(NativePtr.toVoidPtr bytes, longestAddress))
        // The family as Linux numbers it, whatever the runtime's number is.
        NativePtr.set bytes 0 (byte (domainOf endpoint.AddressFamily))
        NativePtr.set bytes 1 0uy

        if Native.connect (descriptor, NativePtr.toNativeInt bytes, address.Size) = 0 then
            SocketError.Success
        else
            let errno = Marshal.GetLastSystemError()

            // An interrupted one goes on by itself.
            if errno = Errno.inProgress || errno = Errno.interrupted then
                SocketError.InProgress
            else
                toSocketError errno
