namespace K8sReq.TestKit

open System
open System.Collections.Concurrent
open System.Diagnostics
open System.IO
open System.Net.WebSockets
open System.Text
open System.Text.Json
open System.Text.RegularExpressions
open System.Threading
open System.Threading.Tasks

/// A headless Chromium with one page, driven by its own protocol.
[<Sealed>]
type Browser private (browser: Process, profile: TestFolder, socket: ClientWebSocket) =
    let answers = ConcurrentDictionary<int, TaskCompletionSource<JsonElement>>()
    let complaints = ConcurrentQueue<string>()
    let sending = new SemaphoreSlim(1)
    let mutable session = ""
    let mutable last = 0

    // What a page says in its console, and what goes wrong in it.
    let notice (message: JsonElement) =
        match string (message.GetProperty "method") with
        | "Runtime.exceptionThrown"
        | "Runtime.consoleAPICalled" -> complaints.Enqueue(string message)
        | "Log.entryAdded" ->
            let entry = message.GetProperty("params").GetProperty "entry"

            if string (entry.GetProperty "level") <> "verbose" then
                complaints.Enqueue(string entry)
        | "Page.javascriptDialogOpening" -> complaints.Enqueue(string message)
        | _ -> ()

    let read () = task {
        let buffer = Array.zeroCreate<byte> 65536
        use message = new MemoryStream()

        try
            while socket.State = WebSocketState.Open do
                let! received = socket.ReceiveAsync(ArraySegment buffer, CancellationToken.None)
                message.Write(buffer, 0, received.Count)

                if received.EndOfMessage then
                    let json = JsonDocument.Parse(message.ToArray().AsMemory()).RootElement
                    message.SetLength 0L

                    match json.TryGetProperty "id" with
                    | true, id ->
                        match answers.TryRemove(id.GetInt32()) with
                        | true, waiting -> waiting.TrySetResult json |> ignore
                        | false, _ -> ()
                    | false, _ -> notice json
        with :? WebSocketException ->
            ()
    }

    static let executable =
        [ "chromium"; "chromium-browser"; "google-chrome" ]
        |> List.tryPick (fun name ->
            (string (Environment.GetEnvironmentVariable "PATH")).Split(Path.PathSeparator)
            |> Array.map (fun folder -> Path.Combine(folder, name))
            |> Array.tryFind File.Exists)

    /// Whether this machine has one.
    static member IsInstalled = executable.IsSome

    /// Asks for something by the protocol's name for it; the parameters are JSON.
    member _.Call(method: string, parameters: string) : Task<JsonElement> = task {
        let id = Interlocked.Increment &last

        let waiting =
            TaskCompletionSource<JsonElement>(TaskCreationOptions.RunContinuationsAsynchronously)

        answers[id] <- waiting
        let inSession = if session = "" then "" else $",\"sessionId\":\"{session}\""

        let bytes =
            Encoding.UTF8.GetBytes
                $"{{\"id\":{id},\"method\":\"{method}\",\"params\":{parameters}{inSession}}}"

        do! sending.WaitAsync()

        try
            do! socket.SendAsync(ArraySegment bytes, WebSocketMessageType.Text, true, CancellationToken.None)
        finally
            sending.Release() |> ignore

        let! answer = waiting.Task |> Waiting.within $"the browser's answer to {method}"

        match answer.TryGetProperty "error" with
        | true, error -> return failwith $"{method}: {error}"
        | false, _ -> return answer.GetProperty "result"
    }

    static member Start() : Task<Browser> = task {
        let profile = new TestFolder()

        let info =
            ProcessStartInfo(
                defaultArg executable "chromium",
                [
                    "--headless"
                    "--no-sandbox"
                    "--disable-gpu"
                    "--disable-quic"
                    "--disable-dev-shm-usage"
                    "--no-first-run"
                    "--disable-background-networking"
                    "--disable-component-update"
                    "--disable-sync"
                    "--hide-scrollbars"
                    "--remote-debugging-port=0"
                    $"--user-data-dir={profile.Path}"
                    "about:blank"
                ],
                RedirectStandardError = true,
                // Else its processes would hold the tests' own output open.
                RedirectStandardOutput = true
            )

        let browser = new Process(StartInfo = info)
        let address = TaskCompletionSource<string>()

        browser.ErrorDataReceived.Add(fun line ->
            let found = Regex.Match(string line.Data, @"listening on (ws://\S+)")

            if found.Success then
                address.TrySetResult found.Groups[1].Value |> ignore)

        browser.Start() |> ignore
        browser.BeginErrorReadLine()
        browser.BeginOutputReadLine()

        let connect () = task {
            let! address = address.Task |> Waiting.within "the browser to start"
            let socket = new ClientWebSocket()
            do! socket.ConnectAsync(Uri address, CancellationToken.None)
            return socket
        }

        try
            let! socket = connect ()
            let started = new Browser(browser, profile, socket)
            do! started.Open()
            return started
        with error ->
            browser.Kill true
            return raise error
    }

    member private browser.Open() : Task = task {
        read () |> ignore
        let! target = browser.Call("Target.createTarget", """{"url":"about:blank"}""")
        let targetId = string (target.GetProperty "targetId")

        let! attached =
            browser.Call("Target.attachToTarget", $"{{\"targetId\":\"{targetId}\",\"flatten\":true}}")

        session <- string (attached.GetProperty "sessionId")

        for domain in [ "Page"; "Runtime"; "Log" ] do
            let! _ = browser.Call($"{domain}.enable", "{}")
            ()
    }

    /// Loads a page and waits until it is there.
    member browser.Go(url: string) : Task<unit> = task {
        let! _ = browser.Call("Page.navigate", $"{{\"url\":{JsonSerializer.Serialize url}}}")

        do!
            Waiting.until "the page to be loaded" (fun () -> task {
                let! state = browser.Evaluate $"document.readyState + ' ' + location.href"
                return state.StartsWith("complete ") && not (state.Contains "about:blank")
            })
    }

    /// The value of an expression of the page's language, as text.
    member browser.Evaluate(expression: string) : Task<string> = task {
        let! result =
            browser.Call(
                "Runtime.evaluate",
                $"{{\"expression\":{JsonSerializer.Serialize expression},\"returnByValue\":true,\"awaitPromise\":true}}"
            )

        match result.TryGetProperty "exceptionDetails" with
        | true, details -> return failwith $"{expression}: {details}"
        | false, _ ->
            match result.GetProperty("result").TryGetProperty "value" with
            | true, value -> return string value
            | false, _ -> return ""
    }

    /// Waits until an expression is true.
    member browser.Shows(what: string, expression: string) : Task<unit> =
        Waiting.until what (fun () -> task {
            let! value = browser.Evaluate $"String({expression})"
            return value = "true"
        })

    /// Presses a key such as `Tab`, `Enter` or `Escape`, or a letter.
    member browser.Press(key: string) : Task<unit> = task {
        let code, text =
            match key with
            | "Tab" -> 9, ""
            | "Enter" -> 13, "\r"
            | "Escape" -> 27, ""
            | " " -> 32, " "
            | letter -> int (Char.ToUpperInvariant letter[0]), letter

        let parameters kind =
            $"{{\"type\":\"{kind}\",\"key\":{JsonSerializer.Serialize key},\"windowsVirtualKeyCode\":{code},\"text\":{JsonSerializer.Serialize text}}}"

        let! _ = browser.Call("Input.dispatchKeyEvent", parameters "keyDown")
        let! _ = browser.Call("Input.dispatchKeyEvent", parameters "keyUp")
        ()
    }

    member browser.Type(text: string) : Task<unit> = task {
        for letter in text do
            do! browser.Press(string letter)
    }

    /// `light` or `dark`.
    member browser.Theme(name: string) : Task = task {
        let! _ =
            browser.Call(
                "Emulation.setEmulatedMedia",
                $"{{\"features\":[{{\"name\":\"prefers-color-scheme\",\"value\":\"{name}\"}}]}}"
            )

        ()
    }

    member browser.Size(width: int, height: int, isPhone: bool) : Task = task {
        let phone = if isPhone then "true" else "false"

        let! _ =
            browser.Call(
                "Emulation.setDeviceMetricsOverride",
                $"{{\"width\":{width},\"height\":{height},\"deviceScaleFactor\":1,\"mobile\":{phone}}}"
            )

        ()
    }

    /// A picture of what is to be seen, as PNG.
    member browser.Picture(path: string) : Task = task {
        let! picture = browser.Call("Page.captureScreenshot", """{"format":"png"}""")
        Path.GetDirectoryName path |> string |> Directory.CreateDirectory |> ignore
        do! File.WriteAllBytesAsync(path, picture.GetProperty("data").GetBytesFromBase64())
    }

    /// What the page has written to its console, and what went wrong in it.
    member _.Complaints = List.ofSeq complaints

    interface IDisposable with
        member _.Dispose() =
            socket.Dispose()

            if not browser.HasExited then
                browser.Kill true
                browser.WaitForExit()

            browser.Dispose()
            sending.Dispose()

            // Its children may write to the very end.
            try
                (profile :> IDisposable).Dispose()
            with :? IOException ->
                ()
