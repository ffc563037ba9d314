namespace K8sReq.Host.Sources.Kubernetes

open System
open System.Collections.Concurrent
open System.IO
open System.Net.Http
open System.Threading
open k8s
open K8sReq.Host.Http

/// Where the cluster is and who asks.
type ClusterAccess = {
    /// For people: which of the places it was found in.
    Origin: string
    /// The namespace that the program is in, or that its user works in.
    Namespace: string
    /// Reads it anew, credentials included.
    Load: unit -> KubernetesClientConfiguration
}

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
        configuration.FirstMessageHandlerSetup <- InlineSockets.elsewhere
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

    /// In this order: the pod's service account, the files of `KUBECONFIG`, `~/.kube/config`. An error
    /// says what was looked for, or what is wrong with what was found.
    let find (environment: Map<string, string>) : Result<ClusterAccess, string> =
        let home = environment.TryFind "HOME" |> Option.defaultValue ""

        let files =
            match environment.TryFind "KUBECONFIG" with
            | Some paths when paths <> "" ->
                paths.Split(Path.PathSeparator, StringSplitOptions.RemoveEmptyEntries)
                |> List.ofArray
            | _ when home <> "" -> [ Path.Combine(home, ".kube", "config") ]
            | _ -> []

        try
            if KubernetesClientConfiguration.IsInCluster() then
                Ok(inCluster ())
            else
                match files |> List.filter File.Exists, files with
                | [], [] -> Error "there is no pod's service account, no KUBECONFIG and no home folder"
                | [], _ ->
                    let looked = String.concat ", " files
                    Error $"there is no pod's service account, and no file {looked}"
                | found, _ -> Ok(fromFiles found)
        with error ->
            Error error.Message

/// The answers that came to what the running code has asked. The client does not always close a watch that is left:
/// whoever opens one in the scope of this can.
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
    let gate = Lock()

    let create () : IKubernetes =
        new Kubernetes(access.Load(), new ScopeHandler())

    let mutable client = create ()

    /// The client to be used for the next request.
    member _.Client: IKubernetes = Volatile.Read &client

    /// Loads the configuration anew, unless somebody has done so since `failed` was got. What still runs on the former
    /// client goes on; it is left to the garbage collector for that.
    member _.Renew(failed: IKubernetes) =
        lock gate (fun () ->
            if Object.ReferenceEquals(failed, client) then
                Volatile.Write(&client, create ()))

    interface IDisposable with
        member _.Dispose() = client.Dispose()
