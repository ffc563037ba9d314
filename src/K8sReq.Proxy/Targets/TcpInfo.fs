/// What the system knows of a TCP connection.
module K8sReq.Proxy.TcpInfo

open System
open System.Buffers.Binary
open System.Net.Sockets

// tcp(7), linux/tcp.h: IPPROTO_TCP, TCP_INFO, and where tcpi_bytes_acked is in struct tcp_info (Linux 4.1 and later).
let private protocol = 6
let private option = 11
let private acknowledgedAt = 120

// Whether what the system says, of so many bytes, is that the first `before` bytes and no more were acknowledged.
let private saysNothingAfter (scratch: byte[]) (length: int) (before: int64) =
    length >= acknowledgedAt + 8
    // The segment that opens a connection counts as one byte.
    && BinaryPrimitives.ReadInt64LittleEndian(ReadOnlySpan(scratch, acknowledgedAt, 8)) = before + 1L

/// Whether the other side has acknowledged the first `before` bytes that were sent over this connection, and no more. False
/// where the system does not say: only Linux does, and one that counts nothing says nothing. `scratch` has 128 bytes for
/// what the system says.
let hasAcknowledgedNothingAfter (scratch: byte[]) (before: int64) (socket: Socket) : bool =
    if not (OperatingSystem.IsLinux()) then
        false
    else
        try
            let length = socket.GetRawSocketOption(protocol, option, scratch.AsSpan())
            saysNothingAfter scratch length before
        with
        | :? SocketException
        | :? ObjectDisposedException -> false

/// The same of a descriptor.
let descriptorHasAcknowledgedNothingAfter (scratch: byte[]) (before: int64) (descriptor: int) : bool =
    saysNothingAfter scratch (Libc.tcpOption descriptor option (scratch.AsSpan())) before
