/// What the program is made of, as CycloneDX 1.6, from the lock file that it is built with.
module K8sReq.Build.Sbom

open System
open System.IO
open System.Security.Cryptography
open System.Text
open System.Text.Encodings.Web
open System.Text.Json

/// A package, at the version that is built with.
type Component = {
    Name: string
    Version: string
    /// As the lock file has it: SHA-512, in base 64, of what NuGet calls the package's content.
    ContentHash: string option
    /// An SPDX expression.
    License: string option
    DependsOn: string list
    /// Whether the program's own projects ask for it.
    IsDirect: bool
}

let private tryText (name: string) (element: JsonElement) : string option =
    match element.TryGetProperty name with
    | true, value -> Option.ofObj (value.GetString())
    | false, _ -> None

let private namesIn (name: string) (element: JsonElement) : string list =
    match element.TryGetProperty name with
    | true, value -> [ for property in value.EnumerateObject() -> property.Name ]
    | false, _ -> []

/// The packages of a packages.lock.json, those for single platforms included, without the projects of the repository.
let ofLockFile (license: string -> string -> string option) (lockFile: string) : Component list =
    use document = JsonDocument.Parse lockFile

    let all = [
        for target in (document.RootElement.GetProperty "dependencies").EnumerateObject() do
            for package in target.Value.EnumerateObject() do
                package.Name, package.Value
    ]

    let isProject (_, element) = tryText "type" element = Some "Project"

    let ofProjects =
        all
        |> List.filter isProject
        |> List.collect (snd >> namesIn "dependencies")
        |> Set.ofList

    all
    |> List.filter (isProject >> not)
    |> List.distinctBy fst
    |> List.map (fun (name, element) ->
        let version = tryText "resolved" element |> Option.defaultValue ""

        {
            Name = name
            Version = version
            ContentHash = tryText "contentHash" element
            License = license name version
            DependsOn = namesIn "dependencies" element
            IsDirect = tryText "type" element = Some "Direct" || ofProjects.Contains name
        })
    |> List.sortBy _.Name

/// The frameworks that the portable program has in it, from its runtimeconfig.json.
let ofRuntime (runtimeConfig: string) : Component list =
    use document = JsonDocument.Parse runtimeConfig

    match (document.RootElement.GetProperty "runtimeOptions").TryGetProperty "includedFrameworks" with
    | false, _ -> []
    | true, frameworks -> [
        for framework in frameworks.EnumerateArray() ->
            {
                Name = (tryText "name" framework |> Option.defaultValue "") + ".Runtime"
                Version = tryText "version" framework |> Option.defaultValue ""
                ContentHash = None
                License = Some "MIT"
                DependsOn = []
                IsDirect = true
            }
      ]

let private purl (name: string) (version: string) = $"pkg:nuget/{name}@{version}"

/// The document of the program at this version, built at this time from this source.
let render (version: string) (time: DateTimeOffset) (source: string) (components: Component list) : string =
    let byName =
        Map.ofList [ for item in components -> item.Name, purl item.Name item.Version ]

    let program = $"k8sreq@{version}"

    // The same components give the same number.
    let serial =
        components
        |> List.map (fun item -> purl item.Name item.Version)
        |> String.concat "\n"
        |> fun text -> SHA256.HashData(Encoding.UTF8.GetBytes(program + "\n" + text))
        |> fun hash -> Guid(hash.AsSpan(0, 16))

    use stream = new MemoryStream()

    do
        use writer =
            new Utf8JsonWriter(
                stream,
                JsonWriterOptions(Indented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping)
            )

        let text (name: string) (value: string) = writer.WriteString(name, value)

        let licenses (expression: string option) =
            match expression with
            | None -> ()
            | Some expression ->
                writer.WriteStartArray "licenses"
                writer.WriteStartObject()
                text "expression" expression
                writer.WriteEndObject()
                writer.WriteEndArray()

        let dependency (reference: string) (names: string list) =
            writer.WriteStartObject()
            text "ref" reference
            writer.WriteStartArray "dependsOn"

            for name in List.sort names do
                match byName.TryFind name with
                | Some reference -> writer.WriteStringValue reference
                // The framework brings it.
                | None -> ()

            writer.WriteEndArray()
            writer.WriteEndObject()

        writer.WriteStartObject()
        text "$schema" "http://cyclonedx.org/schema/bom-1.6.schema.json"
        text "bomFormat" "CycloneDX"
        text "specVersion" "1.6"
        text "serialNumber" $"urn:uuid:{serial}"
        writer.WriteNumber("version", 1)
        writer.WriteStartObject "metadata"
        text "timestamp" (time.ToString "yyyy-MM-ddTHH:mm:ssZ")
        writer.WriteStartObject "component"
        text "type" "application"
        text "bom-ref" program
        text "name" "k8sreq"
        text "version" version
        licenses (Some "Apache-2.0")
        writer.WriteStartArray "externalReferences"
        writer.WriteStartObject()
        text "type" "vcs"
        text "url" source
        writer.WriteEndObject()
        writer.WriteEndArray()
        writer.WriteEndObject()
        writer.WriteEndObject()
        writer.WriteStartArray "components"

        for item in components do
            writer.WriteStartObject()
            text "type" "library"
            text "bom-ref" (purl item.Name item.Version)
            text "name" item.Name
            text "version" item.Version
            text "purl" (purl item.Name item.Version)
            licenses item.License

            match item.ContentHash with
            | None -> ()
            | Some hash ->
                writer.WriteStartArray "properties"
                writer.WriteStartObject()
                text "name" "nuget:contentHash"
                text "value" hash
                writer.WriteEndObject()
                writer.WriteEndArray()

            writer.WriteEndObject()

        writer.WriteEndArray()
        writer.WriteStartArray "dependencies"

        dependency program [
            for item in components do
                if item.IsDirect then
                    item.Name
        ]

        for item in components do
            dependency (purl item.Name item.Version) item.DependsOn

        writer.WriteEndArray()
        writer.WriteEndObject()

    Encoding.UTF8.GetString(stream.ToArray()) + "\n"
