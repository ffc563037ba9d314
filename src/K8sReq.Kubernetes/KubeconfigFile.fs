/// One kubeconfig file. The client's own reader finds its properties at run time, which a program that is compiled
/// ahead of time does not have; this one is what reads manifests, and refuses what kubectl refuses: a number or a
/// truth value where a text belongs.
module K8sReq.Kubernetes.KubeconfigFile

open System
open System.Collections.Generic
open System.IO
open System.Text.Json
open k8s.Exceptions
open k8s.KubeConfigModels
open K8sReq.Core
open K8sReq.Proxy

let private refuse (path: string) (reason: string) : 'T =
    raise (KubeConfigException($"{path}: {reason}"))

/// A value, and where it stands.
[<Struct; NoEquality; NoComparison>]
type private Value = { At: string; Json: JsonElement }

let private wrong (value: Value) (expected: string) : 'T =
    raise (KubeConfigException($"{value.At} is not {expected}"))

let private tryField (name: string) (value: Value) : Value option =
    match value.Json.ValueKind with
    | JsonValueKind.Null -> None
    | JsonValueKind.Object ->
        match value.Json.TryGetProperty name with
        | true, field when field.ValueKind <> JsonValueKind.Null ->
            Some {
                At = if value.At = "" then name else $"{value.At}.{name}"
                Json = field
            }
        | _ -> None
    | _ -> wrong value "a mapping"

let private textOf (value: Value) : string =
    match value.Json.ValueKind with
    | JsonValueKind.String -> string (value.Json.GetString())
    | _ -> wrong value "a text; it may need quotation marks"

let private text (name: string) (value: Value) : string | null =
    tryField name value |> Option.map textOf |> Option.toObj

let private flag (name: string) (value: Value) : bool =
    match tryField name value with
    | None -> false
    | Some found when found.Json.ValueKind = JsonValueKind.True -> true
    | Some found when found.Json.ValueKind = JsonValueKind.False -> false
    | Some found -> wrong found "true or false"

let private items (name: string) (value: Value) : Value list =
    match tryField name value with
    | None -> []
    | Some found when found.Json.ValueKind = JsonValueKind.Array -> [
        for index, item in Seq.indexed (found.Json.EnumerateArray()) ->
            {
                At = $"{found.At}[{index}]"
                Json = item
            }
      ]
    | Some found -> wrong found "a list"

let private texts (value: Value) : Dictionary<string, string> =
    let fields = Dictionary<string, string>()

    for field in value.Json.EnumerateObject() do
        fields[field.Name] <-
            textOf {
                At = $"{value.At}.{field.Name}"
                Json = field.Value
            }

    fields

let private orNull (read: Value -> 'T) (name: string) (value: Value) : 'T | null =
    tryField name value |> Option.map read |> Option.toObj

// The library reads 010.0.0.1 as octal and 127.1 as an address too: credentials would go to a stranger.
let private isMisread (url: string) =
    let afterScheme = url.Substring(url.IndexOf "://" + 3)
    let authority = afterScheme.Split([| '/'; '?'; '#' |])[0]
    let host = authority.Substring(authority.LastIndexOf '@' + 1).Split(':')[0]

    match Uri.TryCreate(url, UriKind.Absolute) with
    | true, NonNull uri ->
        uri.HostNameType = UriHostNameType.IPv4
        && (CanonicalAddress.tryParse host).IsNone
    | _ -> false

let private server (value: Value) : string | null =
    match tryField "server" value with
    | Some url when isMisread (textOf url) ->
        wrong url "a URL with an IP address in decimal and without leading zeros"
    | Some url -> textOf url
    | None -> null

let private endpoint (value: Value) =
    ClusterEndpoint(
        Server = server value,
        CertificateAuthority = text "certificate-authority" value,
        CertificateAuthorityData = text "certificate-authority-data" value,
        TlsServerName = text "tls-server-name" value,
        SkipTlsVerify = flag "insecure-skip-tls-verify" value
    )

let private execution (value: Value) =
    ExternalExecution(
        ApiVersion = text "apiVersion" value,
        Command = text "command" value,
        Arguments = (items "args" value |> List.map textOf |> ResizeArray),
        EnvironmentVariables = (items "env" value |> List.map texts |> ResizeArray),
        InstallHint = text "installHint" value,
        ProvideClusterInfo = flag "provideClusterInfo" value
    )

let private authProvider (value: Value) =
    AuthProvider(Name = text "name" value, Config = orNull texts "config" value)

let private credentials (value: Value) =
    UserCredentials(
        ClientCertificate = text "client-certificate" value,
        ClientCertificateData = text "client-certificate-data" value,
        ClientKey = text "client-key" value,
        ClientKeyData = text "client-key-data" value,
        Token = text "token" value,
        UserName = text "username" value,
        Password = text "password" value,
        AuthProvider = orNull authProvider "auth-provider" value,
        ExternalExecution = orNull execution "exec" value
    )

let private contextDetails (value: Value) =
    ContextDetails(
        Cluster = text "cluster" value,
        User = text "user" value,
        Namespace = text "namespace" value
    )

/// Throws `KubeConfigException` with the reason if the file is not one.
let read (path: string) : K8SConfiguration =
    match ManifestYaml.parse (File.ReadAllText path) with
    | Error error -> refuse path $"line {error.Line}: {error.Reason}"
    | Ok [] -> K8SConfiguration()
    | Ok(first :: _) ->
        let root = { At = ""; Json = first.Root }

        try
            K8SConfiguration(
                ApiVersion = text "apiVersion" root,
                Kind = text "kind" root,
                CurrentContext = text "current-context" root,
                Clusters = [
                    for item in items "clusters" root ->
                        Cluster(Name = text "name" item, ClusterEndpoint = orNull endpoint "cluster" item)
                ],
                Users = [
                    for item in items "users" root ->
                        User(Name = text "name" item, UserCredentials = orNull credentials "user" item)
                ],
                Contexts = [
                    for item in items "contexts" root ->
                        Context(
                            Name = text "name" item,
                            ContextDetails = orNull contextDetails "context" item
                        )
                ]
            )
        with :? KubeConfigException as error ->
            refuse path error.Message
