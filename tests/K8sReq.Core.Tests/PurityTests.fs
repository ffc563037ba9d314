module K8sReq.Core.Tests.PurityTests

open System
open System.IO
open System.Reflection.Metadata
open System.Reflection.PortableExecutable
open Expecto
open K8sReq.Core

/// Every member of another assembly that the code of this one uses, as `Namespace.Type::Member`.
let private membersUsed (path: string) : string list =
    use stream = File.OpenRead path
    use reader = new PEReader(stream)
    let metadata = reader.GetMetadataReader()

    let nameOf (handle: TypeReferenceHandle) =
        let reference = metadata.GetTypeReference handle

        $"{metadata.GetString reference.Namespace}.{metadata.GetString reference.Name}"

    [
        for handle in metadata.MemberReferences do
            let reference = metadata.GetMemberReference handle

            if reference.Parent.Kind = HandleKind.TypeReference then
                let owner = nameOf (TypeReferenceHandle.op_Explicit reference.Parent)
                $"{owner}::{metadata.GetString reference.Name}"
    ]

// What a pure function cannot have: a clock, chance, the environment, files, the network, threads, a console, a log.
let private impure = [
    "System.DateTime::get_Now"
    "System.DateTime::get_UtcNow"
    "System.DateTime::get_Today"
    "System.DateTimeOffset::get_Now"
    "System.DateTimeOffset::get_UtcNow"
    "System.Guid::NewGuid"
    "System.Guid::CreateVersion7"
    "System.TimeProvider::"
    "System.Random::"
    "System.Environment::"
    "System.Console::"
    "System.AppContext::"
    "System.Diagnostics.Stopwatch::"
    "System.Diagnostics.Process::"
    "System.IO.File"
    "System.IO.Directory"
    "System.IO.Path::GetTemp"
    "System.Net.Sockets.Socket"
    "System.Net.Dns::"
    "System.Net.Http."
    "System.Threading.Thread"
    "System.Threading.Timer"
    "System.Threading.Tasks."
    "Microsoft.AspNetCore."
    "Microsoft.Extensions."
]

let private core = typeof<RouteTable>.Assembly.Location

let private offending (path: string) =
    membersUsed path
    |> List.filter (fun used ->
        impure
        |> List.exists (fun prefix -> used.StartsWith(prefix, StringComparison.Ordinal)))

let tests =
    testList "purity" [
        test "Core uses no clock, chance, environment, file, socket, thread or log" {
            Expect.isEmpty (offending core) "by the members that it uses"
            Expect.isGreaterThan (membersUsed core).Length 100 "its members are looked at"
        }

        test "such members are found where they are" {
            let here = offending (Reflection.Assembly.GetExecutingAssembly().Location)
            Expect.exists here (fun used -> used.StartsWith "System.IO.File") "this test opens a file"
        }

        test "Core references nothing of ASP.NET or Kubernetes" {
            let references =
                typeof<RouteTable>.Assembly.GetReferencedAssemblies()
                |> Array.map (fun assembly -> string assembly.Name)

            for name in references do
                Expect.isFalse
                    (name.StartsWith "Microsoft."
                     || name.StartsWith "Kubernetes"
                     || (name.StartsWith "K8sReq"))
                    name
        }
    ]
