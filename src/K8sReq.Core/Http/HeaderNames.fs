namespace K8sReq.Core

open System
open System.Text

/// The names of headers that most requests have, as strings that are made once.
module HeaderNames =
    // As most clients spell them; HTTP/2's spelling, small letters, is known of each beside it.
    let private wellKnown = [
        "Accept"
        "Accept-Charset"
        "Accept-Encoding"
        "Accept-Language"
        "Authorization"
        "Baggage"
        "Cache-Control"
        "Connection"
        "Content-Encoding"
        "Content-Length"
        "Content-Type"
        "Cookie"
        "Date"
        "Forwarded"
        "From"
        "Host"
        "If-None-Match"
        "Origin"
        "Pragma"
        "Referer"
        "Stripe-Signature"
        "Traceparent"
        "Tracestate"
        "User-Agent"
        "Via"
        "Webhook-Id"
        "Webhook-Signature"
        "Webhook-Timestamp"
        "X-Correlation-Id"
        "X-Event-Key"
        "X-Forwarded-For"
        "X-Forwarded-Host"
        "X-Forwarded-Port"
        "X-Forwarded-Proto"
        "X-GitHub-Delivery"
        "X-GitHub-Event"
        "X-GitHub-Hook-ID"
        "X-GitHub-Hook-Installation-Target-ID"
        "X-GitHub-Hook-Installation-Target-Type"
        "X-Gitlab-Event"
        "X-Gitlab-Token"
        "X-Hub-Signature"
        "X-Hub-Signature-256"
        "X-Original-Forwarded-For"
        "X-Real-IP"
        "X-Request-ID"
        "X-Scheme"
        "X-Slack-Request-Timestamp"
        "X-Slack-Signature"
    ]

    // A power of two, several times as many as there are names.
    let private slots = 512

    let private slotOf (length: int) (first: int) (middle: int) (last: int) =
        (length * 31 + first * 7 + middle * 3 + last * 17) &&& (slots - 1)

    // A name stands in its slot or in those that follow it, with no empty one between.
    let private table: (string | null)[] =
        let table = Array.create<string | null> slots null

        for name in wellKnown @ (wellKnown |> List.map (fun name -> name.ToLowerInvariant())) do
            let mutable slot =
                slotOf name.Length (int name[0]) (int name[name.Length / 2]) (int name[name.Length - 1])

            while not (isNull table[slot]) do
                slot <- (slot + 1) &&& (slots - 1)

            table[slot] <- name

        table

    /// The name that these bytes spell, which are ASCII and not none.
    let ofBytes (name: ReadOnlySpan<byte>) : string =
        let mutable slot =
            slotOf name.Length (int name[0]) (int name[name.Length / 2]) (int name[name.Length - 1])

        let mutable found: string | null = null
        let mutable isOver = false

        while not isOver do
            match table[slot] with
            | null -> isOver <- true
            | known when Ascii.Equals(name, known.AsSpan()) ->
                found <- known
                isOver <- true
            | _ -> slot <- (slot + 1) &&& (slots - 1)

        match found with
        | null -> Encoding.Latin1.GetString name
        | known -> known
