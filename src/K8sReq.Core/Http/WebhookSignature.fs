namespace K8sReq.Core

open System
open System.Security.Cryptography
open System.Text

/// Senders of webhooks whose way of signing is known.
[<RequireQualifiedAccess>]
type WebhookProvider =
    | GitHub
    | Stripe
    | Slack
    /// The Standard Webhooks specification.
    | StandardWebhooks

/// The headers by which a receiver knows that a webhook comes from who shares its secret. Each is an HMAC with SHA-256 over the
/// body, of all but GitHub with a time.
module WebhookSignature =
    let names = [
        "github", WebhookProvider.GitHub
        "stripe", WebhookProvider.Stripe
        "slack", WebhookProvider.Slack
        "standard-webhooks", WebhookProvider.StandardWebhooks
    ]

    let tryParse (name: string) : WebhookProvider option =
        names |> List.tryFind (fun (known, _) -> known = name) |> Option.map snd

    let private utf8 (text: string) = Encoding.UTF8.GetBytes text

    let private hmac (key: byte[]) (prefix: string) (body: byte[]) : byte[] =
        HMACSHA256.HashData(key, Array.append (utf8 prefix) body)

    let private hex (key: byte[]) (prefix: string) (body: byte[]) : string =
        Convert.ToHexStringLower(hmac key prefix body)

    let private standardPrefix = "whsec_"

    // Base64, with `whsec_` before it or without.
    let private standardKey (secret: string) : Result<byte[], string> =
        let text =
            if secret.StartsWith(standardPrefix, StringComparison.Ordinal) then
                secret.Substring standardPrefix.Length
            else
                secret

        try
            Ok(Convert.FromBase64String text)
        with :? FormatException ->
            Error "a Standard Webhooks secret is base64, with or without whsec_ before it"

    /// The headers, for a body that is sent now; `id` is the message's. Fails if the secret is none of that provider's.
    let headers
        (provider: WebhookProvider)
        (secret: string)
        (now: DateTimeOffset)
        (id: string)
        (body: byte[])
        : Result<(string * string) list, string> =
        let time = string<int64>(now.ToUnixTimeSeconds())

        match provider with
        | WebhookProvider.GitHub ->
            Ok [
                "X-GitHub-Delivery", id
                "X-Hub-Signature-256", "sha256=" + hex (utf8 secret) "" body
            ]
        | WebhookProvider.Stripe ->
            Ok [ "Stripe-Signature", $"""t={time},v1={hex (utf8 secret) (time + ".") body}""" ]
        | WebhookProvider.Slack ->
            Ok [
                "X-Slack-Request-Timestamp", time
                "X-Slack-Signature", "v0=" + hex (utf8 secret) $"v0:{time}:" body
            ]
        | WebhookProvider.StandardWebhooks ->
            standardKey secret
            |> Result.map (fun key -> [
                "webhook-id", id
                "webhook-timestamp", time
                "webhook-signature", "v1," + Convert.ToBase64String(hmac key $"{id}.{time}." body)
            ])
