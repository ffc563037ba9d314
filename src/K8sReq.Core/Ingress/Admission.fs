namespace K8sReq.Core

open System

/// Which requests are taken, by their heads.
module Admission =
    let private isNamed (expected: string) (name: string) =
        name.Equals(expected, StringComparison.OrdinalIgnoreCase)

    let private hasBadName (lines: HeaderLine[]) =
        let mutable isBad = false

        for struct (name, _) in lines do
            isBad <- isBad || not (MessageSyntax.isToken name)

        isBad

    let private hasBadValue (lines: HeaderLine[]) =
        let mutable isBad = false

        for struct (_, value) in lines do
            isBad <- isBad || not (MessageSyntax.isFieldValue value)

        isBad

    // Two headers that say where a request ends (RFC 9112 section 6.3): where they differ, a server that goes by the other
    // one sees requests that nobody sent. Kestrel goes by Transfer-Encoding and renames the other one. And transfer
    // codings beside chunked: the copy is sent without the header that tells how to undo them.
    let private framing (head: RequestHead) =
        match RequestHead.valueOf "Transfer-Encoding" head with
        | null -> ValueNone
        | _ when head.IsHttp10 || not (isNull (RequestHead.valueOf "X-Content-Length" head)) ->
            ValueSome Refusal.AmbiguousLength
        | codings when isNamed "chunked" (codings.Trim()) -> ValueNone
        | _ -> ValueSome Refusal.UnknownTransferCoding

    /// What is no HTTP/1.1 or cannot be copied. Over HTTP/1.1 most of it gets no further than the server; over HTTP/2 the
    /// server passes on headers and targets that, written into an HTTP/1.1 head, mean something else or break it.
    let check (head: RequestHead) : Refusal voption =
        if
            not (MessageSyntax.isToken head.Method)
            || not (MessageSyntax.isTarget head.Target)
            || not (MessageSyntax.isHost head.Host)
            || hasBadName head.Lines
        then
            ValueSome Refusal.Malformed
        elif head.Method = "CONNECT" then
            ValueSome Refusal.Tunnel
        else
            framing head

    /// What must not be copied to the targets that the host has: a request that has passed this proxy (`viaName`) before,
    /// and header values that are none.
    let checkRouted (viaName: string) (head: RequestHead) : Refusal voption =
        match ForwardHeaders.tryFindOwnVia viaName head.Lines with
        | ValueSome entry -> ValueSome(Refusal.Loop entry)
        | ValueNone when hasBadValue head.Lines -> ValueSome Refusal.ControlInHeader
        | ValueNone -> ValueNone
