/// Objects as they are written in JSON to the domain's types. The one place that knows their wire shapes.
module K8sReq.Kubernetes.Decode

open System.Text.Json
open FsToolkit.ErrorHandling
open k8s.Models
open K8sReq.Core

[<Literal>]
let Group = "proxy.infra.doodle.com"

[<Literal>]
let Version = "v1beta1"

[<Literal>]
let Plural = "requestclones"

[<Literal>]
let ApiVersion = "proxy.infra.doodle.com/v1beta1"

/// What kind of value stands there, as people say it.
let private kindOf (value: JsonElement) =
    match value.ValueKind with
    | JsonValueKind.Object -> "an object"
    | JsonValueKind.Array -> "a list"
    | JsonValueKind.String -> "a text"
    | JsonValueKind.Number -> $"the number {value.GetRawText()}"
    | JsonValueKind.True -> "true"
    | JsonValueKind.False -> "false"
    | JsonValueKind.Null
    | JsonValueKind.Undefined
    | _ -> "nothing"

/// A field of an object; null counts as absent, as it does for the API server.
let private tryField (name: string) (parent: JsonElement) : JsonElement option =
    match parent.TryGetProperty name with
    | true, value when value.ValueKind <> JsonValueKind.Null -> Some value
    | _ -> None

let private asText path (value: JsonElement) =
    if value.ValueKind = JsonValueKind.String then
        Ok(string (value.GetString()))
    else
        // The commonest mistake: a number that YAML did not see quoted.
        let hint =
            if value.ValueKind = JsonValueKind.Number then
                $" (write \"{value.GetRawText()}\")"
            else
                ""

        Error(FieldFault.WrongType(path, "a string", kindOf value + hint))

let private optionalText path name parent : Result<string option, FieldFault> =
    match tryField name parent with
    | None -> Ok None
    | Some value -> asText path value |> Result.map Some

let private requiredText path name parent =
    match tryField name parent with
    | None -> Error(FieldFault.Missing path)
    | Some value -> asText path value

// A port is a text or a number, as in an Ingress.
let private requiredPort path name parent =
    match tryField name parent with
    | None -> Error(FieldFault.Missing path)
    | Some value when value.ValueKind = JsonValueKind.String -> asText path value
    | Some value when value.ValueKind = JsonValueKind.Number && fst (value.TryGetInt64()) ->
        Ok(string (value.GetInt64()))
    | Some value -> Error(FieldFault.WrongType(path, "a string or a whole number", kindOf value))

let private asObject path (value: JsonElement) =
    if value.ValueKind = JsonValueKind.Object then
        Ok value
    else
        Error(FieldFault.WrongType(path, "an object", kindOf value))

let private requiredObject path name parent =
    match tryField name parent with
    | None -> Error(FieldFault.Missing path)
    | Some value -> asObject path value

let private optionalInteger path name parent : Result<int64 option, FieldFault> =
    match tryField name parent with
    | None -> Ok None
    | Some value when value.ValueKind = JsonValueKind.Number && fst (value.TryGetInt64()) ->
        Ok(Some(value.GetInt64()))
    | Some value -> Error(FieldFault.WrongType(path, "a whole number", kindOf value))

let private optionalObject path name parent : Result<JsonElement option, FieldFault> =
    match tryField name parent with
    | None -> Ok None
    | Some value -> asObject path value |> Result.map Some

// What cannot be read because its parent cannot is no fault of its own: it is as if it were not there.
let private within
    (parent: Result<JsonElement option, FieldFault>)
    (read: JsonElement -> Result<'T option, FieldFault>)
    =
    match parent with
    | Ok(Some value) -> read value
    | Ok None
    | Error _ -> Ok None

let private specFields (spec: JsonElement) : SpecFields * FieldFault list =
    let timeouts = optionalObject "spec.timeouts" "timeouts" spec
    let delivery = optionalObject "spec.delivery" "delivery" spec

    let deliveryText name =
        within delivery (optionalText $"spec.delivery.{name}" name)

    let backend = requiredObject "spec.backend" "backend" spec

    // With a value that is right in the place of one that cannot be judged.
    let inBackend required name right =
        match backend with
        | Ok value -> required $"spec.backend.{name}" name value
        | Error _ -> Ok right

    let faultOf read =
        match read with
        | Ok _ -> []
        | Error fault -> [ fault ]

    {
        Host = requiredText "spec.host" "host" spec
        ServiceName = inBackend requiredText "serviceName" "any"
        ServicePort = inBackend requiredPort "servicePort" "80"
        BackendRequest = within timeouts (optionalText "spec.timeouts.backendRequest" "backendRequest")
        Retry = within delivery (optionalInteger "spec.delivery.retry" "retry")
        BackoffPolicy = deliveryText "backoffPolicy"
        BackoffDelay = deliveryText "backoffDelay"
        BackoffMax = deliveryText "backoffMax"
    },
    faultOf backend @ faultOf timeouts @ faultOf delivery

/// `spec` of a RequestClone, with every fault at once. Fields that are unknown are none: the API server removes them, and a
/// later version of this program may know them.
let cloneSpec (manifest: JsonElement) : Result<CloneSpec, FieldFault list> =
    match requiredObject "spec" "spec" manifest with
    | Error fault -> Error [ fault ]
    | Ok spec ->
        let fields, unreadable = specFields spec

        match RequestClone.createSpec fields, unreadable with
        | Ok spec, [] -> Ok spec
        | Ok _, faults -> Error faults
        | Error faults, others -> Error(faults @ others)

let private textOrEmpty name (parent: JsonElement) =
    match tryField name parent with
    | Some value when value.ValueKind = JsonValueKind.String -> string (value.GetString())
    | _ -> ""

let private tryInt64 name (parent: JsonElement) =
    match tryField name parent with
    | Some value when value.ValueKind = JsonValueKind.Number ->
        match value.TryGetInt64() with
        | true, number -> Some number
        | false, _ -> None
    | _ -> None

let private tryTime name (parent: JsonElement) =
    match tryField name parent with
    | Some value when value.ValueKind = JsonValueKind.String ->
        match value.TryGetDateTimeOffset() with
        | true, time -> Some time
        | false, _ -> None
    | _ -> None

let private isObject (value: JsonElement) = value.ValueKind = JsonValueKind.Object

let private readyCondition (condition: JsonElement) : ReadyCondition = {
    IsReady =
        match textOrEmpty "status" condition with
        | "True" -> Some true
        | "False" -> Some false
        | _ -> None
    Reason = textOrEmpty "reason" condition
    Message = textOrEmpty "message" condition
    ObservedGeneration = tryInt64 "observedGeneration" condition
    LastTransition = tryTime "lastTransitionTime" condition
}

/// What a cluster's object says of itself besides its spec. Anybody may write a status: what is unreadable there counts
/// as absent.
let observed (item: JsonElement) : ObservedObject =
    let metadata = tryField "metadata" item |> Option.filter isObject

    let status = tryField "status" item |> Option.filter isObject

    let conditions =
        status
        |> Option.bind (tryField "conditions")
        |> Option.filter (fun value -> value.ValueKind = JsonValueKind.Array)
        |> Option.map (fun value -> List.ofSeq (value.EnumerateArray()))
        |> Option.defaultValue []

    {
        Uid = metadata |> Option.map (textOrEmpty "uid") |> Option.defaultValue ""
        Generation = metadata |> Option.bind (tryInt64 "generation") |> Option.defaultValue 0L
        StatusGeneration = status |> Option.bind (tryInt64 "observedGeneration")
        Ready =
            conditions
            |> List.filter isObject
            |> List.tryFind (fun condition -> textOrEmpty "type" condition = "Ready")
            |> Option.map readyCondition
    }

let private portNumber path (port: JsonElement) =
    match tryField "port" port with
    | None -> Error(FieldFault.Missing path)
    | Some value when value.ValueKind <> JsonValueKind.Number ->
        Error(FieldFault.WrongType(path, "a number", kindOf value))
    | Some value ->
        match value.TryGetInt32() with
        | true, number when number >= 1 && number <= 65535 -> Ok number
        | _ -> Error(FieldFault.BadValue(path, value.GetRawText(), "a whole number from 1 to 65535"))

let private servicePort index (value: JsonElement) : Validation<ServicePort, FieldFault> =
    let path = $"spec.ports[{index}]"

    match asObject path value with
    | Error fault -> Error [ fault ]
    | Ok port -> validation {
        let! name = optionalText $"{path}.name" "name" port
        and! number = portNumber $"{path}.port" port
        and! protocol = optionalText $"{path}.protocol" "protocol" port
        and! appProtocol = optionalText $"{path}.appProtocol" "appProtocol" port

        return {
            Name = name
            Number = number
            Protocol = defaultArg protocol "TCP"
            AppProtocol = appProtocol
        }
      }

let private servicePorts (spec: JsonElement) : Validation<ServicePort list, FieldFault> =
    match tryField "ports" spec with
    | None -> Ok []
    | Some ports when ports.ValueKind <> JsonValueKind.Array ->
        Error [ FieldFault.WrongType("spec.ports", "a list", kindOf ports) ]
    | Some ports ->
        ports.EnumerateArray()
        |> Seq.toList
        |> List.mapi servicePort
        |> List.sequenceValidationA

let private clusterAddress (text: string) =
    match text with
    | "" -> Ok ServiceAddress.Unassigned
    | "None" -> Ok ServiceAddress.Headless
    | _ ->
        match CanonicalAddress.tryParse text with
        | Some address -> Ok(ServiceAddress.ClusterIP address)
        | None ->
            Error(
                FieldFault.BadValue(
                    "spec.clusterIP",
                    text,
                    "None or an IP address such as 10.96.0.1 (decimal, without leading zeros) or fd00::1 (without a zone)"
                )
            )

let private serviceAddress (spec: JsonElement) : Validation<ServiceAddress, FieldFault> = validation {
    let! serviceType = optionalText "spec.type" "type" spec
    and! alias = optionalText "spec.externalName" "externalName" spec

    and! clusterIP =
        optionalText "spec.clusterIP" "clusterIP" spec
        |> Result.map (Option.defaultValue "")

    return!
        if serviceType = Some "ExternalName" then
            Ok(ServiceAddress.ExternalName(defaultArg alias ""))
        else
            clusterAddress clusterIP |> Result.mapError List.singleton
}

/// A Service, with every fault at once.
let service (key: ObjectKey) (manifest: JsonElement) : Result<BackendService, FieldFault list> =
    match requiredObject "spec" "spec" manifest with
    | Error fault -> Error [ fault ]
    | Ok spec -> validation {
        let! address = serviceAddress spec
        and! ports = servicePorts spec

        return {
            Key = key
            Address = address
            Ports = ports
        }
      }

/// A Service as the client library has read it. The API server stores none that is not valid; one with an address that
/// this program cannot read is kept as such.
let typedService (item: V1Service) : BackendService =
    let spec = item.Spec

    let address =
        if spec.Type = "ExternalName" then
            ServiceAddress.ExternalName(string spec.ExternalName)
        else
            match clusterAddress (string spec.ClusterIP) with
            | Ok address -> address
            | Error fault -> ServiceAddress.Unreadable [ fault ]

    let ports =
        match spec.Ports with
        | null -> []
        | ports -> List.ofSeq ports

    {
        Key = ObjectKey.create (string item.Metadata.NamespaceProperty) (string item.Metadata.Name)
        Address = address
        Ports = [
            for port in ports ->
                {
                    Name = Option.ofObj port.Name
                    Number = port.Port
                    Protocol = port.Protocol |> Option.ofObj |> Option.defaultValue "TCP"
                    AppProtocol = Option.ofObj port.AppProtocol
                }
        ]
    }

let private objectName path (text: string) =
    if KubernetesName.isSubdomain text then
        Ok text
    else
        Error(FieldFault.BadValue(path, text, "lower-case letters, digits, '-' and '.'"))

/// An object's key. Without a namespace it is in `default`, where kubectl puts it too.
let key (manifest: JsonElement) : Result<ObjectKey, FieldFault list> =
    match requiredObject "metadata" "metadata" manifest with
    | Error fault -> Error [ fault ]
    | Ok metadata -> validation {
        let! name =
            requiredText "metadata.name" "name" metadata
            |> Result.bind (objectName "metadata.name")

        and! ns =
            optionalText "metadata.namespace" "namespace" metadata
            |> Result.map (Option.defaultValue "default")
            |> Result.bind (objectName "metadata.namespace")

        return ObjectKey.create ns name
      }

/// What an object says it is.
[<RequireQualifiedAccess>]
type Kind =
    | RequestClone
    | Service
    /// A list of objects; of this kind, where the list's own kind says it for those that do not.
    | List of items: JsonElement list * itemKind: string option * itemApiVersion: string
    /// Anything else that could be applied to a cluster.
    | Other
    | Unusable of FieldFault

let private isOurs (apiVersion: string) =
    apiVersion = Group
    || apiVersion.StartsWith(Group + "/", System.StringComparison.OrdinalIgnoreCase)

// RequestClones are in none of Kubernetes' own groups, and a group that is nearly ours is nobody else's.
let private isMeantAsOurs (apiVersion: string) =
    let group = apiVersion.Substring(0, max 0 (apiVersion.IndexOf '/'))

    group = ""
    || (group <> Group && Option.isSome (NearestName.tryFind [ Group ] group))

let private isMeantAs (kind: string) (name: string) =
    name.Equals(kind, System.StringComparison.OrdinalIgnoreCase)
    || name = kind + "s"

let private kindNamed (apiVersion: string) (kindName: string) (manifest: JsonElement) =
    match apiVersion, kindName with
    | ApiVersion, "RequestClone" -> Kind.RequestClone
    | ApiVersion, name when name <> "RequestCloneList" ->
        Kind.Unusable(FieldFault.BadValue("kind", name, "RequestClone"))
    | other, _ when isOurs other && other <> ApiVersion ->
        Kind.Unusable(FieldFault.BadValue("apiVersion", other, ApiVersion))
    | other, name when isMeantAsOurs other && isMeantAs "RequestClone" name ->
        Kind.Unusable(FieldFault.BadValue("apiVersion", other, ApiVersion))
    | "v1", "Service" -> Kind.Service
    | "v1", name when isMeantAs "Service" name -> Kind.Unusable(FieldFault.BadValue("kind", name, "Service"))
    | _, name when name.EndsWith("List", System.StringComparison.Ordinal) ->
        match tryField "items" manifest with
        | Some items when items.ValueKind = JsonValueKind.Array ->
            let itemKind = name.Substring(0, name.Length - "List".Length)

            Kind.List(
                List.ofSeq (items.EnumerateArray()),
                (if itemKind = "" then None else Some itemKind),
                apiVersion
            )
        | Some items -> Kind.Unusable(FieldFault.WrongType("items", "a list", kindOf items))
        // Some kind of another group whose name happens to end so.
        | None -> Kind.Other
    | _ -> Kind.Other

/// Reads `apiVersion` and `kind`; an item of a list takes what it leaves out from `inherited`.
let kind (inherited: (string * string) option) (manifest: JsonElement) : Kind =
    match asObject "the document" manifest with
    | Error fault -> Kind.Unusable fault
    | Ok manifest ->
        let orInherited choose path name =
            match tryField name manifest, inherited with
            | None, Some pair -> Ok(choose pair)
            | _ -> requiredText path name manifest

        match orInherited fst "apiVersion" "apiVersion", orInherited snd "kind" "kind" with
        | Ok apiVersion, Ok kindName -> kindNamed apiVersion kindName manifest
        | Error fault, _
        | _, Error fault -> Kind.Unusable fault
