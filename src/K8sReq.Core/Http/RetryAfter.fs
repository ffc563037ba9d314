/// The field Retry-After (RFC 9110 section 10.2.3).
module K8sReq.Core.RetryAfter

open System
open System.Globalization

// The form of RFC 9110 section 5.6.7, its two older ones, and what real senders make of them: another name of the zone, no
// name of the day, ISO 8601. A zone that is not named is UTC.
let private dates = [|
    "r"
    "dddd, dd-MMM-yy HH:mm:ss 'GMT'"
    "ddd MMM d HH:mm:ss yyyy"
    "ddd, d MMM yyyy HH:mm:ss 'GMT'"
    "ddd, d MMM yyyy HH:mm:ss 'UTC'"
    "ddd, d MMM yyyy HH:mm:ss 'Z'"
    "ddd, d MMM yyyy HH:mm:ss zzz"
    "ddd, d MMM yyyy HH:mm:ss"
    "d MMM yyyy HH:mm:ss 'GMT'"
    "d MMM yyyy HH:mm:ss 'UTC'"
    "d MMM yyyy HH:mm:ss zzz"
    "yyyy-MM-dd'T'HH:mm:ssK"
    "yyyy-MM-dd'T'HH:mm:ss.FFFFFFFK"
    "yyyy-MM-dd HH:mm:ss 'UTC'"
|]

// Longer than anybody waits, and far from where times overflow.
let private longest = TimeSpan.FromDays 36500.0

// Digits, and digits after a point: a fraction is not in the RFC, and is sent all the same.
let private isNumber (value: string) =
    let whole, fraction =
        match value.IndexOf '.' with
        | -1 -> value, ""
        | point -> value.Substring(0, point), value.Substring(point + 1)

    let isDigits (text: string) = text |> Seq.forall Char.IsAsciiDigit

    whole <> "" && isDigits whole && isDigits fraction && not (value.EndsWith '.')

/// How long to wait from `now` on; negative if that time is over, and at most a hundred years. The value is a number of
/// seconds or a date.
let tryParse (now: DateTimeOffset) (value: string) : TimeSpan voption =
    let value = value.Trim()
    let mutable date = DateTimeOffset.MinValue

    if isNumber value then
        // Any number of digits is a number: one that is too large to be told from others is the longest time.
        let seconds = Double.Parse(value, CultureInfo.InvariantCulture)

        if seconds >= longest.TotalSeconds then
            ValueSome longest
        else
            ValueSome(TimeSpan.FromSeconds seconds)
    elif
        DateTimeOffset.TryParseExact(
            value,
            dates,
            CultureInfo.InvariantCulture,
            DateTimeStyles.AssumeUniversal ||| DateTimeStyles.AllowInnerWhite,
            &date
        )
    then
        ValueSome(date - now)
    else
        ValueNone
