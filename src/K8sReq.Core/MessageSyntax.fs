namespace K8sReq.Core

open System
open System.Buffers

/// Which texts may stand where in the head of an HTTP/1.1 message.
module MessageSyntax =
    let private tokenCharacters =
        SearchValues.Create(
            "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ".AsSpan()
        )

    /// A token (RFC 9110 section 5.6.2): a method, a field's name, a pseudonym in a Via field.
    let isToken (text: string) : bool =
        text.Length > 0 && text.AsSpan().IndexOfAnyExcept tokenCharacters < 0

    /// A field's name, or one of HTTP/2's pseudo-header fields, which no copy carries.
    let isFieldName (name: string) : bool =
        isToken name || (name.StartsWith ':' && isToken (name.Substring 1))

    /// What can be a request target: no space and no control, which would end it, and ASCII alone.
    let isTarget (target: string) : bool =
        target.Length > 0 && target.AsSpan().IndexOfAnyExceptInRange('!', '~') < 0

    /// What can stand in a Host field, which may be empty; whether it is a host, routing finds out.
    let isHost (host: string) : bool = host = "" || isTarget host
