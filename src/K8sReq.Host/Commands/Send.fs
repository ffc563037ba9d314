/// `k8sreq send`: one request to a proxy, signed as a provider of webhooks would.
module K8sReq.Host.Commands.Send

open System
open System.IO
open System.Net.Http
open System.Net.Http.Headers
open System.Threading.Tasks
open FsToolkit.ErrorHandling
open K8sReq.Core

// Longer than a proxy takes for a request.
let private timeout = TimeSpan.FromMinutes 2.0

let private readFile (path: string) : Result<byte[], string> =
    try
        Ok(File.ReadAllBytes path)
    with
    | :? IOException
    | :? UnauthorizedAccessException as error -> Error error.Message

let private bodyOf (input: unit -> Stream) (body: SendBody) : Result<byte[], string> =
    match body with
    | SendBody.Text text -> Ok(Text.Encoding.UTF8.GetBytes text)
    | SendBody.File "-" ->
        use stream = input ()
        use all = new MemoryStream()
        stream.CopyTo all
        Ok(all.ToArray())
    | SendBody.File path -> readFile path

// Editors end a file with a newline; a secret has none.
let private secretOf (path: string) : Result<string, string> =
    readFile path
    |> Result.map (fun bytes -> Text.Encoding.UTF8.GetString(bytes).TrimEnd('\r', '\n'))

let private signatureOf (clock: TimeProvider) (command: SendCommand) (body: byte[]) =
    match command.Sign with
    | None -> Ok []
    | Some(provider, file) -> result {
        let! secret = secretOf file
        let id = string<Guid>(Guid.CreateVersion7(clock.GetUtcNow()))
        return! WebhookSignature.headers provider secret (clock.GetUtcNow()) id body
      }

let private requestOf (command: SendCommand) (headers: (string * string) list) (body: byte[]) =
    // The path goes as it is written: nothing is escaped twice or put in order.
    let mutable options =
        UriCreationOptions(DangerousDisablePathAndQueryCanonicalization = true)

    let uri = Uri(command.Addr.TrimEnd '/' + command.Target, &options)

    let request = new HttpRequestMessage(HttpMethod command.Method, (uri: Uri))
    request.Headers.Host <- command.Host

    if body.Length > 0 then
        request.Content <- new ByteArrayContent(body)

    for name, value in headers do
        if not (request.Headers.TryAddWithoutValidation(name, value)) then
            match request.Content with
            | null -> request.Content <- new ByteArrayContent(body)
            | _ -> ()

            (request.Content |> Unchecked.nonNull).Headers.TryAddWithoutValidation(name, value)
            |> ignore

    request

let private hasType (headers: (string * string) list) =
    headers
    |> List.exists (fun (name, _) -> name.Equals("Content-Type", StringComparison.OrdinalIgnoreCase))

// What a body without a type most likely is.
let private typeOf (body: byte[]) : (string * string) list =
    match Text.Encoding.UTF8.GetString(body).TrimStart() with
    | text when text.StartsWith '{' || text.StartsWith '[' -> [ "Content-Type", "application/json" ]
    | _ -> []

let private print (output: TextWriter) (response: HttpResponseMessage) : Task = task {
    output.WriteLine $"HTTP/{response.Version} {int response.StatusCode} {response.ReasonPhrase}"

    let write (headers: HttpHeaders) =
        for header in headers do
            for value in header.Value do
                output.WriteLine $"{header.Key}: {value}"

    write response.Headers
    write response.Content.Headers
    let! body = response.Content.ReadAsStringAsync()

    if body <> "" then
        output.WriteLine()
        output.WriteLine(body.TrimEnd '\n')
}

/// Sends it, and returns the exit code: 0 if the response is 2xx, 1 if it is another one or none came, 2 if something that is to be
/// sent cannot be read.
let run
    (clock: TimeProvider)
    (input: unit -> Stream)
    (output: TextWriter)
    (errors: TextWriter)
    (command: SendCommand)
    : Task<int> = task {
    let prepared = result {
        let! body = bodyOf input command.Body
        let! signature = signatureOf clock command body

        let contentType = if hasType command.Headers then [] else typeOf body

        return requestOf command (contentType @ command.Headers @ signature) body
    }

    match prepared with
    | Error reason ->
        errors.WriteLine $"k8sreq: {reason}"
        return 2
    | Ok request ->
        use request = request
        // Straight to the proxy, whatever HTTP_PROXY says.
        use handler = new SocketsHttpHandler(UseProxy = false, AllowAutoRedirect = false)
        use client = new HttpClient(handler, Timeout = timeout)

        try
            use! response = client.SendAsync request
            do! print output response
            return if response.IsSuccessStatusCode then 0 else 1
        with
        | :? HttpRequestException
        | :? TaskCanceledException as error ->
            errors.WriteLine
                $"k8sreq: no response from {command.Addr}: {error.GetBaseException().Message}. --addr is the address of the proxy (HTTP_ADDR)"

            return 1
}
