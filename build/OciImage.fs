/// A container image as an OCI archive (image-spec 1.1), made without an engine: a tar of blobs that are named by their SHA-256.
module K8sReq.Build.OciImage

open System
open System.IO
open System.Security.Cryptography
open System.Text
open System.Text.Json

/// What an image is, besides its files.
type ImageConfig = {
    /// As it is called once it is loaded: k8sreq:1.0.0.
    Name: string
    Created: DateTimeOffset
    /// As GOARCH: amd64.
    Architecture: string
    User: string
    Entrypoint: string list
    Environment: (string * string) list
    Ports: int list
    Labels: (string * string) list
}

type private Blob = { Digest: string; Content: byte[] }

let private blobOf (content: byte[]) = {
    Digest = "sha256:" + Convert.ToHexStringLower(SHA256.HashData content)
    Content = content
}

let private json (write: Utf8JsonWriter -> unit) : byte[] =
    use stream = new MemoryStream()

    do
        use writer = new Utf8JsonWriter(stream)
        writer.WriteStartObject()
        write writer
        writer.WriteEndObject()

    stream.ToArray()

let private object (writer: Utf8JsonWriter) (name: string) (write: unit -> unit) =
    writer.WriteStartObject name
    write ()
    writer.WriteEndObject()

let private strings (writer: Utf8JsonWriter) (name: string) (values: string list) =
    writer.WriteStartArray name

    for value in values do
        writer.WriteStringValue value

    writer.WriteEndArray()

let private configOf (config: ImageConfig) (layerDigest: string) =
    json (fun writer ->
        writer.WriteString("created", config.Created.ToString "yyyy-MM-ddTHH:mm:ssZ")
        writer.WriteString("architecture", config.Architecture)
        writer.WriteString("os", "linux")

        object writer "config" (fun () ->
            writer.WriteString("User", config.User)

            object writer "ExposedPorts" (fun () ->
                for port in config.Ports do
                    object writer $"{port}/tcp" ignore)

            strings writer "Env" [ for name, value in config.Environment -> $"{name}={value}" ]
            strings writer "Entrypoint" config.Entrypoint
            writer.WriteString("WorkingDir", "/")

            object writer "Labels" (fun () ->
                for name, value in config.Labels do
                    writer.WriteString(name, value)))

        object writer "rootfs" (fun () ->
            writer.WriteString("type", "layers")
            strings writer "diff_ids" [ layerDigest ]))

let private descriptor (writer: Utf8JsonWriter) (mediaType: string) (blob: Blob) =
    writer.WriteString("mediaType", $"application/vnd.oci.image.{mediaType}")
    writer.WriteString("digest", blob.Digest)
    writer.WriteNumber("size", blob.Content.Length)

/// Writes the archive of an image with one layer of these files; gives the digest that `image.digest` and the like take.
let write (config: ImageConfig) (files: Archive.Entry list) (output: Stream) : string =
    let layer, layerDigest =
        use plain = new MemoryStream()
        Archive.writeTar config.Created files plain
        use packed = new MemoryStream()

        do
            use gzip =
                new Compression.GZipStream(
                    packed,
                    Compression.CompressionLevel.SmallestSize,
                    leaveOpen = true
                )

            plain.WriteTo gzip

        blobOf (packed.ToArray()), (blobOf (plain.ToArray())).Digest

    let configBlob = blobOf (configOf config layerDigest)

    let manifest =
        blobOf (
            json (fun writer ->
                writer.WriteNumber("schemaVersion", 2)
                writer.WriteString("mediaType", "application/vnd.oci.image.manifest.v1+json")
                object writer "config" (fun () -> descriptor writer "config.v1+json" configBlob)
                writer.WriteStartArray "layers"
                writer.WriteStartObject()
                descriptor writer "layer.v1.tar+gzip" layer
                writer.WriteEndObject()
                writer.WriteEndArray())
        )

    let index =
        json (fun writer ->
            writer.WriteNumber("schemaVersion", 2)
            writer.WriteString("mediaType", "application/vnd.oci.image.index.v1+json")
            writer.WriteStartArray "manifests"
            writer.WriteStartObject()
            descriptor writer "manifest.v1+json" manifest

            object writer "annotations" (fun () ->
                // What containerd, and with it kind and docker, calls it; what skopeo and podman do.
                writer.WriteString("io.containerd.image.name", $"docker.io/library/{config.Name}")

                writer.WriteString(
                    "org.opencontainers.image.ref.name",
                    config.Name.Substring(config.Name.IndexOf ':' + 1)
                ))

            object writer "platform" (fun () ->
                writer.WriteString("architecture", config.Architecture)
                writer.WriteString("os", "linux"))

            writer.WriteEndObject()
            writer.WriteEndArray())

    let bytes (path: string) (content: byte[]) : Archive.Entry = {
        Path = path
        IsExecutable = false
        Content = Archive.Content.Bytes content
    }

    // What `docker load` reads where it is older than OCI layouts (before 25).
    let compatible =
        let path (blob: Blob) =
            "blobs/sha256/" + blob.Digest.Substring "sha256:".Length

        use stream = new MemoryStream()

        do
            use writer = new Utf8JsonWriter(stream)
            writer.WriteStartArray()
            writer.WriteStartObject()
            writer.WriteString("Config", path configBlob)
            strings writer "RepoTags" [ config.Name ]
            strings writer "Layers" [ path layer ]
            writer.WriteEndObject()
            writer.WriteEndArray()

        stream.ToArray()

    let entries = [
        bytes "oci-layout" (Encoding.UTF8.GetBytes """{"imageLayoutVersion":"1.0.0"}""")
        bytes "index.json" index
        bytes "manifest.json" compatible
        Archive.folder "blobs"
        Archive.folder "blobs/sha256"
        for blob in [ layer; configBlob; manifest ] do
            bytes ("blobs/sha256/" + blob.Digest.Substring "sha256:".Length) blob.Content
    ]

    Archive.writeTar config.Created entries output
    manifest.Digest
