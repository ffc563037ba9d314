namespace K8sReq.Host.Tests

open System
open System.Collections.Concurrent
open System.Collections.Generic
open System.IO
open System.Net
open System.Text
open System.Text.Json.Nodes
open System.Threading
open System.Threading.Channels
open System.Threading.Tasks
open Microsoft.AspNetCore.Builder
open Microsoft.AspNetCore.Hosting
open Microsoft.AspNetCore.Http
open Microsoft.Extensions.Logging

/// A request as the API server sees it.
type ApiRequest = {
    Method: string
    Path: string
    Query: Map<string, string>
    Plural: string
    Namespace: string option
    Name: string option
    Subresource: string option
    ContentType: string
    Body: string
} with

    member request.IsWatch = request.Query.TryFind "watch" = Some "true"

/// What the API server does instead of answering.
[<RequireQualifiedAccess>]
type ApiFault =
    /// A Status object with this code; Retry-After for 429.
    | Answer of code: int
    /// Nothing, until the server is stopped or the client goes.
    | Stall
    | Reset

/// Which namespaced kind a path leads to.
type private Resource = {
    Group: string
    Version: string
    Plural: string
    Kind: string
    HasStatus: bool
}

type private Stored = {
    Object: JsonObject
    Text: string
    Version: int64
}

type private Change = {
    Resource: string
    At: int64
    Kind: string
    Namespace: string
    Before: JsonObject option
    Object: JsonObject
    Text: string
}

module private Json =
    let parse (text: string) : JsonObject =
        match JsonNode.Parse text with
        | :? JsonObject as object -> object
        | _ -> failwith $"no object: {text}"

    let copy (object: JsonObject) : JsonObject = parse (object.ToJsonString())
    let same (one: JsonNode | null) (other: JsonNode | null) = JsonNode.DeepEquals(one, other)

    let clone (node: JsonNode | null) : JsonNode | null =
        match node with
        | null -> null
        | node -> node.DeepClone()

    /// What stands there; null if nothing does.
    let rec at (path: string list) (node: JsonNode | null) : JsonNode | null =
        match path, node with
        | name :: rest, (:? JsonObject as object) -> at rest (object[name])
        | [], node -> node
        | _ -> null

    let tryText (path: string list) (node: JsonNode | null) : string option =
        match at path node with
        | null -> None
        | found -> Some(string found)

    let text path node =
        tryText path node |> Option.defaultValue ""

    let inner (name: string) (object: JsonObject) : JsonObject =
        match object[name] with
        | :? JsonObject as found -> found
        | _ ->
            let created = JsonObject()
            object[name] <- created
            created

    /// RFC 7396.
    let rec merge (target: JsonObject) (patch: JsonObject) =
        for KeyValue(name, value) in List.ofSeq patch do
            match value with
            | null -> target.Remove name |> ignore
            | :? JsonObject as patch -> merge (inner name target) patch
            | value -> target[name] <- value.DeepClone()

    /// What a server-side apply does as far as it is needed: objects are merged, lists of conditions by their type.
    let rec apply (target: JsonObject) (configuration: JsonObject) =
        for KeyValue(name, value) in List.ofSeq configuration do
            match value, target[name] with
            | (:? JsonObject as inner), (:? JsonObject as existing) -> apply existing inner
            | (:? JsonArray as items), (:? JsonArray as existing) when name = "conditions" ->
                for item in items do
                    let isSameType other =
                        text [ "type" ] other = text [ "type" ] item

                    match existing |> Seq.tryFindIndex isSameType with
                    | Some index -> existing[index] <- clone item
                    | None -> existing.Add(clone item)
            | null, _ -> ()
            | value, _ -> target[name] <- value.DeepClone()

/// A label selector: equality, sets and existence.
module private LabelSelector =
    let private split (text: string) =
        let parts = ResizeArray()
        let mutable depth, start = 0, 0

        for index in 0 .. text.Length - 1 do
            match text[index] with
            | '(' -> depth <- depth + 1
            | ')' -> depth <- depth - 1
            | ',' when depth = 0 ->
                parts.Add(text.Substring(start, index - start))
                start <- index + 1
            | _ -> ()

        parts.Add(text.Substring start)
        [ for part in parts -> part.Trim() ] |> List.filter ((<>) "")

    let private labelsOf (object: JsonObject) : Map<string, string> =
        match Json.at [ "metadata"; "labels" ] object with
        | :? JsonObject as labels -> Map.ofSeq [ for KeyValue(key, value) in labels -> key, string value ]
        | _ -> Map.empty

    let private isMet (labels: Map<string, string>) (requirement: string) =
        let names (set: string) =
            set.Trim().TrimStart('(').TrimEnd(')').Split(',') |> Array.map _.Trim()

        match requirement with
        | _ when requirement.Contains " notin " ->
            let parts = requirement.Split " notin "

            match labels.TryFind(parts[0].Trim()) with
            | Some value -> not (Array.contains value (names parts[1]))
            | None -> true
        | _ when requirement.Contains " in " ->
            let parts = requirement.Split " in "

            labels.TryFind(parts[0].Trim())
            |> Option.exists (fun value -> Array.contains value (names parts[1]))
        | _ when requirement.Contains "!=" ->
            let parts = requirement.Split "!="
            labels.TryFind(parts[0].Trim()) <> Some(parts[1].Trim())
        | _ when requirement.Contains '=' ->
            let parts = requirement.Split '='
            labels.TryFind(parts[0].Trim()) = Some((Array.last parts).Trim())
        | _ when requirement.StartsWith '!' -> not (labels.ContainsKey(requirement.Substring 1))
        | _ -> labels.ContainsKey requirement

    let matches (selector: string) (object: JsonObject) =
        let labels = labelsOf object
        split selector |> List.forall (isMet labels)

/// Enough of a Kubernetes API server, over real HTTP on loopback, to be listed, watched, patched, and to fail in every
/// way that one does. Its store outlives its stops.
[<Sealed>]
type ApiServer() =
    let resources = [
        {
            Group = "proxy.infra.doodle.com"
            Version = "v1beta1"
            Plural = "requestclones"
            Kind = "RequestClone"
            HasStatus = true
        }
        {
            Group = ""
            Version = "v1"
            Plural = "services"
            Kind = "Service"
            HasStatus = false
        }
        {
            Group = "coordination.k8s.io"
            Version = "v1"
            Plural = "leases"
            Kind = "Lease"
            HasStatus = false
        }
        {
            Group = "events.k8s.io"
            Version = "v1"
            Plural = "events"
            Kind = "Event"
            HasStatus = false
        }
    ]

    let gate = obj ()
    let store = Dictionary<string, SortedDictionary<struct (string * string), Stored>>()

    do
        for resource in resources do
            store[resource.Plural] <- SortedDictionary()

    let history = ResizeArray<Change>()
    let mutable version = 1000L
    let mutable horizon = 0L
    let watches = ConcurrentDictionary<int, Change -> unit>()
    let bookmarks = ConcurrentDictionary<int, unit -> unit>()
    let raw = ConcurrentDictionary<int, string -> unit>()
    let mutable nextWatch = 0
    let pages = ConcurrentDictionary<string, struct (string[] * int64)>()
    let requests = ConcurrentQueue<ApiRequest * int>()
    let mutable fault: ApiRequest -> ApiFault option = fun _ -> None
    let mutable token: string option = None
    let mutable expiresInStream = false
    let mutable areWatchesSilent = false
    let mutable endWatches = new CancellationTokenSource()
    let mutable resetWatches = new CancellationTokenSource()
    let mutable app: WebApplication option = None
    let mutable port = 0

    let apiVersion (resource: Resource) =
        if resource.Group = "" then
            resource.Version
        else
            $"{resource.Group}/{resource.Version}"

    let record (resource: Resource) kind ns (before: JsonObject option) (object: JsonObject) =
        let change = {
            Resource = resource.Plural
            At = version
            Kind = kind
            Namespace = ns
            Before = before
            Object = object
            Text = object.ToJsonString()
        }

        history.Add change

        for watch in watches.Values do
            watch change

    let nextVersion () =
        version <- version + 1L
        version

    /// Creates, or replaces if there is one; a write that changes nothing is none.
    let write (resource: Resource) ns name (before: Stored option) (object: JsonObject) =
        let metadata = Json.inner "metadata" object
        metadata["namespace"] <- JsonValue.Create(ns: string)
        metadata["name"] <- JsonValue.Create(name: string)
        object["apiVersion"] <- JsonValue.Create(apiVersion resource)
        object["kind"] <- JsonValue.Create resource.Kind

        match before with
        | Some stored ->
            for field in [ "uid"; "creationTimestamp"; "resourceVersion"; "generation" ] do
                metadata[field] <- Json.clone (Json.at [ "metadata"; field ] stored.Object)
        | None ->
            metadata["uid"] <- JsonValue.Create(Guid.NewGuid().ToString())
            metadata["creationTimestamp"] <- JsonValue.Create(DateTime.UtcNow.ToString "yyyy-MM-ddTHH:mm:ssZ")
            metadata["generation"] <- JsonValue.Create 1L

        match before with
        | Some stored when Json.same stored.Object object -> stored
        | _ ->
            match before with
            | Some stored when not (Json.same (stored.Object["spec"]) (object["spec"])) ->
                metadata["generation"] <-
                    JsonValue.Create(int64 (Json.text [ "metadata"; "generation" ] stored.Object) + 1L)
            | _ -> ()

            let at = nextVersion ()
            metadata["resourceVersion"] <- JsonValue.Create(string at)

            let stored = {
                Object = object
                Text = object.ToJsonString()
                Version = at
            }

            store[resource.Plural][struct (ns, name)] <- stored

            record
                resource
                (if before.IsSome then "MODIFIED" else "ADDED")
                ns
                (before |> Option.map _.Object)
                object

            stored

    let find (resource: Resource) ns name =
        match store[resource.Plural].TryGetValue(struct (ns, name)) with
        | true, stored -> Some stored
        | false, _ -> None

    let remove (resource: Resource) ns name =
        match find resource ns name with
        | None -> None
        | Some stored ->
            store[resource.Plural].Remove(struct (ns, name)) |> ignore
            let object = Json.copy stored.Object
            (Json.inner "metadata" object)["resourceVersion"] <- JsonValue.Create(string (nextVersion ()))
            record resource "DELETED" ns (Some stored.Object) object
            Some stored

    let statusText (code: int) reason (message: string) =
        let status = JsonObject()
        status["kind"] <- JsonValue.Create "Status"
        status["apiVersion"] <- JsonValue.Create "v1"
        status["metadata"] <- JsonObject()
        status["status"] <- JsonValue.Create "Failure"
        status["message"] <- JsonValue.Create message
        status["reason"] <- JsonValue.Create(reason: string)
        status["code"] <- JsonValue.Create code
        status.ToJsonString()

    let reasonOf code =
        match code with
        | 400 -> "BadRequest"
        | 401 -> "Unauthorized"
        | 403 -> "Forbidden"
        | 404 -> "NotFound"
        | 409 -> "Conflict"
        | 410 -> "Expired"
        | 429 -> "TooManyRequests"
        | 504 -> "Timeout"
        | _ -> "InternalError"

    let answer (ctx: HttpContext) (code: int) (text: string) : Task = task {
        ctx.Response.StatusCode <- code
        ctx.Response.ContentType <- "application/json"
        do! ctx.Response.WriteAsync text
    }

    let refuse ctx code message : Task =
        answer ctx code (statusText code (reasonOf code) message)

    let objectsOf (resource: Resource) (ns: string option) selector =
        store[resource.Plural]
        |> Seq.filter (fun (KeyValue(struct (objectNs, _), stored)) ->
            (ns.IsNone || ns = Some objectNs)
            && LabelSelector.matches selector stored.Object)
        |> Seq.map (fun (KeyValue(_, stored)) -> stored)

    let list (resource: Resource) (request: ApiRequest) : Result<string, unit> =
        lock gate (fun () ->
            let limit =
                request.Query.TryFind "limit"
                |> Option.map int
                |> Option.defaultValue Int32.MaxValue

            let selector = request.Query.TryFind "labelSelector" |> Option.defaultValue ""

            let found =
                match request.Query.TryFind "continue" with
                | Some token when token <> "" ->
                    let id, offset = token.Split(':')[0], int (token.Split(':')[1])

                    match pages.TryGetValue id with
                    | true, struct (texts, at) -> Ok(id, texts, at, offset)
                    | false, _ -> Error()
                | _ ->
                    let texts =
                        objectsOf resource request.Namespace selector |> Seq.map _.Text |> Array.ofSeq

                    let id = Guid.NewGuid().ToString "N"

                    if texts.Length > limit then
                        pages[id] <- struct (texts, version)

                    Ok(id, texts, version, 0)

            found
            |> Result.map (fun (id, texts, at, offset) ->
                let count = min limit (texts.Length - offset)

                let rest =
                    if offset + count < texts.Length then
                        $""","continue":"{id}:{offset + count}","remainingItemCount":{texts.Length - offset - count}"""
                    else
                        ""

                let items = String.Join(",", texts, offset, count)

                $$"""{"kind":"{{resource.Kind}}List","apiVersion":"{{apiVersion resource}}","metadata":{"resourceVersion":"{{at}}"{{rest}}},"items":[{{items}}]}"""))

    let line kind (text: string) =
        $$"""{"type":"{{kind}}","object":{{text}}}""" + "\n"

    let bookmark (resource: Resource) (at: int64) =
        line
            "BOOKMARK"
            $$"""{"kind":"{{resource.Kind}}","apiVersion":"{{apiVersion resource}}","metadata":{"resourceVersion":"{{at}}"},"spec":{} }"""

    let watch (ctx: HttpContext) (resource: Resource) (request: ApiRequest) : Task = task {
        let selector = request.Query.TryFind "labelSelector" |> Option.defaultValue ""
        let lines = Channel.CreateUnbounded<string>()
        let send (text: string) = lines.Writer.TryWrite text |> ignore

        let onChange (change: Change) =
            let isHere =
                change.Resource = resource.Plural
                && (request.Namespace.IsNone || request.Namespace = Some change.Namespace)

            if isHere then
                let matchedBefore = change.Before |> Option.exists (LabelSelector.matches selector)

                let matchesNow =
                    change.Kind <> "DELETED" && LabelSelector.matches selector change.Object

                match matchedBefore, matchesNow with
                | false, true -> send (line "ADDED" change.Text)
                | true, true -> send (line "MODIFIED" change.Text)
                | true, false -> send (line "DELETED" change.Text)
                | false, false -> ()

        let id = Interlocked.Increment &nextWatch
        let ending, resetting = endWatches.Token, resetWatches.Token

        let isExpired =
            lock gate (fun () ->
                match request.Query.TryFind "resourceVersion" with
                | Some from when from <> "" && from <> "0" ->
                    if int64 from < horizon then
                        true
                    else
                        for change in history do
                            if change.At > int64 from then
                                onChange change

                        watches[id] <- onChange
                        false
                | _ ->
                    for stored in objectsOf resource request.Namespace selector do
                        send (line "ADDED" stored.Text)

                    watches[id] <- onChange
                    false)

        if request.Query.TryFind "allowWatchBookmarks" = Some "true" then
            bookmarks[id] <- fun () -> send (bookmark resource version)

        raw[id] <- send

        let seconds =
            request.Query.TryFind "timeoutSeconds"
            |> Option.map float
            |> Option.defaultValue 1800.0

        use timeout = new CancellationTokenSource(TimeSpan.FromSeconds seconds)

        use ended =
            CancellationTokenSource.CreateLinkedTokenSource(
                ctx.RequestAborted,
                ending,
                resetting,
                timeout.Token
            )

        try
            if isExpired && not expiresInStream then
                do! refuse ctx 410 "too old resource version"
            else
                ctx.Response.ContentType <- "application/json"
                do! ctx.Response.Body.FlushAsync()

                if isExpired then
                    let status = statusText 410 "Expired" "too old resource version"
                    do! ctx.Response.WriteAsync(line "ERROR" status)
                else
                    try
                        while true do
                            let! text = lines.Reader.ReadAsync ended.Token

                            if not areWatchesSilent then
                                do! ctx.Response.WriteAsync(text, ended.Token)
                                do! ctx.Response.Body.FlushAsync ended.Token
                    with :? OperationCanceledException ->
                        if resetting.IsCancellationRequested then
                            ctx.Abort()
        finally
            watches.TryRemove id |> ignore
            bookmarks.TryRemove id |> ignore
            raw.TryRemove id |> ignore
    }

    let patched
        (resource: Resource)
        (request: ApiRequest)
        (stored: Stored)
        : Result<JsonObject, int * string> =
        let patch = Json.parse request.Body
        let isStatus = request.Subresource = Some "status"

        match Json.tryText [ "metadata"; "uid" ] patch with
        | Some uid when uid <> Json.text [ "metadata"; "uid" ] stored.Object ->
            Error(409, "the UID in the precondition is another one")
        | _ when
            request.ContentType.StartsWith "application/apply-patch"
            && not (request.Query.ContainsKey "fieldManager")
            ->
            Error(400, "fieldManager is required for an apply patch")
        | _ ->
            let now = Json.copy stored.Object

            // A subresource changes nothing else, and nothing else changes it.
            let part = JsonObject()

            for KeyValue(name, value) in List.ofSeq patch do
                let isStatusField = name = "status"

                if
                    (isStatus && isStatusField)
                    || (not isStatus && not (isStatusField && resource.HasStatus))
                then
                    part[name] <- Json.clone value

            match request.ContentType.Split(';')[0] with
            | "application/apply-patch+yaml" ->
                Json.apply now part
                Ok now
            | "application/merge-patch+json"
            | "application/strategic-merge-patch+json" ->
                Json.merge now part
                Ok now
            | other -> Error(415, $"{other} is no patch that is known here")

    let change (ctx: HttpContext) (resource: Resource) (request: ApiRequest) ns : Task =
        let outcome =
            lock gate (fun () ->
                let existing = request.Name |> Option.bind (find resource ns)

                match request.Method, request.Name, existing with
                | "GET", _, Some stored -> Ok(200, stored.Text)
                | "DELETE", Some name, Some stored ->
                    remove resource ns name |> ignore
                    Ok(200, stored.Text)
                | "PATCH", Some name, Some stored ->
                    patched resource request stored
                    |> Result.map (fun now -> 200, (write resource ns name existing now).Text)
                | "PUT", Some name, Some stored ->
                    let now = Json.parse request.Body
                    let wanted = Json.tryText [ "metadata"; "resourceVersion" ] now

                    if wanted.IsSome && wanted <> Some(string stored.Version) then
                        Error(
                            409,
                            "the object has been modified; please apply your changes to the latest version"
                        )
                    else
                        if resource.HasStatus then
                            now["status"] <- Json.clone (stored.Object["status"])

                        Ok(200, (write resource ns name existing now).Text)
                | "POST", None, _ ->
                    let now = Json.parse request.Body

                    let name =
                        Json.tryText [ "metadata"; "name" ] now
                        |> Option.defaultWith (fun () ->
                            Json.text [ "metadata"; "generateName" ] now
                            + (Guid.NewGuid().ToString "N").Substring(0, 8))

                    if (find resource ns name).IsSome then
                        Error(409, $"{resource.Plural} \"{name}\" already exists")
                    else
                        Ok(201, (write resource ns name None now).Text)
                | _, Some name, None -> Error(404, $"{resource.Plural} \"{name}\" not found")
                | _ -> Error(405, "not allowed"))

        match outcome with
        | Ok(code, text) -> answer ctx code text
        | Error(code, message) -> refuse ctx code message

    let route (path: string) =
        let prefix (resource: Resource) =
            if resource.Group = "" then
                $"/api/{resource.Version}/"
            else
                $"/apis/{resource.Group}/{resource.Version}/"

        resources
        |> List.tryPick (fun resource ->
            if not (path.StartsWith(prefix resource)) then
                None
            else
                match path.Substring((prefix resource).Length).Split '/' |> List.ofArray with
                | [ plural ] when plural = resource.Plural -> Some(resource, None, None, None)
                | "namespaces" :: ns :: plural :: rest when plural = resource.Plural ->
                    Some(resource, Some ns, List.tryItem 0 rest, List.tryItem 1 rest)
                | _ -> None)

    let serve (ctx: HttpContext) : Task = task {
        use reader = new StreamReader(ctx.Request.Body)
        let! body = reader.ReadToEndAsync()
        let path = string ctx.Request.Path.Value
        let routed = route path

        let request = {
            Method = ctx.Request.Method
            Path = path
            Query = Map.ofSeq [ for KeyValue(name, value) in ctx.Request.Query -> name, string value ]
            Plural =
                routed
                |> Option.map (fun (resource, _, _, _) -> resource.Plural)
                |> Option.defaultValue ""
            Namespace = routed |> Option.bind (fun (_, ns, _, _) -> ns)
            Name = routed |> Option.bind (fun (_, _, name, _) -> name)
            Subresource = routed |> Option.bind (fun (_, _, _, subresource) -> subresource)
            ContentType = string ctx.Request.ContentType
            Body = body
        }

        ctx.Response.OnCompleted(fun () ->
            requests.Enqueue((request, ctx.Response.StatusCode))
            Task.CompletedTask)

        let given = string ctx.Request.Headers.Authorization

        match token, fault request, routed with
        | Some token, _, _ when given <> $"Bearer {token}" -> do! refuse ctx 401 "Unauthorized"
        | _, Some(ApiFault.Answer code), _ ->
            if code = 429 then
                ctx.Response.Headers.RetryAfter <- "1"

            do! refuse ctx code $"told to answer {code}"
        | _, Some ApiFault.Reset, _ -> ctx.Abort()
        | _, Some ApiFault.Stall, _ ->
            try
                do! Task.Delay(Timeout.Infinite, ctx.RequestAborted)
            with :? OperationCanceledException ->
                ()
        | _, None, None -> do! refuse ctx 404 "the server could not find the requested resource"
        | _, None, Some(resource, _, None, _) when request.Method = "GET" && request.IsWatch ->
            do! watch ctx resource request
        | _, None, Some(resource, _, None, _) when request.Method = "GET" ->
            match list resource request with
            | Ok text -> do! answer ctx 200 text
            | Error() -> do! refuse ctx 410 "the continue token is too old"
        | _, None, Some(resource, ns, _, _) -> do! change ctx resource request (defaultArg ns "default")
    }

    let resourceOf plural =
        resources |> List.find (fun resource -> resource.Plural = plural)

    let replaceSource (source: byref<CancellationTokenSource>) =
        let old = source
        source <- new CancellationTokenSource()
        old.Cancel()

    member _.Port = port
    member _.Url = $"http://127.0.0.1:{port}"

    /// Begins to listen: on the port of the last time, if there was one.
    member _.Start() : Task = task {
        let builder = WebApplication.CreateSlimBuilder()
        builder.Logging.ClearProviders() |> ignore

        builder.WebHost.ConfigureKestrel(fun options -> options.Listen(IPAddress.Loopback, port))
        |> ignore

        let started = builder.Build()
        started.Run(RequestDelegate serve)
        do! started.StartAsync()
        port <- Uri(Seq.head started.Urls).Port
        app <- Some started
    }

    /// Is gone: connections break, and nobody listens.
    member _.Stop() : Task = task {
        match app with
        | None -> ()
        | Some running ->
            app <- None
            replaceSource &resetWatches
            use atOnce = new CancellationTokenSource(0)
            do! running.StopAsync atOnce.Token
            do! running.DisposeAsync()
    }

    static member Started() : Task<ApiServer> = task {
        let server = new ApiServer()
        do! server.Start()
        return server
    }

    /// What to do instead of answering, by the request.
    member _.Fault
        with set (choose: ApiRequest -> ApiFault option) = fault <- choose

    /// The bearer token that is asked for.
    member _.Token
        with set (wanted: string option) = token <- wanted

    /// Whether a version that is forgotten is said in the stream of a watch, or at once.
    member _.ExpiresInStream
        with set (inStream: bool) = expiresInStream <- inStream

    /// Watches stay open and say nothing any more.
    member _.AreWatchesSilent
        with set (silent: bool) = areWatchesSilent <- silent

    member _.CloseWatches() = replaceSource &endWatches
    member _.ResetWatches() = replaceSource &resetWatches
    member _.OpenWatches = watches.Count

    member _.SendBookmarks() =
        lock gate (fun () ->
            for send in bookmarks.Values do
                send ())

    /// Sends this line to every watch.
    member _.SendRaw(text: string) =
        for send in raw.Values do
            send (text + "\n")

    /// Forgets every version before the one that is now, and the pages of lists.
    member _.Forget() =
        lock gate (fun () ->
            history.Clear()
            pages.Clear()
            // Something that no list has told of yet.
            nextVersion () |> ignore
            horizon <- version)

    /// All requests that were answered, and their codes.
    member _.Requests = List.ofSeq requests

    /// Creates or replaces an object, status included.
    member _.Put(plural: string, text: string) =
        let object = Json.parse text
        let ns = Json.text [ "metadata"; "namespace" ] object
        let name = Json.text [ "metadata"; "name" ] object

        lock gate (fun () ->
            let resource = resourceOf plural
            let before = find resource ns name

            match before with
            | Some stored when not (object.ContainsKey "status") && stored.Object.ContainsKey "status" ->
                object["status"] <- Json.clone (stored.Object["status"])
            | _ -> ()

            write resource ns name before object |> ignore)

    member _.Delete(plural: string, ns: string, name: string) =
        lock gate (fun () -> remove (resourceOf plural) ns name |> ignore)

    /// The object as it is stored.
    member _.TryGet(plural: string, ns: string, name: string) : JsonObject option =
        lock gate (fun () ->
            find (resourceOf plural) ns name
            |> Option.map (fun stored -> Json.copy stored.Object))

    member _.All(plural: string) : JsonObject list =
        lock gate (fun () -> [ for KeyValue(_, stored) in store[plural] -> Json.copy stored.Object ])

    /// Writes a kubeconfig file for this server into a folder, and gives its path.
    member _.Kubeconfig(folder: string) : string =
        // The client library takes no user without credentials.
        let token = defaultArg token "any"
        let path = Path.Combine(folder, "kubeconfig")

        File.WriteAllText(
            path,
            $"""apiVersion: v1
kind: Config
current-context: test
contexts: [{{name: test, context: {{cluster: test, user: test}}}}]
clusters: [{{name: test, cluster: {{server: 'http://127.0.0.1:{port}'}}}}]
users: [{{name: test, user: {{token: {token}}}}}]
"""
        )

        path

    interface IDisposable with
        member server.Dispose() = server.Stop().GetAwaiter().GetResult()
