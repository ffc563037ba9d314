namespace K8sReq.Core

open System

/// Where in a trace a message was sent.
type TraceContext = {
    /// 32 hexadecimal digits in lower case, not all of them 0.
    TraceId: string
    /// 16 of them.
    SpanId: string
    /// Whether the sender records its part; None if it leaves that to others.
    Sampled: bool option
    /// What W3C's `tracestate` says; empty for nothing.
    State: string
}

/// The ways in which a head says it.
[<RequireQualifiedAccess>]
type TraceForm =
    /// `traceparent` and `tracestate`, https://www.w3.org/TR/trace-context/
    | W3C
    /// The one field `b3`, https://github.com/openzipkin/b3-propagation
    | B3Single
    /// The fields `X-B3-…`.
    | B3Multi

module TraceContext =
    let private isNamed (expected: string) (name: string) =
        name.Equals(expected, StringComparison.OrdinalIgnoreCase)

    let private tryLine (name: string) (lines: HeaderLine[]) : string option =
        lines
        |> Array.tryPick (fun (struct (other, value)) -> if isNamed name other then Some value else None)

    let private isLowerHex (length: int) (text: string) =
        text.Length = length && text |> Seq.forall Char.IsAsciiHexDigitLower

    let private isZero (text: string) = text |> Seq.forall ((=) '0')

    let private create traceId spanId sampled state : TraceContext option =
        if
            isLowerHex 32 traceId
            && isLowerHex 16 spanId
            && not (isZero traceId)
            && not (isZero spanId)
        then
            Some {
                TraceId = traceId
                SpanId = spanId
                Sampled = sampled
                State = state
            }
        else
            None

    let private ofTraceparent (value: string) (state: string) : TraceContext option =
        match value.Trim().Split '-' with
        // Version ff is none; later versions may say more after the flags.
        | [| version; traceId; spanId; flags |] when
            isLowerHex 2 version && version <> "ff" && isLowerHex 2 flags
            ->
            create traceId spanId (Some(Convert.ToInt32(flags, 16) &&& 1 = 1)) state
        | parts when
            parts.Length > 4
            && isLowerHex 2 parts[0]
            && parts[0] <> "00"
            && parts[0] <> "ff"
            && isLowerHex 2 parts[3]
            ->
            create parts[1] parts[2] (Some(Convert.ToInt32(parts[3], 16) &&& 1 = 1)) state
        | _ -> None

    // B3 knows ids of half the length.
    let private ofB3 (traceId: string) (spanId: string) sampled =
        create
            (traceId.Trim().ToLowerInvariant().PadLeft(32, '0'))
            (spanId.Trim().ToLowerInvariant())
            sampled
            ""

    let private b3Sampled (text: string option) =
        match text |> Option.map _.Trim().ToLowerInvariant() with
        | Some("1" | "d" | "true") -> Some true
        | Some("0" | "false") -> Some false
        | _ -> None

    let private ofB3Field (value: string) : TraceContext option =
        match value.Trim().Split '-' with
        | [| traceId; spanId |] -> ofB3 traceId spanId None
        | parts when parts.Length = 3 || parts.Length = 4 ->
            ofB3 parts[0] parts[1] (b3Sampled (Some parts[2]))
        | _ -> None

    let private read (form: TraceForm) (lines: HeaderLine[]) : TraceContext option =
        match form with
        | TraceForm.W3C ->
            let state =
                lines
                |> Array.choose (fun (struct (name, value)) ->
                    if isNamed "tracestate" name then Some value else None)
                |> String.concat ","

            tryLine "traceparent" lines
            |> Option.bind (fun value -> ofTraceparent value state)
        | TraceForm.B3Single -> tryLine "b3" lines |> Option.bind ofB3Field
        | TraceForm.B3Multi ->
            match tryLine "X-B3-TraceId" lines, tryLine "X-B3-SpanId" lines with
            | Some traceId, Some spanId ->
                let sampled =
                    if tryLine "X-B3-Flags" lines = Some "1" then
                        Some true
                    else
                        b3Sampled (tryLine "X-B3-Sampled" lines)

                ofB3 traceId spanId sampled
            | _ -> None

    /// What the first of these forms that says something says, and all of them that do.
    let extract
        (forms: TraceForm list)
        (lines: HeaderLine[])
        : struct (TraceContext voption * TraceForm list) =
        let found =
            forms
            |> List.choose (fun form -> read form lines |> Option.map (fun context -> form, context))

        match found with
        | [] -> struct (ValueNone, [])
        | (_, first) :: _ -> struct (ValueSome first, List.map fst found)

    /// The fields that say it in this form.
    let render (form: TraceForm) (context: TraceContext) : HeaderLine list =
        let isSampled = context.Sampled = Some true

        match form with
        | TraceForm.W3C -> [
            let flags = if isSampled then "01" else "00"
            struct ("traceparent", $"00-{context.TraceId}-{context.SpanId}-{flags}")

            if context.State <> "" then
                struct ("tracestate", context.State)
          ]
        | TraceForm.B3Single -> [
            let sampled = if isSampled then "1" else "0"
            struct ("b3", $"{context.TraceId}-{context.SpanId}-{sampled}")
          ]
        | TraceForm.B3Multi -> [
            struct ("X-B3-TraceId", context.TraceId)
            struct ("X-B3-SpanId", context.SpanId)
            struct ("X-B3-Sampled", (if isSampled then "1" else "0"))
          ]

    /// Whether a field says where in a trace its message was sent, in any form: two that differ must not be sent.
    let isField (name: string) : bool =
        isNamed "traceparent" name
        || isNamed "tracestate" name
        || isNamed "b3" name
        || name.StartsWith("X-B3-", StringComparison.OrdinalIgnoreCase)
