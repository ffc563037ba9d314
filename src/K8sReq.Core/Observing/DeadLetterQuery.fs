namespace K8sReq.Core

open System
open System.Globalization
open FsToolkit.ErrorHandling

/// The fields that say which dead letters are meant, in query strings and, with two dashes, on the command line.
module DeadLetterQuery =
    /// One field that is not understood, in words.
    type Fault = string

    let private field
        (read: string -> string option)
        (name: string)
        (accepted: string)
        (tryParse: string -> 'T option)
        : Result<'T option, Fault> =
        match read name with
        | None -> Ok None
        | Some given ->
            match tryParse given with
            | Some value -> Ok(Some value)
            | None -> Error $"{name} is \"{given}\", but must be {accepted}"

    // A time, or how long ago it was.
    let private tryTime (now: DateTimeOffset) (text: string) : DateTimeOffset option =
        match GoDuration.tryParse text with
        | Some ago ->
            if ago < now - DateTimeOffset.MinValue then
                Some(now - ago)
            else
                None
        | None ->
            match
                DateTimeOffset.TryParseExact(
                    text,
                    [| "yyyy-MM-ddTHH:mm:ssK"; "yyyy-MM-ddTHH:mm:ss.FFFFFFFK" |],
                    CultureInfo.InvariantCulture,
                    DateTimeStyles.AssumeUniversal
                )
            with
            | true, time -> Some time
            | false, _ -> None

    let private tryLimit (text: string) : int option =
        match Int32.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture) with
        | true, limit when limit >= 1 -> Some limit
        | _ -> None

    let private timeAccepted =
        "a time such as 2026-01-31T12:00:00Z, or how long ago it was, such as 2h"

    let private causeAccepted =
        DeadCause.all |> List.map DeadCause.name |> String.concat ", "

    /// The query string that means the same dead letters, whenever it is read, without its question mark and without the limit.
    let toQueryString (filter: DeadLetterFilter) : string =
        let time (time: DateTimeOffset) =
            time.UtcDateTime.ToString("yyyy-MM-ddTHH:mm:ss.fffffffZ", CultureInfo.InvariantCulture)

        [
            "id", filter.Id |> Option.map string
            "clone", filter.Clone |> Option.map string
            "outcome", filter.Cause |> Option.map DeadCause.name
            "since", filter.Since |> Option.map time
            "until", filter.Until |> Option.map time
        ]
        |> List.choose (fun (name, value) ->
            value |> Option.map (fun value -> name + "=" + Uri.EscapeDataString value))
        |> String.concat "&"

    /// From the fields `id`, `clone`, `outcome`, `since`, `until` and `limit`, each by its name, or everything that is wrong with
    /// them: what is removed by a filter is gone, so nothing of it may be misunderstood. Without a limit it is `byDefault`.
    let ofFields
        (now: DateTimeOffset)
        (byDefault: int)
        (read: string -> string option)
        : Validation<DeadLetterFilter, Fault> = validation {
        let! id = field read "id" "as \"1234-0\"" CopyId.tryParse
        and! clone = field read "clone" "NAMESPACE/NAME" ObjectKey.tryParse
        and! cause = field read "outcome" $"one of {causeAccepted}" DeadCause.tryParse
        and! since = field read "since" timeAccepted (tryTime now)
        and! until = field read "until" timeAccepted (tryTime now)
        and! limit = field read "limit" "a number from 1" tryLimit

        return {
            Id = id
            Clone = clone
            Cause = cause
            Since = since
            Until = until
            Limit = defaultArg limit byDefault
        }
    }
