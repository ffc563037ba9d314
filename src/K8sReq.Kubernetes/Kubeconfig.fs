/// Several kubeconfig files read as one, the way kubectl does.
module K8sReq.Kubernetes.Kubeconfig

open System.Collections.Generic
open System.IO
open k8s
open k8s.KubeConfigModels

let private isGiven (text: string | null) =
    not (System.String.IsNullOrWhiteSpace text)

// The client takes a path for one that is relative to a single file, the first.
let private absolute (folder: string) (path: string | null) : string | null =
    match path with
    | null
    | "" -> path
    | path -> Path.Combine(folder, path)

let private listOf (items: IEnumerable<'T> | null) : 'T list =
    match items with
    | null -> []
    | items -> List.ofSeq items

let private load (path: string) : K8SConfiguration =
    let file = FileInfo path
    let config = KubeconfigFile.read path

    match file.DirectoryName with
    | null -> ()
    | folder ->
        for cluster in listOf config.Clusters do
            match cluster.ClusterEndpoint with
            | null -> ()
            | endpoint -> endpoint.CertificateAuthority <- absolute folder endpoint.CertificateAuthority

        for user in listOf config.Users do
            match user.UserCredentials with
            | null -> ()
            | credentials ->
                credentials.ClientCertificate <- absolute folder credentials.ClientCertificate
                credentials.ClientKey <- absolute folder credentials.ClientKey

    config

// What names nothing that the client could use: such a user is refused by it, while kubectl asks without credentials.
let private hasNone (credentials: UserCredentials | null) =
    match credentials with
    | null -> true
    | credentials ->
        isNull credentials.AuthProvider
        && isNull credentials.ExternalExecution
        && not (
            List.exists isGiven [
                credentials.Token
                credentials.UserName
                credentials.Password
                credentials.ClientCertificate
                credentials.ClientCertificateData
                credentials.ClientKey
                credentials.ClientKeyData
            ]
        )

/// What these files say together: of two entries with one name, and of two current contexts, the first counts. Paths
/// are relative to the file that names them. A user without credentials is nobody: requests then carry none. Throws
/// `KubeConfigException` about a file that is not one.
let build (paths: string list) : KubernetesClientConfiguration =
    let configs = paths |> List.map load

    let gather choose =
        configs |> List.collect (choose >> listOf)

    let users = gather (fun config -> config.Users)

    let contexts = gather (fun config -> config.Contexts)

    for context in contexts do
        match context.ContextDetails with
        | null -> ()
        | details ->
            let user = users |> List.tryFind (fun user -> user.Name = details.User)

            if user |> Option.exists (fun user -> hasNone user.UserCredentials) then
                details.User <- null

    K8SConfiguration(
        Clusters = gather (fun config -> config.Clusters),
        Users = users,
        Contexts = contexts,
        CurrentContext = (configs |> List.map _.CurrentContext |> List.tryFind isGiven |> Option.toObj)
    )
    |> KubernetesClientConfiguration.BuildConfigFromConfigObject
