/// What a release is made of, as far as no program has to be built for it.
module K8sReq.Chart.Tests.ReleaseTests

open System
open System.Formats.Tar
open System.IO
open System.IO.Compression
open System.Security.Cryptography
open System.Text
open System.Text.Json
open System.Text.RegularExpressions
open Expecto
open K8sReq.Build
open K8sReq.Chart.Tests.Tools
open K8sReq.Chart.Tests.Manifest

let private version = Repository.property "Version"
let private time = DateTimeOffset.FromUnixTimeSeconds 1_800_000_000L

let private changelog =
    "# Changelog\n\n## [Unreleased]\n\n### Added\n- New.\n\n## [1.1.0] - 2026-01-02\n### Fixed\n- Old.\n\n## [1.0.0] - 2026-01-01\n\n[1.1.0]: https://example.org\n"

let private files: Archive.Entry list = [
    Archive.text "b/data" "2"
    Archive.text "a" "one"
    {
        Archive.text "b/run" "#!" with
            IsExecutable = true
    }
    Archive.folder "tmp"
]

let private bytesOf (write: Stream -> 'T) =
    use stream = new MemoryStream()
    let result = write stream
    result, stream.ToArray()

/// Paths, modes, times and texts of a tar.
let private contents (tar: Stream) = [
    use reader = new TarReader(tar)

    for entry in
        Seq.unfold (fun () -> reader.GetNextEntry() |> Option.ofObj |> Option.map (fun entry -> entry, ())) () do
        let text =
            match entry.DataStream with
            | null -> ""
            | data -> (new StreamReader(data)).ReadToEnd()

        entry.Name, int entry.Mode, entry.ModificationTime, text
]

let private sha256 (bytes: byte[]) =
    "sha256:" + Convert.ToHexStringLower(SHA256.HashData bytes)

let private lockFile =
    """{"version":2,"dependencies":{"net10.0":{
      "B":{"type":"Direct","requested":"[2.0.0, )","resolved":"2.0.0","contentHash":"aGFzaA==","dependencies":{"A":"1.0.0"}},
      "C":{"type":"Transitive","resolved":"3.0.0"},
      "a.project":{"type":"Project","dependencies":{"C":"[3.0.0, )"}}},
     "net10.0/linux-x64":{"A":{"type":"Transitive","resolved":"1.0.0"},"B":{"type":"Direct","resolved":"2.0.0"}}}}"""

let tests =
    testList "release" [
        test "one version: that of Directory.Build.props is in every file that names it" {
            let read (path: string) =
                File.ReadAllText(Path.Combine(root, path))

            for path, texts in
                [
                    "chart/k8sreq-duplicator-controller/Chart.yaml",
                    [ $"\nversion: {version}\n"; $"\nappVersion: \"{version}\"\n" ]
                    "Dockerfile", [ $"org.opencontainers.image.version=\"{version}\"" ]
                    "deploy/kustomize/base/deployment.yaml", [ $"image: registry.invalid/k8sreq:{version}\n" ]
                    "examples/cluster/app-1.yaml", [ $"image: k8sreq:{version}\n" ]
                    "examples/cluster/app-2.yaml", [ $"image: k8sreq:{version}\n" ]
                    "chart/k8sreq-duplicator-controller/README.md",
                    [ $"docker build -t k8sreq:{version} ."; $"--set image.tag={version}" ]
                ] do
                for text in texts do
                    Expect.stringContains (read path) text path
        }

        test "one licence, one address and one description, in program, chart and image" {
            let chartFile = File.ReadAllText(Path.Combine(chart, "Chart.yaml"))
            let dockerfile = File.ReadAllText(Path.Combine(root, "Dockerfile"))
            let license = Repository.property "PackageLicenseExpression"
            let source = Repository.property "RepositoryUrl"
            let description = Repository.property "Description"
            Expect.equal license "Apache-2.0" "the licence"

            Expect.stringContains
                (File.ReadAllText(Path.Combine(root, "LICENSE")))
                "Apache License\n                           Version 2.0"
                "its text"

            for text in
                [
                    $"artifacthub.io/license: {license}\n"
                    $"\nhome: {source}\n"
                    $"\nsources:\n  - {source}\n"
                    $"\ndescription: {description}\n"
                ] do
                Expect.stringContains chartFile text "the chart"

            for text in
                [
                    $"org.opencontainers.image.licenses=\"{license}\""
                    $"org.opencontainers.image.source=\"{source}\""
                    $"org.opencontainers.image.description=\"{description}\""
                ] do
                Expect.stringContains dockerfile text "the image"
        }

        test "the CRD that the chart announces is the one that it brings" {
            let chartFile =
                parse (File.ReadAllText(Path.Combine(chart, "Chart.yaml"))) |> List.exactlyOne

            let crd =
                Directory.GetFiles(Path.Combine(chart, "crds"))
                |> Array.exactlyOne
                |> File.ReadAllText
                |> parse
                |> List.exactlyOne

            let announced =
                match
                    at [ "annotations"; "artifacthub.io/crds" ] chartFile
                    |> string
                    |> (fun text -> "items:\n" + text)
                    |> parse
                with
                | [ list ] -> (items [ "items" ] list) |> List.exactlyOne
                | several -> failtest $"{several.Length} lists"

            Expect.equal
                (List.map (fun name -> text [ name ] announced) [ "kind"; "name"; "version" ])
                [
                    text [ "spec"; "names"; "kind" ] crd
                    text [ "metadata"; "name" ] crd
                    text [ "name" ] (items [ "spec"; "versions" ] crd).Head
                ]
                "the CRD"
        }

        test "release notes are the version's part of the changelog" {
            Expect.equal
                (ReleaseNotes.ofVersion "1.1.0" changelog)
                (Ok "# K8sReq 1.1.0\n\n### Fixed\n- Old.\n")
                "its part alone"

            Expect.equal
                (ReleaseNotes.ofVersion "1.2.0" changelog)
                (Ok "# K8sReq 1.2.0, not released yet\n\n### Added\n- New.\n")
                "before it has one"

            Expect.isError
                (ReleaseNotes.ofVersion "1.2.0" "# Changelog\n\n## [Unreleased]\n\n## [1.1.0] - x\n- Old.\n")
                "nothing to say"

            Expect.isOk
                (ReleaseNotes.ofVersion version (File.ReadAllText(Path.Combine(root, "CHANGELOG.md"))))
                "the project's own"
        }

        test "archives are the same bytes whatever the order of the files, and have nobody's name or time" {
            let one = bytesOf (Archive.writeTarGz time files) |> snd
            let other = bytesOf (Archive.writeTarGz time (List.rev files)) |> snd
            Expect.isTrue (one = other) "the same"

            use unpacked = new GZipStream(new MemoryStream(one), CompressionMode.Decompress)

            Expect.equal
                (contents unpacked)
                [
                    "a", 0o644, time, "one"
                    "b/data", 0o644, time, "2"
                    "b/run", 0o755, time, "#!"
                    "tmp/", 0o755, time, ""
                ]
                "sorted, each with its mode"
        }

        test "an image's archive is an OCI layout in which every digest is right" {
            let config: OciImage.ImageConfig = {
                Name = "k8sreq:1.2.3"
                Created = time
                Architecture = "amd64"
                User = "10000:10000"
                Entrypoint = [ "/app/k8sreq" ]
                Environment = [ "A", "b" ]
                Ports = [ 8080 ]
                Labels = [ "org.opencontainers.image.version", "1.2.3" ]
            }

            let digest, bytes = bytesOf (OciImage.write config files)
            let folder = Directory.CreateTempSubdirectory "k8sreq-image"

            try
                TarFile.ExtractToDirectory(new MemoryStream(bytes), folder.FullName, false)

                let read (path: string) =
                    File.ReadAllBytes(Path.Combine(folder.FullName, path))

                let json (path: string) =
                    (JsonDocument.Parse(ReadOnlyMemory(read path))).RootElement

                let blob (descriptor: JsonElement) =
                    let digest = text [ "digest" ] descriptor
                    let path = "blobs/" + digest.Replace(':', '/')
                    let content = read path
                    Expect.equal (sha256 content) digest "the digest"
                    Expect.equal (int64 content.Length) (int64 (text [ "size" ] descriptor)) "the size"
                    path, content

                Expect.equal (text [ "imageLayoutVersion" ] (json "oci-layout")) "1.0.0" "a layout"
                let entry = (items [ "manifests" ] (json "index.json")).Head
                Expect.equal (text [ "digest" ] entry) digest "what is given back"
                let manifestPath, _ = blob entry
                let configPath, _ = blob (at [ "config" ] (json manifestPath))
                let _, layer = blob (items [ "layers" ] (json manifestPath)).Head
                use plain = new MemoryStream()
                (new GZipStream(new MemoryStream(layer), CompressionMode.Decompress)).CopyTo plain

                Expect.equal
                    (items [ "rootfs"; "diff_ids" ] (json configPath) |> List.map string)
                    [ sha256 (plain.ToArray()) ]
                    "the layer, unpacked"

                Expect.equal
                    (text [ "config"; "User" ] (json configPath),
                     items [ "config"; "Env" ] (json configPath) |> List.map string,
                     fields [ "config"; "Labels" ] (json configPath))
                    ("10000:10000", [ "A=b" ], Map.ofList config.Labels)
                    "the configuration"

                let older = (json "manifest.json")[0]

                Expect.equal
                    (items [ "RepoTags" ] older |> List.map string)
                    [ config.Name ]
                    "for older engines"

                Expect.equal (text [ "Config" ] older) configPath "the same configuration"
            finally
                folder.Delete true
        }

        test "the SBOM has every package of the lock file once, and who needs it" {
            let components =
                Sbom.ofLockFile (fun name _ -> if name = "B" then Some "MIT" else None) lockFile

            let bom =
                (JsonDocument.Parse(Sbom.render "1.2.3" time "https://example.org" components)).RootElement

            Expect.equal
                (items [ "components" ] bom |> List.map (text [ "purl" ]))
                [ "pkg:nuget/A@1.0.0"; "pkg:nuget/B@2.0.0"; "pkg:nuget/C@3.0.0" ]
                "packages"

            let dependsOn =
                Map.ofList [
                    for item in items [ "dependencies" ] bom ->
                        text [ "ref" ] item, items [ "dependsOn" ] item |> List.map string
                ]

            Expect.equal
                (dependsOn["k8sreq@1.2.3"], dependsOn["pkg:nuget/B@2.0.0"])
                ([ "pkg:nuget/B@2.0.0"; "pkg:nuget/C@3.0.0" ], [ "pkg:nuget/A@1.0.0" ])
                "who needs them"

            let licensed = (items [ "components" ] bom)[1]
            Expect.equal (text [ "expression" ] (items [ "licenses" ] licensed).Head) "MIT" "the licence"
            Expect.equal (text [ "value" ] (items [ "properties" ] licensed).Head) "aGFzaA==" "its content"
        }

        test "the SBOM has the runtime that the portable program brings" {
            let runtimeConfig =
                """{"runtimeOptions":{"tfm":"net10.0","includedFrameworks":[{"name":"Microsoft.NETCore.App","version":"10.0.1"}]}}"""

            Expect.equal
                (Sbom.ofRuntime runtimeConfig |> List.map (fun item -> item.Name, item.Version))
                [ "Microsoft.NETCore.App.Runtime", "10.0.1" ]
                "what is in it"

            Expect.isEmpty (Sbom.ofRuntime """{"runtimeOptions":{"tfm":"net10.0"}}""") "nothing else"
        }

        test "the SBOM of the program names what it is built with" {
            let components =
                File.ReadAllText(Path.Combine(root, "src", "K8sReq.Host", "packages.lock.json"))
                |> Sbom.ofLockFile (fun _ _ -> None)

            let versions = Map.ofList [ for item in components -> item.Name, item.Version ]

            for found in
                Regex.Matches(
                    File.ReadAllText(Path.Combine(root, "paket.dependencies")),
                    @"^nuget (FSharp\.Core|KubernetesClient|Npgsql|SourceGear\.sqlite3) (\S+)",
                    RegexOptions.Multiline
                ) do
                Expect.equal
                    (versions.TryFind found.Groups[1].Value)
                    (Some found.Groups[2].Value)
                    found.Groups[1].Value
        }

        withHelm "the chart's archive is one that helm takes" (fun helm ->
            let folder = Directory.CreateTempSubdirectory "k8sreq-package"

            try
                let package = Path.Combine(folder.FullName, "chart.tgz")

                (use output = File.Create package

                 Archive.filesBelow "k8sreq-duplicator-controller" (fun _ -> false) chart
                 |> fun entries -> Archive.writeTarGz time entries output)

                let shown = succeed helm [ "show"; "chart"; package ]
                Expect.stringContains shown $"version: {version}" "its version"
                succeed helm ([ "lint"; "--strict"; package ] @ withImage) |> ignore

                Expect.equal
                    (succeed helm ([ "template"; "rel"; package ] @ withImage))
                    (succeed helm ([ "template"; "rel"; chart ] @ withImage))
                    "the same objects"
            finally
                folder.Delete true)
    ]
