/// HTTP/1.1 as bytes, read without any of the code under test.
module K8sReq.TestKit.HttpMessage

open System
open System.IO
open System.Text
open System.Threading.Tasks

/// A head's first line and fields as they stand there (Latin-1), and the body.
type Message = {
    Start: string
    Fields: (string * string) list
    Body: byte[]
} with

    /// The values of a field, in their order.
    member message.Values(name: string) =
        message.Fields
        |> List.filter (fun (field, _) -> field.Equals(name, StringComparison.OrdinalIgnoreCase))
        |> List.map snd

    member message.Text = Encoding.Latin1.GetString message.Body

/// Reads single messages from a stream; keeps every byte it has read, unless told to forget what it has given out.
[<Sealed>]
type MessageReader(stream: Stream, ?forgets: bool) =
    let forgets = defaultArg forgets false
    let seen = new MemoryStream()
    let buffer = Array.zeroCreate<byte> 65536
    let mutable position = 0

    // One more piece from the stream; false at its end.
    let fill () = task {
        if forgets && int64 position = seen.Length then
            seen.SetLength 0L
            position <- 0

        let! count = stream.ReadAsync(buffer, 0, buffer.Length)
        seen.Seek(0L, SeekOrigin.End) |> ignore
        seen.Write(buffer, 0, count)
        return count > 0
    }

    let available () =
        seen.GetBuffer().AsSpan(position, int seen.Length - position)

    let indexOf (pattern: byte[]) = available().IndexOf(pattern.AsSpan())

    let take count =
        let taken = available().Slice(0, count).ToArray()
        position <- position + count
        taken

    let rec takeUntil (pattern: byte[]) : Task<byte[] option> = task {
        match indexOf pattern with
        | -1 ->
            let! more = fill ()
            if more then return! takeUntil pattern else return None
        | index -> return Some(take (index + pattern.Length))
    }

    let rec takeExactly count : Task<byte[]> = task {
        if available().Length >= count then
            return take count
        else
            let! more = fill ()

            if more then
                return! takeExactly count
            else
                return raise (EndOfStreamException $"{available().Length} of {count} bytes of a body came")
    }

    let rec takeChunks (body: MemoryStream) : Task<byte[]> = task {
        let! line = takeUntil "\r\n"B

        let size =
            Convert.ToInt32(Encoding.ASCII.GetString(line.Value).Trim().Split(';')[0], 16)

        let! chunk = takeExactly (size + 2)

        if size = 0 then
            return body.ToArray()
        else
            body.Write(chunk, 0, size)
            return! takeChunks body
    }

    let parseHead (head: byte[]) =
        let lines =
            Encoding.Latin1.GetString(head).Split("\r\n", StringSplitOptions.RemoveEmptyEntries)

        let field (line: string) =
            let colon = line.IndexOf ':'
            line.Substring(0, colon), line.Substring(colon + 1).TrimStart(' ')

        lines[0], lines |> Array.skip 1 |> Array.map field |> List.ofArray

    /// All bytes that came so far.
    member _.Seen = seen.ToArray()

    /// The head of the next message; None at the end of the stream.
    member _.ReadHead() : Task<(string * (string * string) list) option> = task {
        let! head = takeUntil "\r\n\r\n"B
        return head |> Option.map parseHead
    }

    /// The body that this head announces; none if it announces none.
    member _.ReadBody(fields: (string * string) list) : Task<byte[]> = task {
        let value name =
            fields
            |> List.tryPick (fun (field: string, value) ->
                if field.Equals(name, StringComparison.OrdinalIgnoreCase) then
                    Some value
                else
                    None)

        match value "Transfer-Encoding", value "Content-Length" with
        | Some _, _ -> return! takeChunks (new MemoryStream())
        | None, Some length -> return! takeExactly (int length)
        | None, None -> return [||]
    }

    /// The next message; None at the end of the stream.
    member reader.Read() : Task<Message option> = task {
        match! reader.ReadHead() with
        | None -> return None
        | Some(start, fields) ->
            let! body = reader.ReadBody fields

            return
                Some {
                    Start = start
                    Fields = fields
                    Body = body
                }
    }

    /// True once the other side has closed; whatever else comes is a failure.
    member _.IsAtEnd() : Task<bool> = task {
        try
            let! more = fill ()
            return not more
        with :? IOException ->
            return true
    }
