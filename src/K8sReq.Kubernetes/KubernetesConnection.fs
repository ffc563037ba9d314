namespace K8sReq.Kubernetes

open System
open System.Collections.Concurrent
open System.IO
open System.Net.Http
open System.Threading
open k8s
open K8sReq.Proxy

/// Where the cluster is and who asks.
type ClusterAccess = {
    /// For people: which of the places it was found in.
    Origin: string
    /// The namespace that the program is in, or that its user works in.
    Namespace: string
    /// Reads it again, credentials included.
    Load: unit -> KubernetesClientConfiguration
}

/// How a connection to the API server is found to be dead that neither FIN nor RST has ended: the other side answers no
/// more HTTP/2 pings. .NET looks every few seconds whether one of these times is over.
type ConnectionHealth = {
    /// A ping is sent after nothing has come for so long. A second at least.
    PingDelay: TimeSpan
    /// The connection is given up after the answer to the ping has not come for so long. A second at least.
    PingTimeout: TimeSpan
}

module ConnectionHealth =
    /// Found within 45 s.
    let usual = {
        PingDelay = TimeSpan.FromSeconds 25.0
        PingTimeout = TimeSpan.FromSeconds 10.0
    }

    let configure (health: ConnectionHealth) (handler: SocketsHttpHandler) : unit =
        handler.KeepAlivePingPolicy <- HttpKeepAlivePingPolicy.Always
        handler.KeepAlivePingDelay <- health.PingDelay
        handler.KeepAlivePingTimeout <- health.PingTimeout

module ClusterAccess =
    let private defaultNamespace (configured: string | null) =
        match configured with
        | null
        | "" -> "default"
        | configured -> configured

    let private prepared (load: unit -> KubernetesClientConfiguration) () =
        // First of all: what a program that gives credentials prints is read by the client already.
        WatchEventJson.register ()
        let configuration = load ()
        // A watch lasts for minutes; every request here has a limit of its own.
        configuration.HttpClientTimeout <- Timeout.InfiniteTimeSpan
        configuration.UserAgent <- "k8sreq"
        // Lists are decoded where they are received, and credentials may be a program's that has to be waited for.
        configuration.FirstMessageHandlerSetup <-
            fun handler ->
                InlineSockets.elsewhere handler
                ConnectionHealth.configure ConnectionHealth.usual handler

        configuration

    /// The same, for requests that are answered at once: each has so much time.
    let withTimeout (timeout: TimeSpan) (access: ClusterAccess) : ClusterAccess = {
        access with
            Load =
                fun () ->
                    let configuration = access.Load()
                    configuration.HttpClientTimeout <- timeout
                    configuration
    }

    /// The same, with other times after which a connection is taken for dead.
    let withHealth (health: ConnectionHealth) (access: ClusterAccess) : ClusterAccess = {
        access with
            Load =
                fun () ->
                    let configuration = access.Load()
                    let setup = configuration.FirstMessageHandlerSetup

                    configuration.FirstMessageHandlerSetup <-
                        fun handler ->
                            setup.Invoke handler
                            ConnectionHealth.configure health handler

                    configuration
    }

    let private fromFiles (paths: string list) =
        let load = prepared (fun () -> Kubeconfig.build paths)
        let first = load ()

        {
            Origin = String.concat ", " paths
            Namespace = defaultNamespace first.Namespace
            Load = load
        }

    let private inCluster () =
        let load = prepared KubernetesClientConfiguration.InClusterConfig
        let first = load ()

        {
            Origin = "the pod's service account"
            Namespace = defaultNamespace first.Namespace
            Load = load
        }

    // What a path is that is no file.
    let private notFound (paths: string list) =
        let looked = String.concat ", " paths
        $"there is no file {looked}"

    /// In this order, which is that of other controllers: the file of `--kubeconfig`, those of `KUBECONFIG` that exist, the
    /// pod's service account, `~/.kube/config`. An error says what was looked for, or what is wrong with what was found.
    let find (kubeconfig: string option) (environment: Map<string, string>) : Result<ClusterAccess, string> =
        let variable name =
            environment.TryFind name |> Option.filter ((<>) "")

        let named =
            match variable "KUBECONFIG" with
            | Some paths ->
                paths.Split(Path.PathSeparator, StringSplitOptions.RemoveEmptyEntries)
                |> List.ofArray
            | None -> []

        let ofUser =
            variable "HOME"
            |> Option.map (fun home -> Path.Combine(home, ".kube", "config"))
            |> Option.toList

        try
            match kubeconfig, List.filter File.Exists named, List.filter File.Exists ofUser with
            | Some file, _, _ when not (File.Exists file) -> Error(notFound [ file ])
            | Some file, _, _ -> Ok(fromFiles [ file ])
            | None, (_ :: _ as found), _ -> Ok(fromFiles found)
            | None, [], _ when KubernetesClientConfiguration.IsInCluster() -> Ok(inCluster ())
            | None, [], _ when not named.IsEmpty ->
                Error $"{notFound named}, which KUBECONFIG names, and no pod's service account"
            | None, [], (_ :: _ as found) -> Ok(fromFiles found)
            | None, [], [] when ofUser.IsEmpty ->
                Error "there is no --kubeconfig, no KUBECONFIG, no pod's service account and no home folder"
            | None, [], [] ->
                Error
                    $"there is no --kubeconfig, no KUBECONFIG, no pod's service account, and {notFound ofUser}"
        with error ->
            // The remaining lines are the library's stack trace.
            Error(error.Message.Split('\n')[0])

/// The answers that came to what the running code has asked. The client does not always close a watch that is left:
/// disposing this scope does.
[<Sealed>]
type ResponseScope private () =
    static let current = AsyncLocal<ResponseScope | null>()
    let responses = ConcurrentBag<IDisposable>()

    /// That of the running code.
    static member Current = current.Value

    /// What is asked from here on by this flow of code belongs to the new scope.
    static member Enter() : ResponseScope =
        let scope = new ResponseScope()
        current.Value <- scope
        scope

    member _.Add(response: IDisposable) = responses.Add response

    interface IDisposable with
        member _.Dispose() =
            for response in responses do
                response.Dispose()

[<Sealed>]
type private ScopeHandler() =
    inherit DelegatingHandler()

    override _.SendAsync(request, cancelled) =
        let scope = ResponseScope.Current
        let sending = base.SendAsync(request, cancelled)

        match scope with
        | null -> sending
        | scope -> task {
            let! response = sending
            // Not the response: the client puts another content into it, which does not close this one.
            scope.Add response.Content
            return response
          }

/// The client, with credentials that can be renewed while it is used.
[<Sealed>]
type KubernetesConnection(access: ClusterAccess) =
    // One renewal at a time. `client` is written under it and read without: a former client goes on working.
    let gate = Lock()

    let create () : IKubernetes =
        new Kubernetes(access.Load(), new ScopeHandler())

    let mutable client = create ()

    /// The client to be used for the next request.
    member _.Client: IKubernetes = Volatile.Read &client

    /// Loads the configuration again, unless somebody has done so since `failed` was got. What still runs on the former
    /// client goes on; it is left to the garbage collector for that.
    member _.Renew(failed: IKubernetes) =
        exclusively gate (fun () ->
            if Object.ReferenceEquals(failed, client) then
                Volatile.Write(&client, create ()))

    interface IDisposable with
        member _.Dispose() = client.Dispose()
