/// `k8sreq dead`: asks a proxy that runs for its dead letters, and tells what it says.
module K8sReq.Host.Commands.Dead

open System
open System.IO
open System.Net.Http
open System.Text
open System.Text.Json
open System.Threading.Tasks
open K8sReq.Core

// Longer than the journal takes for any of it; a proxy that hangs is told of.
let private timeout = TimeSpan.FromMinutes 5.0

let private uriOf (command: DeadCommand) : string =
    let path, fields =
        match command.Action with
        | DeadAction.List -> "/api/dead", command.Fields
        | DeadAction.Show(id, headers, body) ->
            "/api/dead/" + Uri.EscapeDataString id,
            [
                if headers then
                    "headers", "true"
                // A table has no place for bytes: they come alone.
                if body then
                    "body", "true"
            ]
        | DeadAction.Replay -> "/api/dead/replay", command.Fields
        | DeadAction.Drop -> "/api/dead/drop", command.Fields

    let fields =
        fields
        @ [
            if command.IsAll then
                "all", "true"
            if command.IsDryRun then
                "dryRun", "true"
        ]

    let query =
        fields
        |> List.map (fun (name, value) -> name + "=" + Uri.EscapeDataString value)
        |> String.concat "&"

    command.Addr.TrimEnd '/' + path + (if query = "" then "" else "?" + query)

let private ask (command: DeadCommand) : Task<struct (int * string)> = task {
    use client = new HttpClient(Timeout = timeout)

    let method =
        match command.Action with
        | DeadAction.List
        | DeadAction.Show _ -> HttpMethod.Get
        | DeadAction.Replay
        | DeadAction.Drop -> HttpMethod.Post

    use request = new HttpRequestMessage(method, uriOf command)
    use! response = client.SendAsync request
    let! body = response.Content.ReadAsStringAsync()
    return struct (int response.StatusCode, body)
}

let private columns = [
    "ID", [ "id" ]
    "ENDED", [ "endedAt" ]
    "REQUESTCLONE", [ "clone" ]
    "OUTCOME", [ "outcome" ]
    "ATTEMPTS", [ "attempts" ]
    "BYTES", [ "bytes" ]
    "REQUEST", [ "method"; "host"; "target" ]
    "LAST ATTEMPT", [ "detail" ]
]

let private listLines (answer: JsonElement) : string list =
    let letters = [ for letter in answer.GetProperty("deadLetters").EnumerateArray() -> letter ]

    if letters.IsEmpty then
        [ "No dead letters." ]
    else
        TextTable.lines (List.map fst columns) [
            for letter in letters ->
                [
                    for _, names in columns ->
                        match List.map (fun name -> AnswerText.field name letter) names with
                        | [ method; host; target ] -> AnswerText.plain $"{method} {host}{target}"
                        | texts -> AnswerText.plain (String.concat " " texts)
                ]
        ]

let private showLines (letter: JsonElement) : string list = [
    for property in letter.EnumerateObject() do
        match property.Name with
        | "headers" ->
            ""

            for field in property.Value.EnumerateArray() do
                AnswerText.plain $"""{AnswerText.field "name" field}: {AnswerText.field "value" field}"""
        | "body"
        | "encoding" -> ()
        | name -> $"{name, -12}{AnswerText.plain (AnswerText.field name letter)}"
]

let private changeLine (answer: JsonElement) (name: string) (was: string) : string =
    let number (name: string) = answer.GetProperty(name).GetInt64()
    let isDryRun = answer.GetProperty("dryRun").GetBoolean()
    let verb = if isDryRun then "would be " + was else was
    let changed = number name

    let left =
        match number "left" with
        | 0L -> ""
        | left ->
            $" {left} more fit: their RequestClone is not routed, the journal has no room for them, or the limit was reached."

    let letters = if changed = 1L then "dead letter" else "dead letters"
    $"{changed} {letters} {verb}.{left}"

// The bytes as they came, and nothing else: to be put into a file or a pipe.
let private writeBody (output: TextWriter) (letter: JsonElement) : unit =
    match letter.TryGetProperty "body", AnswerText.field "encoding" letter with
    | (true, body), "base64" ->
        output.Flush()
        use raw = Console.OpenStandardOutput()
        raw.Write(ReadOnlySpan(Convert.FromBase64String(string (body.GetString()))))
    | (true, body), _ -> output.Write(body.GetString())
    | _ -> ()

let private tell (output: TextWriter) (command: DeadCommand) (body: string) : unit =
    if command.Output = OutputFormat.Json then
        output.WriteLine body
    else
        use document = JsonDocument.Parse body
        let answer = document.RootElement

        match command.Action with
        | DeadAction.List -> listLines answer |> List.iter output.WriteLine
        | DeadAction.Show(_, headers, hasBody) ->
            if not hasBody || headers then
                showLines answer |> List.iter output.WriteLine

            if hasBody then
                if headers then
                    output.WriteLine()

                writeBody output answer
        | DeadAction.Replay -> output.WriteLine(changeLine answer "replayed" "sent again")
        | DeadAction.Drop -> output.WriteLine(changeLine answer "dropped" "removed")

let private reasonOf (body: string) : string =
    try
        use document = JsonDocument.Parse body
        AnswerText.field "error" document.RootElement
    with :? JsonException ->
        body.Trim()

/// Does it, and returns the exit code: 0 done, 1 it could not be done, 2 it was not asked properly.
let run (output: TextWriter) (errors: TextWriter) (command: DeadCommand) : Task<int> = task {
    try
        match! ask command with
        | struct (200, body) ->
            tell output command body
            return 0
        | struct (status, body) ->
            errors.WriteLine $"k8sreq: {reasonOf body}"
            return if status = 400 then 2 else 1
    with
    | :? HttpRequestException
    | :? TaskCanceledException
    | :? JsonException as error ->
        errors.WriteLine(AnswerText.unreachable command.Addr error)

        return 1
}
