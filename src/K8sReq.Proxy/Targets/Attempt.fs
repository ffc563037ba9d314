namespace K8sReq.Proxy

open System
open K8sReq.Core

/// How long a send may take: `Write` from the start of connecting to the last byte sent, `Read` from there to the
/// head of the answer. A target may have a limit for both together besides (`DeliveryPolicy.AttemptTimeout`).
type SendTimeouts = { Write: TimeSpan; Read: TimeSpan }

/// One send of a request over a connection.
[<Sealed>]
type Attempt(request: CapturedRequest, endsBy: TimeSpan) =
    inherit Sending()

    member _.Request = request

    /// On the connections' clock; `TimeSpan.MaxValue` without a limit of its own.
    member _.EndsBy = endsBy
