/// The field Retry-After (RFC 9110 section 10.2.3).
module K8sReq.Core.RetryAfter

open System
open System.Globalization

// The form that is sent today, and the two older ones that are to be understood (RFC 9110 section 5.6.7).
let private dates = [| "r"; "dddd, dd-MMM-yy HH:mm:ss 'GMT'"; "ddd MMM d HH:mm:ss yyyy" |]

/// How long to wait from `now` on; negative if that time is over. The value is a number of seconds or a date.
let tryParse (now: DateTimeOffset) (value: string) : TimeSpan voption =
    let mutable seconds = 0
    let mutable date = DateTimeOffset.MinValue

    if Int32.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, &seconds) then
        ValueSome(TimeSpan.FromSeconds(float seconds))
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
