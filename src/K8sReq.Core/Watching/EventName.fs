/// The names of events.
module K8sReq.Core.EventName

open System

// What the API server takes as a name: a DNS subdomain (RFC 1123) of at most this many characters.
let private longest = 253

/// The name of an event about the object of this name: the object's name and the time, in hexadecimal, as other
/// controllers name theirs. The API server refuses a `generateName` that ends with a dot, so the name is made whole here.
let create (objectName: string) (at: DateTimeOffset) : string =
    let suffix = at.UtcTicks.ToString "x"
    let most = longest - suffix.Length - 1

    let kept =
        if objectName.Length <= most then
            objectName
        else
            // A label must not end where the name is cut: no dot and no hyphen may stand before the next dot.
            objectName.Substring(0, most).TrimEnd('.', '-')

    $"{kept}.{suffix}"
