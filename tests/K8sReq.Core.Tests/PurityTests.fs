module K8sReq.Core.Tests.PurityTests

open Expecto
open K8sReq.Core

let tests = test "Core references nothing of ASP.NET or Kubernetes, nor anything that does I/O over a network" {
    let allowed =
        set [
            "FSharp.Core"
            "FsToolkit.ErrorHandling"
            "System.Collections"
            "System.Collections.Immutable"
            "System.Linq"
            "System.Memory"
            // IPAddress is a value; sockets are in another assembly.
            "System.Net.Primitives"
            "System.Runtime"
            // What FsToolkit inlines refers to the base library by this name.
            "netstandard"
        ]

    let referenced =
        typeof<RouteTable>.Assembly.GetReferencedAssemblies()
        |> Array.map (fun assembly -> string assembly.Name)
        |> set

    Expect.equal (referenced - allowed) Set.empty "only these are referenced"
    Expect.contains referenced "FSharp.Core" "the test looks at an assembly of ours"
}
