namespace K8sReq.Proxy

open System
open Microsoft.Extensions.Logging

/// So many things: "1 copy", "2 copies" in a message, and the number alone where a log has fields.
[<Struct>]
type Quantity = {
    Count: int64
    /// In the singular; the plural adds an s, or changes a y.
    Noun: string
} with

    override quantity.ToString() =
        let noun = quantity.Noun

        let named =
            if quantity.Count = 1L then
                noun
            elif noun.EndsWith 'y' then
                noun.Substring(0, noun.Length - 1) + "ies"
            elif noun.EndsWith 's' then
                noun + "es"
            else
                noun + "s"

        $"{quantity.Count} {named}"

module Quantity =
    let create (noun: string) (count: int64) : Quantity = { Count = count; Noun = noun }

/// What log messages are made with. Each is defined once, with the name and the number of its event.
module LogMessage =
    // What comes from outside, be it an exception's words, a manifest or the API server's answer, is part of a line and never
    // a line of its own: controls, line separators among them, are spaces.
    let private isControl (character: char) =
        Char.IsControl character || character = '\u2028' || character = '\u2029'

    /// The value without line breaks and other control characters, if it is a text.
    let plain (value: 'T) : 'T =
        match box value with
        | :? string as text when text |> Seq.exists isControl ->
            unbox<'T>(
                text
                |> String.map (fun character -> if isControl character then ' ' else character)
            )
        | _ -> value

    /// A message with one value.
    let message1<'A> (level: LogLevel) (id: EventId) (text: string) : ILogger -> 'A -> unit =
        let define = LoggerMessage.Define<'A>(level, id, text)
        fun (logger: ILogger) (a: 'A) -> define.Invoke(logger, plain a, null)

    /// A message with two values.
    let message2<'A, 'B> (level: LogLevel) (id: EventId) (text: string) : ILogger -> 'A -> 'B -> unit =
        let define = LoggerMessage.Define<'A, 'B>(level, id, text)
        fun (logger: ILogger) (a: 'A) (b: 'B) -> define.Invoke(logger, plain a, plain b, null)

    /// A message with three values.
    let message3<'A, 'B, 'C>
        (level: LogLevel)
        (id: EventId)
        (text: string)
        : ILogger -> 'A -> 'B -> 'C -> unit =
        let define = LoggerMessage.Define<'A, 'B, 'C>(level, id, text)

        fun (logger: ILogger) (a: 'A) (b: 'B) (c: 'C) ->
            define.Invoke(logger, plain a, plain b, plain c, null)
