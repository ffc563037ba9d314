/// What a native program needs of the Linux that it was linked on, to run on nothing else: the C library, OpenSSL, and the
/// certificates of the public authorities. From Debian and its like, whose package manager knows where each file comes from.
module K8sReq.Build.SystemFiles

open System
open System.Diagnostics
open System.IO

let private tryRun (program: string) (arguments: string list) : string option =
    try
        let info =
            ProcessStartInfo(program, arguments, RedirectStandardOutput = true, RedirectStandardError = true)

        use running = Process.Start info
        let errors = running.StandardError.ReadToEndAsync()
        let output = running.StandardOutput.ReadToEnd()
        errors.Wait()
        running.WaitForExit()
        if running.ExitCode = 0 then Some output else None
    with :? ComponentModel.Win32Exception ->
        None

let private lines (text: string) =
    text.Split '\n' |> List.ofArray |> List.map _.Trim() |> List.filter ((<>) "")

// The libraries that the loader takes, by the paths that it takes them from: "libc.so.6 => /lib/…/libc.so.6 (0x…)".
let private librariesOf (binary: string) : string list = [
    for line in tryRun "ldd" [ binary ] |> Option.map lines |> Option.defaultValue [] do
        match line.Split ' ' |> Array.tryFind _.StartsWith('/') with
        | Some path -> path
        | None -> ()
]

// OpenSSL is opened by name when TLS is first used: no program names it.
let private openSsl () : string list =
    let known = tryRun "ldconfig" [ "-p" ] |> Option.map lines |> Option.defaultValue []

    [ "libssl.so.3"; "libcrypto.so.3" ]
    |> List.choose (fun name ->
        known
        |> List.tryFind _.StartsWith(name + " ", StringComparison.Ordinal)
        |> Option.map (fun line -> line.Substring(line.IndexOf "=> " + 3)))

let private certificates = "/etc/ssl/certs/ca-certificates.crt"

// The package that a file is of. Packages own /usr/lib/… where the loader says /lib/…, or the other way round.
let private packageOf (path: string) : string option =
    [ path; "/usr" + path; path.Replace("/usr/lib", "/lib") ]
    |> List.tryPick (fun path -> tryRun "dpkg" [ "-S"; path ])
    |> Option.map (fun found -> (found.Split ", " |> Array.head).Split ": " |> Array.head)

/// Where the image has the certificates.
let certificateVariable = "SSL_CERT_FILE", certificates

/// The entries to pack for this program, with the licences and the versions of the packages that they are of. An error says what
/// this machine lacks.
let forProgram (program: string) : Result<Archive.Entry list, string> =
    let openSsl = openSsl ()

    if openSsl.Length < 2 then
        Error "OpenSSL 3 (libssl.so.3) is not installed here"
    elif not (File.Exists certificates) then
        Error "ca-certificates are not installed here"
    elif (tryRun "dpkg" [ "--version" ]).IsNone then
        Error
            "the C library and OpenSSL are packed with their licences, which only Debian and its like (dpkg) tell"
    else
        let libraries =
            program :: openSsl
            |> List.collect librariesOf
            |> List.append openSsl
            |> List.distinct

        let packages =
            "ca-certificates" :: List.choose packageOf libraries
            |> List.distinct
            |> List.sort

        Ok [
            for library in libraries do
                Archive.executable (library.TrimStart '/') library

            Archive.file (certificates.TrimStart '/') certificates

            // Where scanners look for the packages of an image without a package manager.
            for package in packages do
                let name = package.Split ':' |> Array.head

                match tryRun "dpkg" [ "-s"; package ] with
                | Some status -> Archive.text $"var/lib/dpkg/status.d/{name}" status
                | None -> ()

                let copyright = $"/usr/share/doc/{name}/copyright"

                if File.Exists copyright then
                    Archive.file (copyright.TrimStart '/') copyright

            if File.Exists "/etc/os-release" then
                Archive.file "etc/os-release" "/etc/os-release"

            Archive.text "etc/passwd" "root:x:0:0::/:/sbin/nologin\nk8sreq:x:10000:10000::/:/sbin/nologin\n"
            Archive.text "etc/group" "root:x:0:\nk8sreq:x:10000:\n"
            Archive.folder "tmp"
        ]
