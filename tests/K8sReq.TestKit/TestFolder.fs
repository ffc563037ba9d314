namespace K8sReq.TestKit

open System
open System.IO

/// A folder of its own for a test, gone afterwards.
[<Sealed>]
type TestFolder() =
    let root =
        Directory.CreateDirectory(
            Path.Combine(Path.GetTempPath(), "k8sreq-test-" + Guid.NewGuid().ToString "N")
        )

    member _.Path = root.FullName
    member _.At(name: string) = Path.Combine(root.FullName, name)

    member folder.Write(name: string, text: string) =
        let path = folder.At name
        Path.GetDirectoryName path |> string |> Directory.CreateDirectory |> ignore
        File.WriteAllText(path, text)

    member folder.Delete(name: string) = File.Delete(folder.At name)

    interface IDisposable with
        member _.Dispose() = root.Delete true

/// Manifests as users write them.
module Manifests =
    let service (name: string) (port: int) =
        $"apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\nspec: {{clusterIP: 127.0.0.1, ports: [{{name: http, port: {port}}}]}}\n---\n"

    let clone (name: string) (host: string) (service: string) =
        $"apiVersion: proxy.infra.doodle.com/v1beta1\nkind: RequestClone\nmetadata: {{name: {name}, namespace: shop}}\nspec: {{host: '{host}', backend: {{serviceName: {service}, servicePort: http}}}}\n---\n"

    /// One host with a target on each of these ports.
    let route (host: string) (ports: int list) =
        ports
        |> List.mapi (fun index port ->
            service $"app-{index}" port + clone $"copy-{index}" host $"app-{index}")
        |> String.concat ""
