// What `dotnet fsi build.fsx release` and `values` start: apart from it, so that the other tasks do not wait for its compilation.
//   pack.fsx values         writes the table of the chart's values into its README
//   pack.fsx release WORK   packs the programs in the folder WORK (native-PLATFORM, portable-PLATFORM) into artifacts/release

#r "System.Formats.Tar"
#load "Repository.fs"
#load "Archive.fs"
#load "OciImage.fs"
#load "ReleaseNotes.fs"
#load "Sbom.fs"
#load "SystemFiles.fs"
#load "ValuesTable.fs"

open System
open System.Diagnostics
open System.IO
open System.Runtime.InteropServices
open System.Security.Cryptography
open System.Text.RegularExpressions
open K8sReq.Build

let root = Repository.root
let folder = Path.Combine(root, "artifacts", "release")
let chartName = "k8sreq-duplicator-controller"
let chartFolder = Path.Combine(root, "chart", chartName)

let fail (reason: string) =
    eprintfn "build: %s" reason
    exit 1

let values () =
    let readme = Path.Combine(chartFolder, "README.md")

    let table =
        File.ReadAllText(Path.Combine(chartFolder, "values.yaml"))
        |> ValuesTable.parse
        |> ValuesTable.render

    match ValuesTable.tryReplace table (File.ReadAllText readme) with
    | Some text -> File.WriteAllText(readme, text)
    | None -> fail "the chart's README has no marks where the table of values stands"

/// What a command prints, or None if it fails.
let tryRead (command: string) (arguments: string list) =
    try
        use running =
            Process.Start(
                ProcessStartInfo(command, arguments, WorkingDirectory = root, RedirectStandardOutput = true)
            )

        let output = running.StandardOutput.ReadToEnd().Trim()
        running.WaitForExit()
        if running.ExitCode = 0 then Some output else None
    with :? ComponentModel.Win32Exception ->
        None

/// The time of everything in a release: that of the commit, unless SOURCE_DATE_EPOCH says another.
let sourceTime () =
    let seconds =
        match Environment.GetEnvironmentVariable "SOURCE_DATE_EPOCH" with
        | null
        | "" -> tryRead "git" [ "log"; "-1"; "--format=%ct" ]
        | text -> Some text

    match seconds |> Option.map (fun (text: string) -> Int64.TryParse text) with
    | Some(true, seconds) -> DateTimeOffset.FromUnixTimeSeconds seconds
    | _ -> DateTimeOffset.UtcNow

/// The SPDX expression in a package's own description, where NuGet has put the package.
let licenseOf (packages: string) (name: string) (version: string) =
    let name = name.ToLowerInvariant()

    let description =
        Path.Combine(packages, name, version.ToLowerInvariant(), name + ".nuspec")

    if File.Exists description then
        let found =
            Regex.Match(File.ReadAllText description, "<license type=\"expression\">(.+?)</license>")

        if found.Success then Some found.Groups[1].Value else None
    else
        None

let pack (name: string) (write: Stream -> 'T) : 'T =
    use output = File.Create(Path.Combine(folder, name))
    write output

/// Packs all of it; gives what could not be made here.
let release (work: string) : string list =
    let version = Repository.property "Version"
    let source = Repository.property "RepositoryUrl"
    let time = sourceTime ()
    let license = Archive.file "LICENSE" (Path.Combine(root, "LICENSE"))

    match ReleaseNotes.ofVersion version (Repository.read [ "CHANGELOG.md" ]) with
    | Ok notes -> File.WriteAllText(Path.Combine(folder, "RELEASE-NOTES.md"), notes)
    | Error reason -> fail reason

    // The native program is the one that most want: its name is the plain one.
    for published in Directory.GetDirectories work do
        let kind = Path.GetFileName published

        let name =
            if kind.StartsWith "native-" then
                $"""k8sreq-{version}-{kind.Substring "native-".Length}"""
            else
                $"k8sreq-{version}-{kind}"

        let isExecutable (file: string) =
            List.contains file [ "k8sreq"; "k8sreq.exe"; "createdump" ]

        pack $"{name}.tar.gz" (fun output ->
            {
                license with
                    Path = $"{name}/LICENSE"
            }
            :: Archive.filesBelow name isExecutable published
            |> fun entries -> Archive.writeTarGz time entries output)

    // Helm's own layout: one folder, called as the chart.
    pack $"{chartName}-{version}.tgz" (fun output ->
        {
            license with
                Path = $"{chartName}/LICENSE"
        }
        :: Archive.filesBelow chartName (fun _ -> false) chartFolder
        |> fun entries -> Archive.writeTarGz time entries output)

    let architecture =
        match RuntimeInformation.ProcessArchitecture with
        | Architecture.X64 -> "amd64"
        | other -> other.ToString().ToLowerInvariant()

    let image = $"k8sreq-{version}-image-linux-{architecture}.tar"

    let native =
        Path.Combine(
            work,
            $"native-linux-{RuntimeInformation.ProcessArchitecture.ToString().ToLowerInvariant()}"
        )

    let missing =
        // Made by the SDK from the Dockerfile's base, where its registry can be reached.
        if File.Exists(Path.Combine(folder, image)) then
            []
        elif not (Directory.Exists native) then
            [ "image: there is no native program for it" ]
        else
            match SystemFiles.forProgram (Path.Combine(native, "k8sreq")) with
            | Error reason -> [ $"image: {reason}" ]
            | Ok system ->
                let config: OciImage.ImageConfig = {
                    Name = $"k8sreq:{version}"
                    Created = time
                    Architecture = architecture
                    User = "10000:10000"
                    Entrypoint = [ "/app/k8sreq" ]
                    Environment = [ SystemFiles.certificateVariable; "DOTNET_EnableDiagnostics", "0" ]
                    Ports = [ 8080; 9556; 9557 ]
                    Labels = [
                        "org.opencontainers.image.title", "k8sreq"
                        "org.opencontainers.image.description", Repository.property "Description"
                        "org.opencontainers.image.version", version
                        "org.opencontainers.image.licenses", Repository.property "PackageLicenseExpression"
                        "org.opencontainers.image.source", source
                        match tryRead "git" [ "rev-parse"; "HEAD" ] with
                        | Some commit -> "org.opencontainers.image.revision", commit
                        | None -> ()
                    ]
                }

                let files =
                    { license with Path = "app/LICENSE" }
                    :: Archive.filesBelow "app" ((=) "k8sreq") native
                    @ system

                let digest = pack image (OciImage.write config files)

                printfn
                    "build: %s: the C library and OpenSSL are this machine's; its digest is %s"
                    image
                    digest

                []

    let packages =
        match tryRead "dotnet" [ "nuget"; "locals"; "global-packages"; "--list" ] with
        | Some line -> line.Substring(line.IndexOf ' ' + 1).Trim()
        | None -> ""

    let packages =
        Repository.read [ "src"; "K8sReq.Host"; "packages.lock.json" ]
        |> Sbom.ofLockFile (licenseOf packages)

    // The same in each of them; the native programs have no such file.
    let runtime =
        Directory.GetFiles(work, "k8sreq.runtimeconfig.json", SearchOption.AllDirectories)
        |> Array.sort
        |> Array.tryHead
        |> Option.map (File.ReadAllText >> Sbom.ofRuntime)
        |> Option.defaultValue []

    File.WriteAllText(
        Path.Combine(folder, $"k8sreq-{version}.cdx.json"),
        Sbom.render version time source (packages @ runtime)
    )

    let sums = [
        for file in
            Directory.GetFiles folder
            |> Array.sortWith (fun one other -> String.CompareOrdinal(one, other)) do
            use stream = File.OpenRead file
            $"{Convert.ToHexStringLower(SHA256.HashData stream)}  {Path.GetFileName file}\n"
    ]

    File.WriteAllText(Path.Combine(folder, "SHA256SUMS"), String.concat "" sums)
    missing

match fsi.CommandLineArgs |> List.ofArray |> List.tail with
| [ "values" ] -> values ()
| [ "release"; work ] ->
    for reason in release work do
        printfn "build: not made: %s" reason
| other -> fail $"pack.fsx does not know {other}"
