using System.Collections.Generic;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization;
using k8s.KubeConfigModels;
using k8s.Models;

namespace K8sReq.ApiObjects;

/// <summary>
/// How what is exchanged with the API server is read and written, in place of the Kubernetes client's own context, which
/// knows every object of Kubernetes. What is not named here is left to reflection, which a program that is compiled ahead
/// of time does not have: it cannot be read there. In C#, because what writes the rest of it is a generator of C#.
/// </summary>
[JsonSourceGenerationOptions(GenerationMode = JsonSourceGenerationMode.Metadata)]
[JsonSerializable(typeof(V1Lease))]
[JsonSerializable(typeof(Eventsv1Event))]
[JsonSerializable(typeof(V1Patch))]
[JsonSerializable(typeof(V1Status))]
[JsonSerializable(typeof(JsonElement))]
[JsonSerializable(typeof(JsonObject))]
[JsonSerializable(typeof(object))]
[JsonSerializable(typeof(ExecCredentialResponse))]
// What the client tells a program that gives credentials, by reflection: this is what keeps the code for it.
[JsonSerializable(typeof(Dictionary<string, bool>))]
public sealed partial class ApiObjectsContext : JsonSerializerContext;
