namespace K8sReq.TestKit

open System
open System.Buffers
open System.Collections.Concurrent
open System.Collections.Generic
open System.IO
open System.Net
open System.Net.Sockets
open System.Text
open System.Text.RegularExpressions
open System.Text.Json
open System.Text.Json.Nodes
open System.Threading
open System.Threading.Tasks
open Microsoft.AspNetCore.Connections
open Microsoft.AspNetCore.Connections.Features
open Microsoft.AspNetCore.Hosting.Server
open Microsoft.AspNetCore.Hosting.Server.Features
open Microsoft.AspNetCore.Http
open Microsoft.AspNetCore.Server.Kestrel.Core
open Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets
open Microsoft.Extensions.Logging.Abstractions
open Microsoft.Extensions.Options

/// What goes wrong with a request.
[<RequireQualifiedAccess>]
type Fault =
    /// Answered with a Status object of this code.
    | Status of int
    /// 429 with Retry-After, in seconds.
    | TooManyRequests of int
    /// As a resource that is not defined is answered: 404, and no Status object.
    | MissingResource
    /// Never answered.
    | Stall
    /// The connection is reset.
    | Reset
    /// The connection is closed in good order, without an answer.
    | Close
    /// Served as ever, once the task has ended.
    | After of Task

/// How a watch from a forgotten resourceVersion is answered.
[<RequireQualifiedAccess>]
type ExpiryAnswer =
    | Status
    /// In a stream that begins with 200, as the real server does most of the time.
    | ErrorEvent

/// A request that came, and what became of it.
[<Sealed>]
type ApiCall(request: ApiRequest) =
    let mutable code = 0
    member _.Request = request

    /// The code of the answer; 0 as long as there is none.
    member _.Code
        with get () = Volatile.Read &code
        and internal set (value: int) = Volatile.Write(&code, value)

    override call.ToString() =
        $"{request.Method} {request.Path} {call.Code}"

type private Application(handle: HttpContext -> Task<unit>) =
    interface IHttpApplication<HttpContext> with
        member _.CreateContext features = DefaultHttpContext features
        member _.ProcessRequestAsync ctx = handle ctx
        member _.DisposeContext(_, _) = ()

/// What the path of a request names.
type private Target = {
    Resource: ApiResource
    Namespace: string option
    Name: string option
    Subresource: string option
}

/// A Kubernetes API server on loopback with a store in memory, which fails as it is told to.
[<Sealed>]
type ApiServer private (historyLimit: int, protocols: HttpProtocols) =
    let store = ApiStore historyLimit
    let calls = ConcurrentQueue<ApiCall>()
    let waiting = ResizeArray<(ApiCall -> bool) * TaskCompletionSource<ApiCall>>()
    let mutable fault: ApiRequest -> Fault option = fun _ -> None
    let mutable token: string option = None
    let mutable isGranted: string -> bool = fun _ -> true
    let mutable expiry = ExpiryAnswer.ErrorEvent
    let mutable port = 0
    let mutable running: (KestrelServer * CancellationTokenSource) option = None
    // Keeps the port while the server is away. It does not listen, so connections are refused.
    let mutable placeholder: Socket option = None
    let mutable isDisposed = false
    let switching = new SemaphoreSlim(1, 1)

    let notify (call: ApiCall) =
        waiting.RemoveAll(fun (isIt, source) -> isIt call && (source.TrySetResult call || true))
        |> ignore

    let log (call: ApiCall) =
        lock waiting (fun () ->
            calls.Enqueue call
            notify call)

    let answered (call: ApiCall) code =
        lock waiting (fun () ->
            call.Code <- code
            notify call)

    let targetOf (path: string) : Target option =
        let find group version plural =
            ApiResource.all
            |> List.tryFind (fun resource ->
                resource.Group = group && resource.Version = version && resource.Plural = plural)

        let target group version ns plural (rest: string list) =
            match find group version plural, rest with
            | None, _ -> None
            | Some resource, _ when Option.isSome ns && not resource.Namespaced -> None
            | Some resource, [] ->
                Some {
                    Resource = resource
                    Namespace = ns
                    Name = None
                    Subresource = None
                }
            // Objects of a namespace are reached through it only.
            | Some resource, _ when Option.isNone ns && resource.Namespaced -> None
            | Some resource, [ name ] ->
                Some {
                    Resource = resource
                    Namespace = ns
                    Name = Some name
                    Subresource = None
                }
            | Some resource, [ name; "status" ] when resource.HasStatus ->
                Some {
                    Resource = resource
                    Namespace = ns
                    Name = Some name
                    Subresource = Some "status"
                }
            | _ -> None

        let below group version rest =
            match rest with
            | "namespaces" :: ([] | [ _ ] | [ _; "status" ] as rest) ->
                target group version None "namespaces" rest
            | "namespaces" :: ns :: plural :: rest -> target group version (Some ns) plural rest
            | plural :: rest -> target group version None plural rest
            | [] -> None

        match path.Trim('/').Split('/') |> List.ofArray with
        | "api" :: version :: rest -> below "" version rest
        | "apis" :: group :: version :: rest -> below group version rest
        | _ -> None

    let requestOf (ctx: HttpContext) body : ApiRequest * Target option =
        let path =
            match ctx.Request.Path.Value with
            | null -> ""
            | path -> path

        let query =
            ctx.Request.Query
            |> Seq.map (fun pair -> pair.Key, string pair.Value)
            |> Map.ofSeq

        let target = targetOf path

        let isTrue name =
            match Map.tryFind name query with
            | Some("true" | "1") -> true
            | _ -> false

        {
            Method = ctx.Request.Method
            Path = path
            Query = query
            IsWatch = ctx.Request.Method = "GET" && isTrue "watch"
            Resource = target |> Option.map _.Resource.Plural |> Option.defaultValue ""
            Namespace = target |> Option.bind _.Namespace
            Name = target |> Option.bind _.Name
            Subresource = target |> Option.bind _.Subresource
            UserAgent = string ctx.Request.Headers.UserAgent
            ContentType =
                match ctx.Request.ContentType with
                | null -> ""
                | kind -> kind
            Body = body
        },
        target

    let answer (ctx: HttpContext) (call: ApiCall) (code: int) (kind: string) (bytes: byte[]) = task {
        ctx.Response.StatusCode <- code
        ctx.Response.ContentType <- kind
        ctx.Response.ContentLength <- bytes.LongLength
        answered call code
        do! ctx.Response.Body.WriteAsync(bytes, 0, bytes.Length)
    }

    let answerJson ctx call code (node: JsonObject) =
        answer ctx call code "application/json" (Encoding.UTF8.GetBytes(node.ToJsonString()))

    let refuse (ctx: HttpContext) call (refusal: Refusal) =
        match refusal.RetryAfter with
        | Some seconds -> ctx.Response.Headers.RetryAfter <- string seconds
        | None -> ()

        answerJson ctx call refusal.Code (Refusal.toJson refusal)

    let answerStored ctx call code (stored: StoredObject) =
        answer ctx call code "application/json" stored.Bytes

    let pageNotFound ctx call =
        answer ctx call 404 "text/plain; charset=utf-8" "404 page not found\n"B

    // Until the client goes or the server stops.
    let stall (ctx: HttpContext) (stopping: CancellationToken) = task {
        use either =
            CancellationTokenSource.CreateLinkedTokenSource(ctx.RequestAborted, stopping)

        do! Task.Delay(Timeout.Infinite, either.Token)
    }

    // Past Kestrel, which has one way to abort a connection and not two.
    let cut (ctx: HttpContext) (how: Socket -> unit) =
        match ctx.Features.Get<IConnectionSocketFeature>() with
        | null -> ()
        | feature ->
            how feature.Socket
            feature.Socket.Dispose()

        ctx.Abort()

    let reset ctx =
        cut ctx (fun socket -> socket.LingerState <- LingerOption(true, 0))

    let close ctx =
        cut ctx (fun socket -> socket.Shutdown SocketShutdown.Both)

    let number name (query: Map<string, string>) =
        match Map.tryFind name query with
        | None
        | Some "" -> None
        | Some text ->
            match Int32.TryParse text with
            | true, value -> Some value
            | _ -> Refusal.raise' 400 $"{name}: Invalid value: \"{text}\""

    let scopeOf (request: ApiRequest) : Scope = {
        Namespace = request.Namespace
        Labels =
            request.Query
            |> Map.tryFind "labelSelector"
            |> Option.map Selector.parse
            |> Option.defaultValue []
        Fields =
            request.Query
            |> Map.tryFind "fieldSelector"
            |> Option.map Selector.parseFields
            |> Option.defaultValue []
    }

    // Items of kinds that are built in come without apiVersion and kind.
    let listBytes (resource: ApiResource) (page: Page) =
        use buffer = new MemoryStream()

        let write (text: string) =
            buffer.Write(ReadOnlySpan(Encoding.UTF8.GetBytes text))

        let metadata = JsonObject()
        metadata["resourceVersion"] <- JsonValue.Create(string page.Revision)

        match page.Continue with
        | Some token -> metadata["continue"] <- JsonValue.Create token
        | None -> ()

        match page.Remaining with
        | Some count -> metadata["remainingItemCount"] <- JsonValue.Create count
        | None -> ()

        write
            $"""{{"kind":"{resource.Kind}List","apiVersion":"{resource.ApiVersion}","metadata":{metadata.ToJsonString()},"items":["""

        let frame =
            Encoding.UTF8.GetByteCount $"""{{"apiVersion":"{resource.ApiVersion}","kind":"{resource.Kind}","""

        let mutable isFirst = true

        for stored in page.Items do
            if not isFirst then
                write ","

            isFirst <- false

            if resource.Custom then
                buffer.Write(ReadOnlySpan stored.Bytes)
            else
                write "{"
                buffer.Write(ReadOnlySpan(stored.Bytes, frame, stored.Bytes.Length - frame))

        write "]}\n"
        buffer.ToArray()

    // An object that leaves the selection is shown as it was when it was in it, at the revision of the change.
    let asLeaving (previous: StoredObject) (revision: int64) =
        let node = previous.Parse()

        match Json.child "metadata" node with
        | Some metadata -> metadata["resourceVersion"] <- JsonValue.Create(string revision)
        | None -> ()

        Encoding.UTF8.GetBytes(node.ToJsonString())

    let eventOf (scope: Scope) (change: Change) : (string * byte[]) option =
        let isIn (stored: StoredObject) =
            Selector.matches scope.Labels stored.Labels

        let was = change.Previous |> Option.exists isIn

        match change.Kind with
        | ChangeKind.Deleted when was -> Some("DELETED", change.Object.Bytes)
        | ChangeKind.Deleted -> None
        | _ ->
            match was, isIn change.Object, change.Previous with
            | false, true, _ -> Some("ADDED", change.Object.Bytes)
            | true, true, _ -> Some("MODIFIED", change.Object.Bytes)
            | true, false, Some previous -> Some("DELETED", asLeaving previous change.Object.Revision)
            | _ -> None

    let bookmarkOf (resource: ApiResource) (revision: int64) endsInitial =
        let annotations =
            if endsInitial then
                ""","annotations":{"k8s.io/initial-events-end":"true"}"""
            else
                ""

        Encoding.UTF8.GetBytes(
            $"""{{"kind":"{resource.Kind}","apiVersion":"{resource.ApiVersion}","metadata":{{"resourceVersion":"{revision}","creationTimestamp":null{annotations}}}}}"""
        )

    let endInTime (watcher: Watcher) =
        store.PushAll(
            (fun other -> obj.ReferenceEquals(other, watcher)),
            (fun revision -> WatchItem.Bookmark(revision, false))
        )
        |> ignore

        watcher.Push WatchItem.TimedOut

    let serveWatch (ctx: HttpContext) (call: ApiCall) (resource: ApiResource) (stopping: CancellationToken) =
        task {
            let request = call.Request

            let watcher =
                Watcher(
                    request,
                    resource,
                    scopeOf request,
                    Map.tryFind "allowWatchBookmarks" request.Query = Some "true"
                )

            let limit = number "timeoutSeconds" request.Query

            use either =
                CancellationTokenSource.CreateLinkedTokenSource(ctx.RequestAborted, stopping)

            let begin' () = task {
                ctx.Response.StatusCode <- 200
                ctx.Response.ContentType <- "application/json"
                answered call 200
                do! ctx.Response.StartAsync either.Token
                let! _ = ctx.Response.BodyWriter.FlushAsync either.Token
                ()
            }

            let send (bytes: byte[]) = task {
                ctx.Response.BodyWriter.Write(ReadOnlySpan bytes)
                let! _ = ctx.Response.BodyWriter.FlushAsync either.Token
                ()
            }

            let sendEvent (kind: string) (node: byte[]) =
                send (
                    Array.concat [ Encoding.UTF8.GetBytes $"""{{"type":"{kind}","object":"""; node; "}\n"B ]
                )

            match store.Watch(watcher, Map.tryFind "resourceVersion" request.Query) with
            | Error refusal when expiry = ExpiryAnswer.Status -> do! refuse ctx call refusal
            | Error refusal ->
                do! begin' ()
                do! sendEvent "ERROR" (Encoding.UTF8.GetBytes((Refusal.toJson refusal).ToJsonString()))
            | Ok() ->
                use timeout = new CancellationTokenSource()
                use _ = timeout.Token.Register(fun () -> endInTime watcher)

                match limit with
                | Some seconds when seconds > 0 -> timeout.CancelAfter(TimeSpan.FromSeconds(float seconds))
                | _ -> ()

                try
                    do! begin' ()
                    let mutable isOpen = true

                    while isOpen do
                        let! item = watcher.Items.ReadAsync either.Token

                        match item with
                        | WatchItem.Change change ->
                            match eventOf watcher.Scope change with
                            | Some(kind, node) -> do! sendEvent kind node
                            | None -> ()
                        | WatchItem.Bookmark(revision, endsInitial) ->
                            if watcher.Bookmarks then
                                do! sendEvent "BOOKMARK" (bookmarkOf resource revision endsInitial)
                        | WatchItem.Line line -> do! send (Encoding.UTF8.GetBytes(line + "\n"))
                        | WatchItem.End
                        | WatchItem.TimedOut -> isOpen <- false
                        | WatchItem.Reset ->
                            reset ctx
                            isOpen <- false
                        | WatchItem.Stall -> do! stall ctx stopping
                finally
                    store.Unwatch watcher
        }

    let bodyOf (request: ApiRequest) : JsonObject =
        try
            match Json.parseManifests request.Body with
            | [ node ] ->
                // Duplicate names come to light when they are first asked for.
                Json.child "metadata" node |> ignore
                node
            | _ -> Refusal.raise' 400 "the body is not one object"
        with
        | :? JsonException
        | :? ArgumentException
        | :? YamlDotNet.Core.YamlException as error ->
            Refusal.raise' 400 $"the body cannot be parsed: {error.Message}"

    let success (target: Target) (uid: string) =
        let status = JsonObject()
        status["kind"] <- JsonValue.Create "Status"
        status["apiVersion"] <- JsonValue.Create "v1"
        status["metadata"] <- JsonObject()
        status["status"] <- JsonValue.Create "Success"
        let details = JsonObject()
        details["name"] <- JsonValue.Create(defaultArg target.Name "")
        details["group"] <- JsonValue.Create target.Resource.Group
        details["kind"] <- JsonValue.Create target.Resource.Plural
        details["uid"] <- JsonValue.Create uid
        status["details"] <- details
        status

    let deleteOptions (request: ApiRequest) =
        if request.Body = "" then
            None
        else
            Json.child "preconditions" (bodyOf request)

    let surrogateEscape = Regex @"\\u[dD][89a-fA-F]"

    let patch ctx (call: ApiCall) (target: Target) ns name part = task {
        let request = call.Request
        let resource = target.Resource

        match (request.ContentType.Split ';' |> Array.head).Trim() with
        | "application/strategic-merge-patch+json" when resource.Custom ->
            return!
                Refusal.raise'
                    415
                    "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
        | "application/merge-patch+json"
        | "application/strategic-merge-patch+json" ->
            let stored = store.Merge(resource, ns, name, part, bodyOf request)
            do! answerStored ctx call 200 stored
        // Read as YAML, whose escapes know no surrogates.
        | "application/apply-patch+yaml" when surrogateEscape.IsMatch request.Body ->
            return!
                Refusal.raise'
                    400
                    "error decoding YAML: error converting YAML to JSON: yaml: found invalid Unicode character escape code"
        | "application/apply-patch+yaml" ->
            match Map.tryFind "fieldManager" request.Query with
            | None
            | Some "" ->
                Refusal.raise'
                    422
                    "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch"
            | Some manager ->
                let force = Map.tryFind "force" request.Query = Some "true"

                let stored, isNew =
                    store.Apply(resource, ns, name, part, manager, force, bodyOf request)

                do! answerStored ctx call (if isNew then 201 else 200) stored
        | other -> Refusal.raise' 415 $"the body of the request was in an unknown format: {other}"
    }

    let serve (ctx: HttpContext) (call: ApiCall) (target: Target) stopping : Task<unit> = task {
        let request = call.Request
        let resource = target.Resource
        let ns = defaultArg target.Namespace ""

        let part =
            if target.Subresource = Some "status" then
                Part.Status
            else
                Part.Main

        if request.Query.ContainsKey "dryRun" then
            Refusal.raise' 400 "this server knows no dry run"

        match request.Method, target.Name with
        | "GET", None when request.IsWatch -> do! serveWatch ctx call resource stopping
        | "GET", None ->
            let limit = number "limit" request.Query |> Option.filter (fun limit -> limit > 0)

            let token =
                Map.tryFind "continue" request.Query |> Option.filter (fun token -> token <> "")

            let page = store.List(resource, scopeOf request, limit, token)
            do! answer ctx call 200 "application/json" (listBytes resource page)
        | "GET", Some name -> do! answerStored ctx call 200 (store.Get(resource, ns, name))
        | "POST", None ->
            if resource.Namespaced && target.Namespace.IsNone then
                Refusal.raise' 405 "the server does not allow this method on the requested resource"

            do! answerStored ctx call 201 (store.Create(resource, ns, bodyOf request))
        | "PUT", Some name ->
            let stored, isNew = store.Replace(resource, ns, name, part, bodyOf request)
            do! answerStored ctx call (if isNew then 201 else 200) stored
        | "PATCH", Some name -> do! patch ctx call target ns name part
        | "DELETE", Some name when part = Part.Main ->
            let stored = store.Delete(resource, ns, name, deleteOptions request)

            if resource.Plural = "services" then
                do! answerStored ctx call 200 stored
            else
                do! answerJson ctx call 200 (success target stored.Uid)
        | "DELETE", None ->
            store.DeleteAll(resource, scopeOf request)
            do! answerJson ctx call 200 (success target "")
        | _ -> Refusal.raise' 405 "the server does not allow this method on the requested resource"
    }

    // Nothing is stored of a review: it is the question, with the answer in it.
    let review (ctx: HttpContext) (call: ApiCall) : Task<unit> = task {
        let node = bodyOf call.Request

        let attributes =
            Json.child "spec" node
            |> Option.bind (Json.child "resourceAttributes")
            |> Option.defaultWith (fun () -> Refusal.raise' 400 "no spec.resourceAttributes")

        let part name =
            Json.text name attributes |> Option.defaultValue ""

        let resource =
            match part "subresource" with
            | "" -> part "resource"
            | subresource -> $"""{part "resource"}/{subresource}"""

        let allowed = (Volatile.Read &isGranted) $"""{part "verb"} {resource}"""
        node["status"] <- JsonObject([ KeyValuePair("allowed", JsonValue.Create allowed :> JsonNode | null) ])
        do! answerJson ctx call 201 node
    }

    let isReview (request: ApiRequest) =
        request.Method = "POST"
        && request.Path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"

    let respond (ctx: HttpContext) (call: ApiCall) target stopping : Task<unit> = task {
        try
            let isAllowed =
                match Volatile.Read &token with
                | None -> true
                | Some token -> string ctx.Request.Headers.Authorization = $"Bearer {token}"

            if not isAllowed then
                do! refuse ctx call (Refusal.create 401 "Unauthorized")
            else
                match target with
                | Some target -> do! serve ctx call target stopping
                | None when isReview call.Request -> do! review ctx call
                | None -> do! pageNotFound ctx call
        with
        | Refused refusal -> do! refuse ctx call refusal
        // JSON of a shape that its readers do not expect.
        | :? InvalidOperationException as error when not ctx.Response.HasStarted ->
            do! refuse ctx call (Refusal.create 400 error.Message)
    }

    let handle stopping (ctx: HttpContext) : Task<unit> = task {
        try
            use reader = new StreamReader(ctx.Request.Body)
            let! body = reader.ReadToEndAsync()
            let request, target = requestOf ctx body
            let call = ApiCall request
            log call

            match (Volatile.Read &fault) request with
            | None -> do! respond ctx call target stopping
            | Some(Fault.Status code) -> do! refuse ctx call (Refusal.create code $"told to answer {code}")
            | Some(Fault.TooManyRequests seconds) ->
                do!
                    refuse ctx call {
                        Refusal.create 429 "told to answer 429" with
                            RetryAfter = Some seconds
                    }
            | Some Fault.MissingResource -> do! pageNotFound ctx call
            | Some Fault.Stall -> do! stall ctx stopping
            | Some Fault.Reset -> reset ctx
            | Some Fault.Close -> close ctx
            | Some(Fault.After release) ->
                do! release.WaitAsync stopping
                do! respond ctx call target stopping
        with
        // The client is gone, or the server is going.
        | :? OperationCanceledException
        | :? IOException
        | :? SocketException
        | :? ObjectDisposedException
        | :? ConnectionAbortedException -> ctx.Abort()
    }

    let startListening () = task {
        // The scheme is that of the TLS in front.
        let options =
            KestrelServerOptions(AddServerHeader = false, AllowAlternateSchemes = true)

        options.Limits.MaxRequestBodySize <- Nullable()
        options.Limits.MinRequestBodyDataRate <- null
        options.Limits.MinResponseDataRate <- null

        options.Listen(
            IPAddress.Loopback,
            port,
            Action<ListenOptions>(fun endpoint -> endpoint.Protocols <- protocols)
        )

        let transport =
            SocketTransportFactory(Options.Create(SocketTransportOptions()), NullLoggerFactory.Instance)

        let server =
            new KestrelServer(Options.Create options, transport, NullLoggerFactory.Instance)

        let stopping = new CancellationTokenSource()
        do! server.StartAsync(Application(handle stopping.Token), CancellationToken.None)

        match server.Features.Get<IServerAddressesFeature>() with
        | null -> ()
        | addresses -> port <- BindingAddress.Parse(Seq.head addresses.Addresses).Port

        running <- Some(server, stopping)
    }

    let releasePlaceholder () =
        placeholder |> Option.iter _.Dispose()
        placeholder <- None

    let stopListening () = task {
        match running with
        | None -> ()
        | Some(server, stopping) ->
            running <- None
            do! stopping.CancelAsync()
            // No time to finish: connections are cut.
            do! server.StopAsync(CancellationToken true)
            server.Dispose()
            stopping.Dispose()
    }

    let whereOf (where: (ApiRequest -> bool) option) =
        match where with
        | Some where -> fun (watcher: Watcher) -> where watcher.Request
        | None -> fun _ -> true

    let resourceOf (plural: string) =
        ApiResource.all |> List.find (fun resource -> resource.Plural = plural)

    /// Starts a server on a port of its own. `historyLimit` is the number of changes of a resource that watches can
    /// go back.
    /// HTTP/2 it speaks to those alone who know of it; a real one agrees upon it with TLS (see `TlsFront`).
    static member Create(?historyLimit: int, ?protocols: HttpProtocols) : Task<ApiServer> = task {
        let server =
            new ApiServer(defaultArg historyLimit 100_000, defaultArg protocols HttpProtocols.Http1)

        do! server.Start()
        return server
    }

    member _.Port = port
    member _.Url = $"http://127.0.0.1:{port}"

    /// Asked for each request, before anything else; None serves it.
    member _.Fault
        with get () = Volatile.Read &fault
        and set (value: ApiRequest -> Fault option) = Volatile.Write(&fault, value)

    /// The token that requests must bear.
    member _.Token
        with get () = Volatile.Read &token
        and set (value: string option) = Volatile.Write(&token, value)

    /// What the caller may do, such as "patch requestclones/status", as SelfSubjectAccessReviews are answered. It refuses nothing.
    member _.IsGranted
        with get () = Volatile.Read &isGranted
        and set (value: string -> bool) = Volatile.Write(&isGranted, value)

    member _.Expiry
        with get () = expiry
        and set (value: ExpiryAnswer) = expiry <- value

    /// Listens, on the same port as before.
    member _.Start() : Task<unit> = task {
        do! switching.WaitAsync()

        try
            if running.IsNone then
                releasePlaceholder ()
                do! startListening ()
        finally
            switching.Release() |> ignore
    }

    /// Cuts every connection and refuses new ones; the objects stay.
    member _.Stop() : Task<unit> = task {
        do! switching.WaitAsync()

        try
            if running.IsSome then
                do! stopListening ()

                let socket =
                    new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp)

                socket.Bind(IPEndPoint(IPAddress.Loopback, port))
                placeholder <- Some socket
        finally
            switching.Release() |> ignore
    }

    /// All requests, in the order in which they came.
    member _.Calls: ApiCall list = List.ofSeq calls

    /// The first request that is like this, also one that has come already. Asked when a request comes, and
    /// again when it is answered.
    member _.Called(isIt: ApiCall -> bool) : Task<ApiCall> =
        lock waiting (fun () ->
            match calls |> Seq.tryFind isIt with
            | Some call -> Task.FromResult call
            | None ->
                let source =
                    TaskCompletionSource<ApiCall>(TaskCreationOptions.RunContinuationsAsynchronously)

                waiting.Add((isIt, source))
                source.Task)
        |> Waiting.within "a request at the API server"

    member _.ForgetCalls() = calls.Clear()
    member _.OpenWatches = store.OpenWatches

    /// The resourceVersion that a list has now.
    member _.ResourceVersion = string store.Revision

    /// By plural, namespace (empty for none) and name.
    member _.Get(plural: string, ns: string, name: string) : JsonObject option =
        store.TryGet(resourceOf plural, ns, name) |> Option.map _.Parse()

    /// All objects of a resource.
    member _.All(plural: string) : JsonObject list =
        store.List(
            resourceOf plural,
            {
                Namespace = None
                Labels = []
                Fields = []
            },
            None,
            None
        )
        |> fun page -> page.Items |> Seq.map _.Parse() |> List.ofSeq

    /// Creates or replaces an object, its status too if one is given. Without a namespace it is in "default".
    member _.Put(manifest: JsonObject) : JsonObject =
        let resource = store.ResourceOf manifest
        let metadata = Json.child "metadata" manifest

        let name =
            metadata
            |> Option.bind (Json.text "name")
            |> Option.defaultWith (fun () -> failwith "no metadata.name")

        let ns =
            if resource.Namespaced then
                metadata |> Option.bind (Json.text "namespace") |> Option.defaultValue "default"
            else
                ""

        store.Put(resource, ns, name, Json.parseObject (manifest.ToJsonString())).Parse()

    /// The same for every document of a manifest in JSON or YAML.
    member server.Put(manifests: string) : unit =
        for manifest in Json.parseManifests manifests do
            server.Put manifest |> ignore

    /// False if there was no such object.
    member _.Delete(plural: string, ns: string, name: string) : bool =
        store.TryDelete(resourceOf plural, ns, name).IsSome

    /// Everything that was ever listed or watched is expired, and every `continue` token.
    member _.Forget() = store.Forget()

    /// Ends open watches in good order, all or those of these requests; how many there were.
    member _.CloseWatches(?where: ApiRequest -> bool) : int =
        store.PushAll(whereOf where, (fun _ -> WatchItem.End))

    /// Resets the connections of open watches.
    member _.ResetWatches(?where: ApiRequest -> bool) : int =
        store.PushAll(whereOf where, (fun _ -> WatchItem.Reset))

    /// Open watches stay open and send nothing any more; not even their timeout ends them.
    member _.StallWatches(?where: ApiRequest -> bool) : int =
        store.PushAll(whereOf where, (fun _ -> WatchItem.Stall))

    /// Sends a line into open watches, whatever it is.
    member _.SendRaw(line: string, ?where: ApiRequest -> bool) : int =
        store.PushAll(whereOf where, (fun _ -> WatchItem.Line line))

    /// Sends a bookmark to the open watches that have asked for them.
    member _.SendBookmarks(?where: ApiRequest -> bool) : int =
        let where = whereOf where

        store.PushAll(
            (fun watcher -> watcher.Bookmarks && where watcher),
            (fun revision -> WatchItem.Bookmark(revision, false))
        )

    /// Writes a kubeconfig file for this server, with its token if it has one; its path.
    member _.Kubeconfig(folder: string) : string =
        let path = Path.Combine(folder, "kubeconfig")

        let user =
            match Volatile.Read &token with
            | Some token -> $"{{token: \"{token}\"}}"
            | None -> "{}"

        File.WriteAllText(
            path,
            $"""apiVersion: v1
kind: Config
clusters:
- name: test
  cluster:
    server: http://127.0.0.1:{port}
users:
- name: test
  user: {user}
contexts:
- name: test
  context:
    cluster: test
    user: test
current-context: test
"""
        )

        path

    interface IDisposable with
        member _.Dispose() =
            if not isDisposed then
                isDisposed <- true
                stopListening().GetAwaiter().GetResult()
                releasePlaceholder ()
