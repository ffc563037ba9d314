/// As much of HTTP/1.1 as tells where a response ends.
module K8sReq.Bench.ResponseHead

open System

// Responses without a body, nearly all of them.
let private isBare (received: ReadOnlySpan<byte>) (head: int) =
    head + 4 = received.Length && received.Slice(9, 3).SequenceEqual("202"B)

let private bodyLength (head: string) =
    head.Split "\r\n"
    |> Array.tryPick (fun line ->
        match line.Split(':', 2) with
        | [| name; value |] when name.Equals("Content-Length", StringComparison.OrdinalIgnoreCase) ->
            Some(int (value.Trim()))
        | _ -> None)

/// The status, once the whole response has been received; 0 before that. A 202 has no body.
let status (received: ReadOnlySpan<byte>) : int =
    let head = received.IndexOf("\r\n\r\n"B.AsSpan())

    if head < 12 then
        0
    elif isBare received head then
        202
    else
        let text = Text.Encoding.Latin1.GetString(received.Slice(0, head))

        let isWhole =
            match bodyLength text with
            | Some length -> received.Length >= head + 4 + length
            // Chunked, or none.
            | None ->
                not (text.Contains("chunked", StringComparison.OrdinalIgnoreCase))
                || received.EndsWith("\r\n0\r\n\r\n"B)

        match Int32.TryParse(text.AsSpan(9, 3)) with
        | true, status when isWhole -> status
        | _ -> 0
