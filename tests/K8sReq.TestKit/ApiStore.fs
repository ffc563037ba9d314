namespace K8sReq.TestKit

open System
open System.Collections.Generic
open System.Globalization
open System.IO
open System.Text
open System.Text.Json
open System.Text.Json.Nodes
open System.Text.RegularExpressions
open System.Threading.Channels
open YamlDotNet.Core
open YamlDotNet.RepresentationModel

/// A kind of object that the scripted API server keeps.
type ApiResource = {
    /// Empty for the core group.
    Group: string
    Version: string
    Plural: string
    Kind: string
    Namespaced: bool
    /// Only the status subresource changes `status`.
    HasStatus: bool
    /// As one that a CustomResourceDefinition defines: it has a generation, and no strategic merge patch.
    Custom: bool
    /// A PUT of an object that does not exist creates it.
    CreatesOnUpdate: bool
    /// A PUT may come without a resourceVersion.
    UpdatesBlindly: bool
} with

    member resource.ApiVersion =
        if resource.Group = "" then
            resource.Version
        else
            $"{resource.Group}/{resource.Version}"

    /// As messages name it: "requestclones.proxy.infra.doodle.com".
    member resource.FullName =
        if resource.Group = "" then
            resource.Plural
        else
            $"{resource.Plural}.{resource.Group}"

module ApiResource =
    let private builtIn = {
        Group = ""
        Version = "v1"
        Plural = ""
        Kind = ""
        Namespaced = true
        HasStatus = false
        Custom = false
        CreatesOnUpdate = false
        UpdatesBlindly = true
    }

    let all = [
        {
            builtIn with
                Group = "proxy.infra.doodle.com"
                Version = "v1beta1"
                Plural = "requestclones"
                Kind = "RequestClone"
                HasStatus = true
                Custom = true
                UpdatesBlindly = false
        }
        {
            builtIn with
                Plural = "services"
                Kind = "Service"
                HasStatus = true
        }
        {
            builtIn with
                Plural = "configmaps"
                Kind = "ConfigMap"
        }
        {
            builtIn with
                Plural = "namespaces"
                Kind = "Namespace"
                Namespaced = false
                HasStatus = true
        }
        {
            builtIn with
                Group = "coordination.k8s.io"
                Plural = "leases"
                Kind = "Lease"
                CreatesOnUpdate = true
                UpdatesBlindly = false
        }
        {
            builtIn with
                Group = "events.k8s.io"
                Plural = "events"
                Kind = "Event"
                CreatesOnUpdate = true
        }
        {
            builtIn with
                Group = "discovery.k8s.io"
                Plural = "endpointslices"
                Kind = "EndpointSlice"
        }
        {
            builtIn with
                Group = "apiextensions.k8s.io"
                Plural = "customresourcedefinitions"
                Kind = "CustomResourceDefinition"
                Namespaced = false
        }
    ]

/// A request that is answered with a Status object.
type Refusal = {
    Code: int
    Reason: string
    Message: string
    /// In seconds.
    RetryAfter: int option
}

exception Refused of Refusal

module Refusal =
    let reasonOf (code: int) =
        match code with
        | 400 -> "BadRequest"
        | 401 -> "Unauthorized"
        | 403 -> "Forbidden"
        | 404 -> "NotFound"
        | 405 -> "MethodNotAllowed"
        | 409 -> "Conflict"
        | 410 -> "Expired"
        | 413 -> "RequestEntityTooLarge"
        | 415 -> "UnsupportedMediaType"
        | 422 -> "Invalid"
        | 429 -> "TooManyRequests"
        | 503 -> "ServiceUnavailable"
        | 504 -> "Timeout"
        | _ -> "InternalError"

    let create (code: int) (message: string) = {
        Code = code
        Reason = reasonOf code
        Message = message
        RetryAfter = None
    }

    let raise' (code: int) (message: string) : 'T = raise (Refused(create code message))

    let expired (requested: int64) (oldest: int64) =
        create 410 $"too old resource version: {requested} ({oldest})"

    /// The Status object of the Kubernetes API.
    let toJson (refusal: Refusal) : JsonObject =
        let status = JsonObject()
        status["kind"] <- JsonValue.Create "Status"
        status["apiVersion"] <- JsonValue.Create "v1"
        status["metadata"] <- JsonObject()
        status["status"] <- JsonValue.Create "Failure"
        status["message"] <- JsonValue.Create refusal.Message
        status["reason"] <- JsonValue.Create refusal.Reason

        match refusal.RetryAfter with
        | Some seconds ->
            let details = JsonObject()
            details["retryAfterSeconds"] <- JsonValue.Create seconds
            status["details"] <- details
        | None -> ()

        status["code"] <- JsonValue.Create refusal.Code
        status

module Json =
    let asObject (node: JsonNode | null) : JsonObject option =
        match node with
        | :? JsonObject as found -> Some found
        | _ -> None

    let child (name: string) (parent: JsonObject) : JsonObject option = asObject parent[name]

    let text (name: string) (parent: JsonObject) : string option =
        match parent[name] with
        | :? JsonValue as value when value.GetValueKind() = JsonValueKind.String ->
            Some(value.GetValue<string>())
        | _ -> None

    let clone (node: JsonNode | null) : JsonNode | null =
        match node with
        | null -> null
        | node -> node.DeepClone()

    /// Puts a copy of the field there, or takes the field away where there is none to copy.
    let copyField (name: string) (source: JsonObject) (target: JsonObject) =
        match clone source[name] with
        | null -> target.Remove name |> ignore
        | value -> target[name] <- value

    let parseObject (text: string) : JsonObject =
        match JsonNode.Parse text with
        | :? JsonObject as parsed -> parsed
        | _ -> raise (JsonException "This is no JSON object.")

    let private fromScalar (scalar: YamlScalarNode) : JsonNode | null =
        let value =
            match scalar.Value with
            | null -> ""
            | value -> value

        let isNumber, number =
            Int64.TryParse(value, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture)

        match value with
        | _ when scalar.Style <> ScalarStyle.Plain -> JsonValue.Create value
        | ""
        | "~"
        | "null" -> null
        | "true" -> JsonValue.Create true
        | "false" -> JsonValue.Create false
        | _ when isNumber -> JsonValue.Create number
        | _ -> JsonValue.Create value

    let rec private fromYaml (node: YamlNode) : JsonNode | null =
        match node with
        | :? YamlMappingNode as mapping ->
            let result = JsonObject()

            for pair in mapping.Children do
                result[string pair.Key] <- fromYaml pair.Value

            result
        | :? YamlSequenceNode as sequence ->
            let result = JsonArray()

            for item in sequence.Children do
                result.Add(fromYaml item)

            result
        | :? YamlScalarNode as scalar -> fromScalar scalar
        | _ -> null

    /// The documents of a manifest in JSON or YAML.
    let parseManifests (text: string) : JsonObject list =
        if text.TrimStart().StartsWith '{' then
            // The quick way; a flow mapping of YAML comes here too, and is none of JSON's.
            try
                [ parseObject text ]
            with :? JsonException ->
                let stream = YamlStream()
                stream.Load(new StringReader(text))

                [ for document in stream.Documents -> fromYaml document.RootNode ]
                |> List.choose asObject
        else
            let stream = YamlStream()
            stream.Load(new StringReader(text))

            [ for document in stream.Documents -> fromYaml document.RootNode ]
            |> List.choose asObject

/// Label and field selectors.
module Selector =
    [<RequireQualifiedAccess>]
    type Requirement =
        | Exists of string
        | Missing of string
        | In of string * Set<string>
        | NotIn of string * Set<string>

    // Commas inside parentheses separate values, not requirements.
    let private split (text: string) =
        let parts = ResizeArray [ StringBuilder() ]
        let mutable depth = 0

        for character in text do
            match character with
            | ',' when depth = 0 -> parts.Add(StringBuilder())
            | _ ->
                if character = '(' then
                    depth <- depth + 1

                if character = ')' then
                    depth <- depth - 1

                parts[parts.Count - 1].Append character |> ignore

        parts
        |> Seq.map (fun part -> string(part).Trim())
        |> Seq.filter ((<>) "")
        |> List.ofSeq

    let private one (text: string) : Requirement =
        let words =
            text.Split(' ', StringSplitOptions.RemoveEmptyEntries ||| StringSplitOptions.TrimEntries)

        let values () =
            match text.IndexOf '(', text.IndexOf ')' with
            | first, last when first >= 0 && last > first ->
                text.Substring(first + 1, last - first - 1).Split(',', StringSplitOptions.TrimEntries)
                |> Set.ofArray
            | _ -> Refusal.raise' 400 $"unable to parse requirement: {text}"

        let sides (operator: string) =
            let index = text.IndexOf(operator, StringComparison.Ordinal)
            text.Substring(0, index).Trim(), Set.singleton (text.Substring(index + operator.Length).Trim())

        if words.Length > 1 && (words[1] = "in" || words[1].StartsWith "in(") then
            Requirement.In(words[0], values ())
        elif words.Length > 1 && (words[1] = "notin" || words[1].StartsWith "notin(") then
            Requirement.NotIn(words[0], values ())
        elif text.Contains "!=" then
            Requirement.NotIn(sides "!=")
        elif text.Contains "==" then
            Requirement.In(sides "==")
        elif text.Contains '=' then
            Requirement.In(sides "=")
        elif text.StartsWith '!' then
            Requirement.Missing(text.Substring(1).Trim())
        elif words.Length = 1 && text.IndexOfAny [| '('; ')'; '<'; '>'; '!' |] < 0 then
            Requirement.Exists text
        else
            Refusal.raise' 400 $"unable to parse requirement: {text}"

    let parse (text: string) : Requirement list = split text |> List.map one

    let matches (requirements: Requirement list) (labels: IReadOnlyDictionary<string, string>) =
        let isMet requirement =
            match requirement with
            | Requirement.Exists key -> labels.ContainsKey key
            | Requirement.Missing key -> not (labels.ContainsKey key)
            | Requirement.In(key, values) -> labels.ContainsKey key && values.Contains labels[key]
            | Requirement.NotIn(key, values) -> not (labels.ContainsKey key && values.Contains labels[key])

        requirements |> List.forall isMet

    /// Only names can be selected by field, and namespaces.
    let parseFields (text: string) : Requirement list =
        let requirements = parse text

        for requirement in requirements do
            match requirement with
            | Requirement.In(("metadata.name" | "metadata.namespace"), _)
            | Requirement.NotIn(("metadata.name" | "metadata.namespace"), _) -> ()
            | Requirement.In(key, _)
            | Requirement.NotIn(key, _)
            | Requirement.Exists key
            | Requirement.Missing key -> Refusal.raise' 400 $"field label not supported: {key}"

        requirements

/// How a PATCH changes an object.
module Patch =
    /// A JSON merge patch (RFC 7396); changes the target in place where it is an object.
    let rec merge (target: JsonNode | null) (patch: JsonNode | null) : JsonNode | null =
        match patch with
        | :? JsonObject as patch ->
            let result =
                match target with
                | :? JsonObject as target -> target
                | _ -> JsonObject()

            for pair in patch do
                match pair.Value with
                | null -> result.Remove pair.Key |> ignore
                | value ->
                    let before = result[pair.Key]
                    let after = merge before value

                    if not (obj.ReferenceEquals(before, after)) then
                        result[pair.Key] <- after

            result
        | _ -> Json.clone patch

    /// The way to a field. Entries of a list map are named by their key.
    type FieldPath = string list

    // The lists whose entries are merged by a key; all others are replaced as a whole.
    let private keyOf (path: FieldPath) =
        match path with
        | [ "status"; "conditions" ] -> Some "type"
        | _ -> None

    let private entryName (key: string) (entry: JsonNode | null) =
        match Json.asObject entry |> Option.bind (Json.text key) with
        | Some value -> $"[{key}={value}]"
        | None -> Refusal.raise' 422 $"an entry of a list map has no {key}"

    let private findEntry (key: string) (name: string) (entries: JsonArray) =
        entries
        |> Seq.tryFind (fun entry -> entryName key entry = name)
        |> Option.bind Json.asObject

    /// Every field of an applied configuration that its manager owns, with its value.
    let rec fields (path: FieldPath) (node: JsonNode | null) : (FieldPath * (JsonNode | null)) list =
        match node, keyOf path with
        | (:? JsonArray as entries), Some key -> [
            for entry in entries do
                yield! fields (path @ [ entryName key entry ]) entry
          ]
        | (:? JsonObject as parent), _ when parent.Count > 0 -> [
            for pair in parent do
                yield! fields (path @ [ pair.Key ]) pair.Value
          ]
        | _ -> [ path, node ]

    /// Puts an applied configuration over an object.
    let rec apply (path: FieldPath) (target: JsonNode | null) (patch: JsonNode | null) : JsonNode | null =
        match patch, keyOf path with
        | (:? JsonArray as patch), Some key ->
            let result =
                match target with
                | :? JsonArray as target -> target
                | _ -> JsonArray()

            for entry in patch do
                let name = entryName key entry

                match findEntry key name result with
                | Some existing -> apply (path @ [ name ]) existing entry |> ignore
                | None -> result.Add(Json.clone entry)

            result
        | (:? JsonObject as patch), _ ->
            let result =
                match target with
                | :? JsonObject as target -> target
                | _ -> JsonObject()

            for pair in patch do
                let before = result[pair.Key]
                let after = apply (path @ [ pair.Key ]) before pair.Value

                if not (obj.ReferenceEquals(before, after)) then
                    result[pair.Key] <- after

            result
        | _ -> Json.clone patch

    /// The value at a path, if there is the field.
    let rec find (path: FieldPath) (seen: FieldPath) (node: JsonNode | null) : (JsonNode | null) option =
        match path, node with
        | [], _ -> Some node
        | step :: rest, (:? JsonObject as parent) ->
            if parent.ContainsKey step then
                find rest (seen @ [ step ]) parent[step]
            else
                None
        | step :: rest, (:? JsonArray as entries) ->
            keyOf seen
            |> Option.bind (fun key -> findEntry key step entries)
            |> Option.bind (fun entry -> find rest (seen @ [ step ]) entry)
        | _ -> None

    /// Takes away a field that its last owner no longer applies, and the list entry that is empty without it.
    let rec remove (path: FieldPath) (seen: FieldPath) (node: JsonNode | null) : unit =
        match path, node with
        | [ last ], (:? JsonObject as parent) -> parent.Remove last |> ignore
        | step :: rest, (:? JsonObject as parent) -> remove rest (seen @ [ step ]) parent[step]
        | step :: rest, (:? JsonArray as entries) ->
            match keyOf seen |> Option.bind (fun key -> findEntry key step entries) with
            | None -> ()
            | Some entry ->
                // The key goes last, or the entry could not be found for its other fields.
                match keyOf seen with
                | Some key when rest = [ key ] -> entries.Remove entry |> ignore
                | _ -> remove rest (seen @ [ step ]) entry
        | _ -> ()

/// One version of one object; never changed.
type StoredObject = {
    Resource: ApiResource
    /// Empty for an object without one.
    Namespace: string
    Name: string
    Uid: string
    Revision: int64
    Labels: IReadOnlyDictionary<string, string>
    /// As JSON; apiVersion and kind come first.
    Bytes: byte[]
    /// Which fields each manager has applied.
    Owned: Map<string, Set<Patch.FieldPath>>
} with

    member stored.Parse() : JsonObject =
        Json.parseObject (Encoding.UTF8.GetString stored.Bytes)

[<RequireQualifiedAccess>]
type ChangeKind =
    | Added
    | Modified
    | Deleted

/// What became of one object at one revision.
type Change = {
    Kind: ChangeKind
    Object: StoredObject
    Previous: StoredObject option
}

/// A request, as faults and tests see it.
type ApiRequest = {
    Method: string
    Path: string
    Query: Map<string, string>
    IsWatch: bool
    /// The plural; empty for a path that is none of a resource.
    Resource: string
    Namespace: string option
    Name: string option
    Subresource: string option
    UserAgent: string
    ContentType: string
    Body: string
}

[<RequireQualifiedAccess>]
type WatchItem =
    | Change of Change
    /// The second field: it ends the initial events.
    | Bookmark of int64 * bool
    | Line of string
    | End
    | TimedOut
    | Reset
    | Stall

/// Which objects a list or watch is about.
type Scope = {
    Namespace: string option
    Labels: Selector.Requirement list
    Fields: Selector.Requirement list
} with

    /// Whether an object may ever be in it: neither name nor namespace change.
    member scope.Covers(stored: StoredObject) =
        (scope.Namespace.IsNone || scope.Namespace = Some stored.Namespace)
        && (scope.Fields.IsEmpty
            || Selector.matches
                scope.Fields
                (dict [ "metadata.name", stored.Name; "metadata.namespace", stored.Namespace ]
                 |> Dictionary))

    member scope.Matches(stored: StoredObject) =
        scope.Covers stored && Selector.matches scope.Labels stored.Labels

/// An open watch.
[<Sealed>]
type Watcher(request: ApiRequest, resource: ApiResource, scope: Scope, bookmarks: bool) =
    let items =
        Channel.CreateUnbounded<WatchItem>(UnboundedChannelOptions(SingleReader = true))

    member _.Request = request
    member _.Resource = resource
    member _.Scope = scope
    member _.Bookmarks = bookmarks
    member _.Items = items.Reader
    member _.Push(item: WatchItem) = items.Writer.TryWrite item |> ignore

/// A page of a list.
type Page = {
    Revision: int64
    Items: ArraySegment<StoredObject>
    Continue: string option
    Remaining: int option
}

[<RequireQualifiedAccess>]
type Part =
    | Main
    | Status
    /// Both, as no request could: for the test itself.
    | Everything

[<Sealed>]
type private Table(resource: ApiResource) =
    member _.Resource = resource
    /// By namespace and name.
    member val Objects: Map<string, Map<string, StoredObject>> = Map.empty with get, set
    /// In the order of their revisions.
    member val History = ResizeArray<Change>()
    /// Changes up to this revision are no longer known.
    member val Forgotten = 0L with get, set
    member val Watchers = HashSet<Watcher>(HashIdentity.Reference)

/// What may be an object's name. Services and namespaces have narrower rules; no test needs them.
module private ObjectName =
    let private subdomain =
        Regex @"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\z"

    let isValid (name: string) =
        name.Length <= 253 && subdomain.IsMatch name

    /// A prefix may end with a hyphen, as something follows it; with a dot it may not.
    let maskTrailingDash (prefix: string) =
        if prefix.Length > 1 && prefix.EndsWith '-' then
            prefix.Substring(0, prefix.Length - 2) + "a"
        else
            prefix

    let refuse (resource: ApiResource) (name: string) (field: string) (value: string) : 'T =
        let why =
            if value.Length > 253 then
                "must be no more than 253 characters"
            else
                "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"

        Refusal.raise'
            422
            $"{resource.Kind} \"{name}\" is invalid: {field}: Invalid value: \"{value}\": {why}"

/// The objects, their history and who watches them.
[<Sealed>]
type ApiStore(historyLimit: int) =
    let gate = obj ()
    let mutable revision = 1L
    let mutable lastSnapshot = 0L
    let snapshots = Dictionary<int64, int64 * StoredObject[]>()
    let snapshotOrder = Queue<int64>()

    let tables =
        dict [
            for resource in ApiResource.all do
                (resource.Group, resource.Plural), Table resource
        ]

    let tableOf (resource: ApiResource) =
        tables[(resource.Group, resource.Plural)]

    let notFound (resource: ApiResource) name =
        Refusal.raise' 404 $"{resource.FullName} \"{name}\" not found"

    let conflict (resource: ApiResource) name why =
        Refusal.raise' 409 $"Operation cannot be fulfilled on {resource.FullName} \"{name}\": {why}"

    let tryFind (table: Table) ns name =
        table.Objects |> Map.tryFind ns |> Option.bind (Map.tryFind name)

    let find (table: Table) ns name =
        match tryFind table ns name with
        | Some stored -> stored
        | None -> notFound table.Resource name

    let serialise (resource: ApiResource) (node: JsonObject) =
        use buffer = new MemoryStream()
        use writer = new Utf8JsonWriter(buffer)
        writer.WriteStartObject()
        writer.WriteString("apiVersion", resource.ApiVersion)
        writer.WriteString("kind", resource.Kind)

        for pair in node do
            if pair.Key <> "apiVersion" && pair.Key <> "kind" then
                writer.WritePropertyName pair.Key

                match pair.Value with
                | null -> writer.WriteNullValue()
                | value -> value.WriteTo writer

        writer.WriteEndObject()
        writer.Flush()
        buffer.ToArray()

    let metadataOf (node: JsonObject) =
        match Json.child "metadata" node with
        | Some metadata -> metadata
        | None ->
            let metadata = JsonObject()
            node["metadata"] <- metadata
            metadata

    let labelsOf (metadata: JsonObject) =
        let labels = Dictionary<string, string>()

        match Json.child "labels" metadata with
        | None -> ()
        | Some found ->
            for pair in found do
                match Json.text pair.Key found with
                | Some value -> labels[pair.Key] <- value
                | None -> Refusal.raise' 400 $"the label {pair.Key} is no string"

        labels

    let forget (table: Table) count =
        table.Forgotten <- table.History[count - 1].Object.Revision
        table.History.RemoveRange(0, count)

    // Under the lock, as everything that counts the revision up: watchers get changes in their order.
    let commit (table: Table) kind ns name (previous: StoredObject option) owned (node: JsonObject) =
        let metadata = metadataOf node
        let labels = labelsOf metadata
        revision <- revision + 1L
        metadata["resourceVersion"] <- JsonValue.Create(string revision)

        let stored = {
            Resource = table.Resource
            Namespace = ns
            Name = name
            Uid = Json.text "uid" metadata |> Option.defaultValue ""
            Revision = revision
            Labels = labels
            Bytes = serialise table.Resource node
            Owned = owned
        }

        let inside = table.Objects |> Map.tryFind ns |> Option.defaultValue Map.empty

        let inside =
            match kind with
            | ChangeKind.Deleted -> Map.remove name inside
            | _ -> Map.add name stored inside

        table.Objects <-
            if inside.IsEmpty then
                Map.remove ns table.Objects
            else
                Map.add ns inside table.Objects

        let change = {
            Kind = kind
            Object = stored
            Previous = previous
        }

        table.History.Add change

        // Half at a time: each one would move all the others.
        if table.History.Count > historyLimit then
            forget table (table.History.Count - historyLimit / 2)

        for watcher in table.Watchers do
            if watcher.Scope.Covers stored then
                watcher.Push(WatchItem.Change change)

        stored

    let suffix () =
        String(
            Array.init 5 (fun _ ->
                let letters = "bcdfghjklmnpqrstvwxz2456789"
                letters[Random.Shared.Next letters.Length])
        )

    let checkKind (resource: ApiResource) (node: JsonObject) =
        let check name expected =
            match Json.text name node with
            | Some found when found <> expected ->
                Refusal.raise'
                    400
                    $"the {name} in the data ({found}) does not match the expected {name} ({expected})"
            | _ -> ()

        check "apiVersion" resource.ApiVersion
        check "kind" resource.Kind

    let normalise (metadata: JsonObject) =
        metadata.Remove "managedFields" |> ignore

        // An empty map and none are the same.
        for name in [ "labels"; "annotations" ] do
            match metadata[name] with
            | null -> metadata.Remove name |> ignore
            | :? JsonObject as map when map.Count = 0 -> metadata.Remove name |> ignore
            | _ -> ()

    let create (table: Table) ns (name: string option) part owned (node: JsonObject) =
        let resource = table.Resource
        checkKind resource node
        let metadata = metadataOf node

        let name =
            match Json.text "name" metadata, Json.text "generateName" metadata, name with
            | Some inside, _, Some outside when inside <> "" && inside <> outside ->
                Refusal.raise'
                    400
                    $"the name of the object ({inside}) does not match the name on the URL ({outside})"
            | _, _, Some name -> name
            | Some name, _, None when name <> "" -> name
            | _, Some prefix, None when prefix <> "" -> prefix + suffix ()
            | _ ->
                Refusal.raise'
                    422
                    $"{resource.Kind}.{resource.Group} \"\" is invalid: metadata.name: Required value: name or generateName is required"

        match name, Json.text "generateName" metadata with
        | generated, Some prefix when
            prefix <> ""
            && generated.StartsWith prefix
            && not (ObjectName.isValid (ObjectName.maskTrailingDash prefix))
            ->
            ObjectName.refuse resource name "metadata.generateName" prefix
        | name, _ when not (ObjectName.isValid name) -> ObjectName.refuse resource name "metadata.name" name
        | _ -> ()

        match Json.text "namespace" metadata with
        | Some inside when resource.Namespaced && inside <> "" && inside <> ns ->
            Refusal.raise'
                400
                "the namespace of the provided object does not match the namespace sent on the request"
        | _ -> ()

        match tryFind table ns name with
        | Some _ ->
            raise (
                Refused {
                    Refusal.create 409 $"{resource.FullName} \"{name}\" already exists" with
                        Reason = "AlreadyExists"
                }
            )
        | None -> ()

        if resource.HasStatus && part = Part.Main then
            node.Remove "status" |> ignore

        metadata["name"] <- JsonValue.Create name

        if resource.Namespaced then
            metadata["namespace"] <- JsonValue.Create ns
        else
            metadata.Remove "namespace" |> ignore

        metadata["uid"] <- JsonValue.Create(Guid.NewGuid().ToString())

        metadata["creationTimestamp"] <-
            JsonValue.Create(
                DateTime.UtcNow.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture)
            )

        normalise metadata

        if resource.Custom then
            metadata["generation"] <- JsonValue.Create 1
        else
            metadata.Remove "generation" |> ignore

        commit table ChangeKind.Added ns name None owned node

    let checkPreconditions (resource: ApiResource) (existing: StoredObject) (given: JsonObject option) =
        let given name =
            given |> Option.bind (Json.text name) |> Option.filter ((<>) "")

        match given "uid" with
        | Some uid when uid <> existing.Uid ->
            conflict
                resource
                existing.Name
                $"Precondition failed: UID in precondition: {uid}, UID in object meta: {existing.Uid}"
        | _ -> ()

        match given "resourceVersion" with
        | Some version when version <> string existing.Revision ->
            conflict
                resource
                existing.Name
                "the object has been modified; please apply your changes to the latest version and try again"
        | _ -> ()

    let withoutFrame (node: JsonObject) =
        let rest = Json.clone node |> Json.asObject |> Option.get

        for name in [ "apiVersion"; "kind"; "metadata"; "status" ] do
            rest.Remove name |> ignore

        rest

    let update (table: Table) (existing: StoredObject) part owned (proposed: JsonObject) =
        let resource = table.Resource
        checkKind resource proposed
        let old = existing.Parse()
        let oldMetadata = metadataOf old

        match Json.child "metadata" proposed |> Option.bind (Json.text "name") with
        | Some name when name <> "" && name <> existing.Name ->
            Refusal.raise'
                400
                $"the name of the object ({name}) does not match the name on the URL ({existing.Name})"
        | _ -> ()

        let next =
            match part with
            | Part.Status ->
                let next = existing.Parse()
                Json.copyField "status" proposed next
                next
            | Part.Main when resource.HasStatus ->
                Json.copyField "status" old proposed
                proposed
            | Part.Main
            | Part.Everything -> proposed

        Json.copyField "apiVersion" old next
        Json.copyField "kind" old next
        let metadata = metadataOf next

        for name in
            [
                "name"
                "namespace"
                "uid"
                "creationTimestamp"
                "generateName"
                "generation"
                "resourceVersion"
            ] do
            Json.copyField name oldMetadata metadata

        normalise metadata

        if JsonNode.DeepEquals(old, next) then
            if owned <> existing.Owned then
                let same = { existing with Owned = owned }

                table.Objects <-
                    table.Objects
                    |> Map.add
                        existing.Namespace
                        (table.Objects[existing.Namespace] |> Map.add existing.Name same)

            existing
        else
            if
                resource.Custom
                && not (JsonNode.DeepEquals(withoutFrame old, withoutFrame next))
            then
                let generation =
                    match oldMetadata["generation"] with
                    | null -> 1L
                    | value -> value.GetValue<int64>() + 1L

                metadata["generation"] <- JsonValue.Create generation

            commit table ChangeKind.Modified existing.Namespace existing.Name (Some existing) owned next

    let delete (table: Table) (existing: StoredObject) =
        let node = existing.Parse()

        commit table ChangeKind.Deleted existing.Namespace existing.Name (Some existing) existing.Owned node

    let parseRevision (text: string) =
        match Int64.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture) with
        | true, revision -> revision
        | _ ->
            Refusal.raise'
                400
                $"resourceVersion: Invalid value: \"{text}\": strconv.ParseUint: invalid syntax"

    let select (table: Table) (scope: Scope) =
        let insides =
            match scope.Namespace with
            | Some ns -> table.Objects |> Map.tryFind ns |> Option.toList |> Seq.ofList
            | None -> table.Objects |> Seq.map _.Value

        [|
            for inside in insides do
                for pair in inside do
                    if scope.Matches pair.Value then
                        pair.Value
        |]

    let pageOf snapshot (pinned: int64, items: StoredObject[]) offset limit countable =
        let count = min limit (items.Length - offset)
        let left = items.Length - offset - count

        {
            Revision = pinned
            Items = ArraySegment(items, offset, count)
            Continue =
                if left = 0 then
                    None
                else
                    let countable = if countable then 1 else 0

                    Some(
                        Convert.ToBase64String(
                            Encoding.ASCII.GetBytes $"{snapshot}:{offset + count}:{countable}"
                        )
                    )
            Remaining = if left > 0 && countable then Some left else None
        }

    /// Which kind a manifest is of.
    member _.ResourceOf(node: JsonObject) : ApiResource =
        ApiResource.all
        |> List.tryFind (fun resource ->
            Json.text "apiVersion" node = Some resource.ApiVersion
            && Json.text "kind" node = Some resource.Kind)
        |> Option.defaultWith (fun () -> failwith $"no resource for {node.ToJsonString()}")

    member _.Revision = lock gate (fun () -> revision)

    member _.TryGet(resource, ns, name) : StoredObject option =
        lock gate (fun () -> tryFind (tableOf resource) ns name)

    member _.Get(resource, ns, name) : StoredObject =
        lock gate (fun () -> find (tableOf resource) ns name)

    member _.Create(resource, ns, node: JsonObject) : StoredObject =
        lock gate (fun () -> create (tableOf resource) ns None Part.Main Map.empty node)

    /// Creates or replaces the object, its status too if there is one.
    member _.Put(resource, ns, name, node: JsonObject) : StoredObject =
        lock gate (fun () ->
            let table = tableOf resource

            match tryFind table ns name with
            | None -> create table ns (Some name) Part.Everything Map.empty node
            | Some existing ->
                if not (node.ContainsKey "status") then
                    Json.copyField "status" (existing.Parse()) node

                update table existing Part.Everything existing.Owned node)

    /// What a PUT does; true with it if the object is new.
    member _.Replace(resource: ApiResource, ns, name, part, node: JsonObject) : StoredObject * bool =
        lock gate (fun () ->
            let table = tableOf resource

            match tryFind table ns name with
            | None when resource.CreatesOnUpdate && part = Part.Main ->
                create table ns (Some name) Part.Main Map.empty node, true
            | None -> notFound resource name
            | Some existing ->
                let given = Json.child "metadata" node

                if
                    not resource.UpdatesBlindly
                    && (given |> Option.bind (Json.text "resourceVersion") |> Option.defaultValue "") = ""
                then
                    Refusal.raise'
                        422
                        $"{resource.FullName} \"{name}\" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update"

                checkPreconditions resource existing given
                update table existing part existing.Owned node, false)

    member _.Merge(resource: ApiResource, ns, name, part, patch: JsonObject) : StoredObject =
        lock gate (fun () ->
            let table = tableOf resource
            let existing = find table ns name
            checkPreconditions resource existing (Json.child "metadata" patch)

            match Patch.merge (existing.Parse()) patch with
            | :? JsonObject as next -> update table existing part existing.Owned next
            | _ -> Refusal.raise' 400 "the patch is no object")

    /// Server-side apply; true with it if the object is new.
    member _.Apply(resource: ApiResource, ns, name, part, manager: string, force: bool, patch: JsonObject) =
        lock gate (fun () ->
            let table = tableOf resource

            for field in [ "apiVersion"; "kind" ] do
                if (Json.text field patch).IsNone then
                    Refusal.raise' 400 $"{field} must be set in an applied object"

            checkKind resource patch
            let given = Json.child "metadata" patch

            if given |> Option.exists (fun metadata -> metadata.ContainsKey "managedFields") then
                Refusal.raise' 400 "metadata.managedFields must be nil"

            let body =
                let copy = Json.clone patch |> Json.asObject |> Option.get

                for field in [ "apiVersion"; "kind" ] do
                    copy.Remove field |> ignore

                match Json.child "metadata" copy with
                | None -> ()
                | Some metadata ->
                    for field in [ "name"; "namespace"; "uid"; "resourceVersion" ] do
                        metadata.Remove field |> ignore

                    if metadata.Count = 0 then
                        copy.Remove "metadata" |> ignore

                // What this request cannot change, it does not own.
                match part with
                | Part.Status ->
                    for field in copy |> Seq.map _.Key |> List.ofSeq do
                        if field <> "status" then
                            copy.Remove field |> ignore
                | Part.Main when resource.HasStatus -> copy.Remove "status" |> ignore
                | _ -> ()

                copy

            let applied = Patch.fields [] body |> List.filter (fun (path, _) -> path <> [])
            let paths = applied |> List.map fst |> Set.ofList
            let owner = if part = Part.Status then manager + "/status" else manager

            match tryFind table ns name with
            | None when part = Part.Status -> notFound resource name
            | None -> create table ns (Some name) Part.Main (Map.ofList [ owner, paths ]) patch, true
            | Some existing ->
                checkPreconditions resource existing given
                let node = existing.Parse()
                let others = existing.Owned |> Map.remove owner

                let contested = [
                    for path, value in applied do
                        match Patch.find path [] node with
                        | Some present when not (JsonNode.DeepEquals(present, value)) ->
                            for pair in others do
                                if pair.Value.Contains path then
                                    pair.Key, path
                        | _ -> ()
                ]

                match contested with
                | (other, path) :: _ when not force ->
                    let field = String.concat "." path

                    Refusal.raise'
                        409
                        $"Apply failed with {contested.Length} conflict: conflict with \"{other}\": .{field}"
                | _ -> ()

                let taken = contested |> List.map snd |> Set.ofList
                let others = others |> Map.map (fun _ owned -> Set.difference owned taken)
                let before = existing.Owned |> Map.tryFind owner |> Option.defaultValue Set.empty
                let stillOwned = others |> Map.values |> Set.unionMany

                for path in Set.difference (Set.difference before paths) stillOwned do
                    Patch.remove path [] node

                Patch.apply [] node body |> ignore
                update table existing part (Map.add owner paths others) node, false)

    /// None if the object did not exist.
    member _.TryDelete(resource, ns, name) : StoredObject option =
        lock gate (fun () ->
            let table = tableOf resource
            tryFind table ns name |> Option.map (delete table))

    member _.Delete(resource, ns, name, preconditions: JsonObject option) : StoredObject =
        lock gate (fun () ->
            let table = tableOf resource
            let existing = find table ns name
            checkPreconditions resource existing preconditions
            delete table existing)

    member _.DeleteAll(resource, scope: Scope) =
        lock gate (fun () ->
            let table = tableOf resource

            for stored in select table scope do
                delete table stored |> ignore)

    member _.List(resource, scope: Scope, limit: int option, ``continue``: string option) : Page =
        lock gate (fun () ->
            match ``continue`` with
            | Some token ->
                let parts =
                    try
                        Encoding.ASCII.GetString(Convert.FromBase64String token).Split ':'
                        |> Array.map int64
                    with :? FormatException -> [||]

                if parts.Length <> 3 then
                    Refusal.raise' 400 "continue key is not valid"

                match snapshots.TryGetValue parts[0] with
                | true, snapshot ->
                    pageOf parts[0] snapshot (int parts[1]) (defaultArg limit Int32.MaxValue) (parts[2] = 1L)
                | _ ->
                    Refusal.raise'
                        410
                        "The provided continue parameter is too old to display a consistent list result. You must start a new list without the continue parameter."
            | None ->
                let items = select (tableOf resource) scope
                let limit = defaultArg limit Int32.MaxValue
                lastSnapshot <- lastSnapshot + 1L

                if items.Length > limit then
                    snapshots[lastSnapshot] <- (revision, items)
                    snapshotOrder.Enqueue lastSnapshot

                    if snapshotOrder.Count > 512 then
                        snapshots.Remove(snapshotOrder.Dequeue()) |> ignore

                pageOf lastSnapshot (revision, items) 0 limit (scope.Labels.IsEmpty && scope.Fields.IsEmpty))

    /// Opens a watch: what it has missed since the resourceVersion comes first, or everything there is without one.
    member _.Watch(watcher: Watcher, resourceVersion: string option) : Result<unit, Refusal> =
        lock gate (fun () ->
            let table = tableOf watcher.Resource

            match resourceVersion with
            | None
            | Some ""
            | Some "0" ->
                for stored in select table watcher.Scope do
                    watcher.Push(
                        WatchItem.Change {
                            Kind = ChangeKind.Added
                            Object = stored
                            Previous = None
                        }
                    )

                if watcher.Bookmarks && watcher.Request.Query.ContainsKey "sendInitialEvents" then
                    watcher.Push(WatchItem.Bookmark(revision, true))

                table.Watchers.Add watcher |> ignore
                Ok()
            | Some text ->
                let since = parseRevision text

                if since < table.Forgotten then
                    Error(Refusal.expired since table.Forgotten)
                else
                    // The first change after it.
                    let mutable low = 0
                    let mutable high = table.History.Count

                    while low < high do
                        let middle = (low + high) / 2

                        if table.History[middle].Object.Revision <= since then
                            low <- middle + 1
                        else
                            high <- middle

                    for index in low .. table.History.Count - 1 do
                        let change = table.History[index]

                        if watcher.Scope.Covers change.Object then
                            watcher.Push(WatchItem.Change change)

                    table.Watchers.Add watcher |> ignore
                    Ok())

    member _.Unwatch(watcher: Watcher) =
        lock gate (fun () -> (tableOf watcher.Resource).Watchers.Remove watcher |> ignore)

    /// Gives this to every open watch, behind all that has happened so far; how many there were.
    member _.PushAll(where: Watcher -> bool, item: int64 -> WatchItem) : int =
        lock gate (fun () ->
            let watchers = [
                for table in tables.Values do
                    yield! table.Watchers |> Seq.filter where
            ]

            for watcher in watchers do
                watcher.Push(item revision)

            watchers.Length)

    member _.OpenWatches =
        lock gate (fun () -> tables.Values |> Seq.sumBy _.Watchers.Count)

    /// Drops the history and the snapshots of lists: every resourceVersion that was ever given out is expired.
    member _.Forget() =
        lock gate (fun () ->
            revision <- revision + 1L
            snapshots.Clear()
            snapshotOrder.Clear()

            for table in tables.Values do
                table.History.Clear()
                table.Forgotten <- revision)
