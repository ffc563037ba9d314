namespace K8sReq.Core

open System
open System.Buffers

/// Where in a trace a message was sent.
type TraceContext = {
    /// 32 hexadecimal digits in lower case, not all of them 0.
    TraceId: string
    /// 16 of them.
    SpanId: string
    /// Whether the sender records its part; None if it leaves that to others.
    Sampled: bool option
    /// B3's wish for all that can be known of this trace. It implies `Sampled`; W3C cannot say it.
    IsDebug: bool
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

/// Looks a field up by its name, in whatever case: its value, those of several lines separated by commas; null if there
/// is none.
type FieldLookup = string -> string | null

module TraceContext =
    let private lowerHex = SearchValues.Create("0123456789abcdef".AsSpan())

    let private isNamed (expected: string) (name: string) =
        name.Equals(expected, StringComparison.OrdinalIgnoreCase)

    let private isLowerHex (text: ReadOnlySpan<char>) = text.IndexOfAnyExcept lowerHex < 0
    let private isZero (text: ReadOnlySpan<char>) = text.IndexOfAnyExcept '0' < 0

    let private isId (length: int) (text: string) =
        text.Length = length
        && isLowerHex (text.AsSpan())
        && not (isZero (text.AsSpan()))

    let private create traceId spanId sampled isDebug state : TraceContext voption =
        if isId 32 traceId && isId 16 spanId then
            ValueSome {
                TraceId = traceId
                SpanId = spanId
                Sampled = sampled
                IsDebug = isDebug
                State = state
            }
        else
            ValueNone

    // Where the parts of a traceparent begin: version, trace id, span id, flags, and what later versions say more.
    let private traceIdAt = 3
    let private spanIdAt = 36
    let private flagsAt = 53
    let private end00 = 55

    // Every request that is in a trace comes through here: nothing is cut out of the text before it is known to be one.
    let private isTraceparent (text: ReadOnlySpan<char>) =
        text.Length >= end00
        && text[traceIdAt - 1] = '-'
        && text[spanIdAt - 1] = '-'
        && text[flagsAt - 1] = '-'
        && isLowerHex (text.Slice(0, 2))
        && isLowerHex (text.Slice(flagsAt, 2))
        // Version ff is none; later versions may say more after the flags.
        && not (text.StartsWith "ff")
        && (text.Length = end00 || (text[end00] = '-' && not (text.StartsWith "00")))

    let private ofTraceparent (find: FieldLookup) (value: string) : TraceContext voption =
        let value = value.Trim()

        if isTraceparent (value.AsSpan()) then
            let flags = Convert.ToInt32(value.Substring(flagsAt, 2), 16)

            create
                (value.Substring(traceIdAt, 32))
                (value.Substring(spanIdAt, 16))
                (Some(flags &&& 1 = 1))
                false
                (string (find "tracestate"))
        else
            ValueNone

    // B3 knows ids of half the length.
    let private ofB3 (traceId: string) (spanId: string) (sampling: string | null) =
        let sampled, isDebug =
            match sampling with
            | null -> None, false
            | text ->
                match text.Trim().ToLowerInvariant() with
                | "d" -> Some true, true
                | "1"
                | "true" -> Some true, false
                | "0"
                | "false" -> Some false, false
                | _ -> None, false

        create
            (traceId.Trim().ToLowerInvariant().PadLeft(32, '0'))
            (spanId.Trim().ToLowerInvariant())
            sampled
            isDebug
            ""

    let private ofB3Field (value: string) : TraceContext voption =
        match value.Trim().Split '-' with
        | [| traceId; spanId |] -> ofB3 traceId spanId null
        | parts when parts.Length = 3 || parts.Length = 4 -> ofB3 parts[0] parts[1] parts[2]
        | _ -> ValueNone

    let private read (form: TraceForm) (find: FieldLookup) : TraceContext voption =
        match form with
        | TraceForm.W3C ->
            match find "traceparent" with
            | null -> ValueNone
            | value -> ofTraceparent find value
        | TraceForm.B3Single ->
            match find "b3" with
            | null -> ValueNone
            | value -> ofB3Field value
        | TraceForm.B3Multi ->
            match find "X-B3-TraceId", find "X-B3-SpanId" with
            | NonNull traceId, NonNull spanId ->
                ofB3 traceId spanId (if find "X-B3-Flags" = "1" then "d" else find "X-B3-Sampled")
            | _ -> ValueNone

    /// What the first of these forms that says something says, and all of them that do. A form that says what is none
    /// counts for nothing.
    let rec extract
        (forms: TraceForm list)
        (find: FieldLookup)
        : struct (TraceContext voption * TraceForm list) =
        match forms with
        | [] -> struct (ValueNone, [])
        | form :: others ->
            let found = read form find
            let struct (later, laterForms) = extract others find

            match found with
            | ValueSome _ -> struct (found, form :: laterForms)
            | ValueNone -> struct (later, laterForms)

    /// The fields that say it in this form.
    let render (form: TraceForm) (context: TraceContext) : HeaderLine list =
        let isSampled = context.Sampled = Some true

        match form with
        | TraceForm.W3C -> [
            let flags = if isSampled then "-01" else "-00"
            struct ("traceparent", String.Concat("00-", context.TraceId, "-", context.SpanId + flags))

            if context.State <> "" then
                struct ("tracestate", context.State)
          ]
        | TraceForm.B3Single -> [
            let sampled =
                if context.IsDebug then "-d"
                elif isSampled then "-1"
                else "-0"

            struct ("b3", String.Concat(context.TraceId, "-", context.SpanId, sampled))
          ]
        | TraceForm.B3Multi -> [
            struct ("X-B3-TraceId", context.TraceId)
            struct ("X-B3-SpanId", context.SpanId)

            // The one implies the other, and says more.
            if context.IsDebug then
                struct ("X-B3-Flags", "1")
            else
                struct ("X-B3-Sampled", (if isSampled then "1" else "0"))
          ]

    /// Whether a field says in this form where in a trace its message was sent.
    let isFieldOf (form: TraceForm) (name: string) : bool =
        match form with
        | TraceForm.W3C -> isNamed "traceparent" name || isNamed "tracestate" name
        | TraceForm.B3Single -> isNamed "b3" name
        | TraceForm.B3Multi -> name.StartsWith("X-B3-", StringComparison.OrdinalIgnoreCase)
