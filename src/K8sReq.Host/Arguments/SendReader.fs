/// `k8sreq send`
module K8sReq.Host.Arguments.SendReader

open System.CommandLine
open K8sReq.Core

let private host =
    Argument<string>("HOST", Description = "Host header of the request: the host of a RequestClone.")

let private addr =
    Flag.address "--addr" "Address of the proxy, HTTP_ADDR (default: http://127.0.0.1:8080)."

let private isToken (text: string) =
    text <> ""
    && text
       |> Seq.forall (fun letter -> letter > ' ' && letter < '\127' && letter <> ':')

let private method =
    Flag<string>(
        "--method",
        "METHOD",
        "the name of a method, such as PUT",
        "Method of the request (default: POST).",
        fun text -> if isToken text then Some text else None
    )

let private path =
    Flag<string>(
        "--path",
        "PATH",
        "a path that begins with /, with or without a query",
        "Path and query of the request (default: /).",
        fun text -> if text.StartsWith '/' then Some text else None
    )

let private data = Flag.text "--data" "TEXT" "a text" "Body of the request."

let private file =
    Flag.text "--file" "FILE" "a file" "File to send as the body, byte for byte; - for standard input."

// "Name: value", as it is written in a request.
let private tryHeader (text: string) : (string * string) option =
    match text.IndexOf ':' with
    | -1
    | 0 -> None
    | colon ->
        let name = text.Substring(0, colon)
        let value = text.Substring(colon + 1).Trim()

        if
            isToken name
            && value |> Seq.forall (fun letter -> letter >= ' ' && letter <> '\127')
        then
            Some(name, value)
        else
            None

let private headers =
    ListFlag<string * string>(
        "--header",
        [| "-H" |],
        "NAME: VALUE",
        "a header as NAME: VALUE",
        "Header of the request. May come several times.",
        tryHeader
    )

let private sign =
    Flag.choice
        "--sign"
        "PROVIDER"
        "Sign the request with --secret-file, as this provider does"
        WebhookSignature.names

let private secretFile =
    Flag.text
        "--secret-file"
        "FILE"
        "a file"
        "File with the secret to sign with; a newline at its end is left out."

let private read (result: ParseResult) : Result<Command, string list> =
    let data, file = Flag.tryGet data result, Flag.tryGet file result
    let sign, secretFile = Flag.tryGet sign result, Flag.tryGet secretFile result

    let problems = [
        if data.IsSome && file.IsSome then
            "--data and --file exclude each other"

        match sign, secretFile with
        | Some _, None -> "--sign needs --secret-file"
        | None, Some _ -> "--secret-file needs --sign"
        | Some _, Some _
        | None, None -> ()
    ]

    if List.isEmpty problems then
        Ok(
            Command.Send {
                Host = result.GetRequiredValue host
                Addr = Flag.orElse "http://127.0.0.1:8080" addr result
                Method = Flag.orElse "POST" method result
                Target = Flag.orElse "/" path result
                Headers = Flag.orElse [] headers result
                Body =
                    match data, file with
                    | _, Some file -> SendBody.File file
                    | Some data, None -> SendBody.Text data
                    | None, None -> SendBody.Text ""
                Sign = Option.map2 (fun provider file -> provider, file) sign secretFile
            }
        )
    else
        Error problems

let reader: CommandReader =
    CommandReader.create
        "send"
        "Send a request to a proxy, and print its response."
        [ host; addr; method; path; data; file; headers; sign; secretFile ]
        [
            "send webhooks.example --data '{\"event\":\"ping\"}'"
            "send webhooks.example --path '/hooks?source=ci' -H 'X-Event: push'"
            "send webhooks.example --file push.json --sign github --secret-file key"
        ]
        read
