/// How the client reads objects, and the lines of a watch. Its own way finds the properties of an event when it runs, which
/// a program that is compiled ahead of time does not have; and it reads all of an object twice, the first time only for
/// its kind.
module K8sReq.Kubernetes.WatchEventJson

open System.Text.Json
open System.Text.Json.Serialization
open System.Text.Json.Serialization.Metadata
open k8s
open k8s.Models
open K8sReq.ApiObjects

let private typeOf (name: string | null) : WatchEventType =
    match name with
    | "ADDED" -> WatchEventType.Added
    | "MODIFIED" -> WatchEventType.Modified
    | "DELETED" -> WatchEventType.Deleted
    | "BOOKMARK" -> WatchEventType.Bookmark
    | "ERROR" -> WatchEventType.Error
    | other -> raise (JsonException $"a watch event of the type {other}")

/// The kind and the version of an object; the rest is passed over.
[<Sealed>]
type private KindConverter() =
    inherit JsonConverter<KubernetesObject>()

    override _.Read(reader, _, _) =
        let found = KubernetesObject()
        // What is read first is where the object begins.
        if reader.TokenType <> JsonTokenType.StartObject then
            raise (JsonException "an object is none")

        while reader.Read() && reader.TokenType <> JsonTokenType.EndObject do
            let isKind = reader.ValueTextEquals "kind"B
            let isVersion = not isKind && reader.ValueTextEquals "apiVersion"B
            reader.Read() |> ignore

            if isKind then found.Kind <- reader.GetString()
            elif isVersion then found.ApiVersion <- reader.GetString()
            else reader.Skip()

        found

    override _.Write(_, _, _) = raise (System.NotSupportedException())

[<Sealed>]
type private EventConverter<'T when 'T: not struct and 'T: not null>() =
    inherit JsonConverter<Watcher<'T>.WatchEvent>()

    override _.Read(reader, _, options) =
        let event = Watcher<'T>.WatchEvent()

        if reader.TokenType <> JsonTokenType.StartObject then
            raise (JsonException "a watch event is no object")

        while reader.Read() && reader.TokenType <> JsonTokenType.EndObject do
            let isType = reader.ValueTextEquals "type"B
            let isObject = not isType && reader.ValueTextEquals "object"B
            reader.Read() |> ignore

            if isType then
                event.Type <- typeOf (reader.GetString())
            elif isObject then
                let info = options.GetTypeInfo typeof<'T> :?> JsonTypeInfo<'T>
                event.Object <- Unchecked.nonNull (JsonSerializer.Deserialize(&reader, info))
            else
                reader.Skip()

        event

    override _.Write(_, _, _) = raise (System.NotSupportedException())

let private registration =
    lazy
        (KubernetesJson.AddJsonOptions(fun options ->
            // In place of the client's own, which native code does not have (Native.Substitutions.xml), so that both
            // programs read in the same way.
            options.TypeInfoResolver <-
                JsonTypeInfoResolver.Combine(ApiObjectsContext.Default, DefaultJsonTypeInfoResolver())

            options.Encoder <- PlainJsonEncoder.Instance
            options.Converters.Insert(0, KindConverter())
            options.Converters.Insert(0, EventConverter<KubernetesObject>())
            options.Converters.Insert(0, EventConverter<V1Status>())
            options.Converters.Insert(0, EventConverter<obj>())))

/// To be called before the client reads anything; the first call counts.
let register () : unit = registration.Force()
