namespace K8sReq.Journal

open System
open System.Buffers
open System.IO
open K8sReq.Proxy

/// A request as a journal keeps it.
[<NoEquality; NoComparison>]
type RequestRow = {
    Number: int64
    /// In milliseconds since 1970.
    ReceivedAt: int64
    Host: string
    Method: string
    FieldsEnd: int64
    /// What a copy of it counts for.
    Bytes: int64
    RequestId: Guid
    Wire: ReadOnlySequence<byte>
}

module RequestRow =
    /// Of a request that was accepted then.
    let ofAccepted (accepted: AcceptedRequest) (at: DateTimeOffset) : RequestRow =
        let request = accepted.Request

        {
            Number = accepted.Number
            ReceivedAt = at.ToUnixTimeMilliseconds()
            Host = request.Host
            Method = request.Method
            FieldsEnd = request.FieldsEnd
            Bytes = accepted.Bytes
            RequestId = accepted.RequestId
            Wire = request.Wire
        }

/// A copy in a pack.
[<Struct>]
type PackedCopy = {
    Copy: int
    /// The number of its RequestClone in the journal.
    Clone: int64
}

[<NoEquality; NoComparison>]
type PackedRequest = {
    Row: RequestRow
    Copies: PackedCopy list
}

/// Requests one after the other in one value: those of a commit are written, and removed, as one row.
[<Sealed>]
type RequestPack() =
    let bytes = new MemoryStream()
    let writer = new BinaryWriter(bytes)

    member _.IsEmpty = bytes.Length = 0L
    member _.Length = bytes.Length

    /// Valid until the next change.
    member _.Bytes: ReadOnlySpan<byte> =
        ReadOnlySpan(bytes.GetBuffer(), 0, int bytes.Length)

    member _.Clear() : unit = bytes.SetLength 0L

    member _.AddRequest(row: RequestRow, copies: int) : unit =
        writer.Write row.Number
        writer.Write row.ReceivedAt
        writer.Write row.Host
        writer.Write row.Method
        writer.Write row.FieldsEnd
        writer.Write row.Bytes
        writer.Write(row.RequestId.ToByteArray true)
        writer.Write(int row.Wire.Length)

        for segment in row.Wire do
            writer.Write segment.Span

        writer.Write copies

    /// So many of them follow a request.
    member _.AddCopy(copy: PackedCopy) : unit =
        writer.Write copy.Copy
        writer.Write copy.Clone

module RequestPack =
    let private read (reader: BinaryReader) : PackedRequest =
        let number = reader.ReadInt64()
        let receivedAt = reader.ReadInt64()
        let host = reader.ReadString()
        let method = reader.ReadString()
        let fieldsEnd = reader.ReadInt64()
        let bytes = reader.ReadInt64()
        let requestId = Guid(reader.ReadBytes 16, true)
        let length = int64 (reader.ReadInt32())

        // Damaged, it may be anything.
        if length < 0L || length > reader.BaseStream.Length - reader.BaseStream.Position then
            raise (EndOfStreamException())

        let wire = reader.ReadBytes(int length)

        {
            Row = {
                Number = number
                ReceivedAt = receivedAt
                Host = host
                Method = method
                FieldsEnd = fieldsEnd
                Bytes = bytes
                RequestId = requestId
                Wire = ReadOnlySequence wire
            }
            Copies = [
                for _ in 1 .. reader.ReadInt32() do
                    let copy = reader.ReadInt32()

                    {
                        Copy = copy
                        Clone = reader.ReadInt64()
                    }
            ]
        }

    /// What was added, in its order. None if it is damaged.
    let requestsIn (bytes: byte[]) : PackedRequest list option =
        use reader = new BinaryReader(new MemoryStream(bytes))

        try
            Some [
                while reader.BaseStream.Position < reader.BaseStream.Length do
                    read reader
            ]
        with
        | :? IOException
        | :? ArgumentException
        | :? FormatException -> None
