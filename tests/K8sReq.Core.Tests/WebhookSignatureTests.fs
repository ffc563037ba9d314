/// Against the examples that the providers publish, so that receivers take what is signed here.
module K8sReq.Core.Tests.WebhookSignatureTests

open System
open System.Text
open Expecto
open K8sReq.Core

let private signed provider secret (seconds: int64) id (body: string) =
    WebhookSignature.headers
        provider
        secret
        (DateTimeOffset.FromUnixTimeSeconds seconds)
        id
        (Encoding.UTF8.GetBytes body)

let private header name (headers: Result<(string * string) list, string>) =
    match headers with
    | Ok headers -> headers |> List.find (fun (known, _) -> known = name) |> snd
    | Error reason -> failtest reason

let tests =
    testList "WebhookSignature" [
        test "as GitHub's documentation has it" {
            let headers =
                signed WebhookProvider.GitHub "It's a Secret to Everybody" 0L "1" "Hello, World!"

            Expect.equal
                (header "X-Hub-Signature-256" headers)
                "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
                "the example"
        }

        test "as Slack's documentation has it" {
            let body =
                "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"

            let headers =
                signed WebhookProvider.Slack "8f742231b10e8888abcd99yyyzzz85a5" 1531420618L "1" body

            Expect.equal
                (header "X-Slack-Signature" headers)
                "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
                "the example"

            Expect.equal (header "X-Slack-Request-Timestamp" headers) "1531420618" "its time"
        }

        test "as the specification of Standard Webhooks has it" {
            let headers =
                signed
                    WebhookProvider.StandardWebhooks
                    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
                    1614265330L
                    "msg_p5jXN8AQM9LWM0D4loKWxJek"
                    "{\"test\": 2432232314}"

            Expect.equal
                (header "webhook-signature" headers)
                "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
                "the example"

            Expect.isError
                (signed WebhookProvider.StandardWebhooks "no base64!" 0L "1" "")
                "a secret that is none"
        }

        test "Stripe's has the time that is signed" {
            let headers = signed WebhookProvider.Stripe "whsec_x" 1492774577L "1" "{}"
            let value = header "Stripe-Signature" headers
            Expect.stringStarts value "t=1492774577,v1=" "its parts"
            let later = signed WebhookProvider.Stripe "whsec_x" 1492774578L "1" "{}"

            Expect.notEqual
                (value.Split("v1=")[1])
                ((header "Stripe-Signature" later).Split("v1=")[1])
                "another time"
        }
    ]
