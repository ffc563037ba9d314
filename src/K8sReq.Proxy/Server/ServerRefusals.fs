namespace K8sReq.Proxy

open Microsoft.AspNetCore.Http
open Microsoft.Extensions.Logging

/// Told of a request that the server has refused by itself, with the status that it has answered and its reason.
type ServerRefused = int -> string -> unit

/// Exceptions of the server that a handler has caught and answers: the server logs them all the same.
module HandledRefusal =
    let private key = obj ()

    /// The handler's answer is the one that counts.
    let mark (error: BadHttpRequestException) : unit = error.Data[key] <- true

    let isMarked (error: BadHttpRequestException) : bool = error.Data.Contains key

// Kestrel quotes what it refuses: "Invalid request header: 'Authorization …'". What clients send is not logged.
module private RefusalReason =
    let withoutQuotes (message: string) =
        match message.IndexOf '\'' with
        | -1 -> message
        | quote -> message.Substring(0, quote).TrimEnd(' ', ':')

[<Sealed>]
type private RefusalLogger(inner: ILogger, refused: ServerRefused) =
    interface ILogger with
        member _.BeginScope state = inner.BeginScope state
        // The server asks before it logs: it must always do so.
        member _.IsEnabled _ = true

        member _.Log(level, id, state, error, formatter) =
            match error with
            | :? BadHttpRequestException as refusal when not (HandledRefusal.isMarked refusal) ->
                refused refusal.StatusCode (RefusalReason.withoutQuotes refusal.Message)
            | _ -> ()

            if inner.IsEnabled level then
                inner.Log(level, id, state, error, formatter)

/// Requests that never reach the pipeline: no HTTP, a head that is too large or too slow, no Host, and so on. Kestrel
/// answers them itself, without a body. The one place where it tells of all of them is its log, at debug.
module ServerRefusals =
    // Of Kestrel's documented log categories, that of refused requests.
    let private category = "Microsoft.AspNetCore.Server.Kestrel.BadRequests"

    /// Loggers for a server that tell of what it refuses, whatever level is logged.
    let observe (refused: ServerRefused) (loggers: ILoggerFactory) : ILoggerFactory = {
        new ILoggerFactory with
            member _.AddProvider provider = loggers.AddProvider provider

            member _.CreateLogger name =
                let inner = loggers.CreateLogger name

                if name = category then
                    RefusalLogger(inner, refused)
                else
                    inner

            // They are whose who made them.
            member _.Dispose() = ()
    }
