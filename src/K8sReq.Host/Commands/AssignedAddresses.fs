/// Manifests as they are applied to a cluster, which gives each Service its address: there is none in them.
module K8sReq.Host.Commands.AssignedAddresses

open System.Net
open K8sReq.Core
open K8sReq.Proxy
open K8sReq.Kubernetes
open K8sReq.Host.Manifests

// Stands for the address that a cluster gives. One of those for documentation: no Service has it.
let private assigned = IPAddress.Parse "192.0.2.1"

let private addressesOf (content: FolderContent) : ServiceAddress list = [
    for declared in content.Objects do
        match declared.Object with
        | :? BackendService as service -> service.Address
        | _ -> ()
]

let private isGiven (address: ServiceAddress) =
    match address with
    | ServiceAddress.ClusterIP _ -> true
    | _ -> false

let private withAddress (declared: DeclaredObject) : DeclaredObject =
    match declared.Object with
    | :? BackendService as service when service.Address = ServiceAddress.Unassigned -> {
        declared with
            Object = {
                service with
                    Address = ServiceAddress.ClusterIP assigned
            }
      }
    | _ -> declared

/// With an address for each Service that gets one in a cluster, and whether there are any. Where one Service has an address, all
/// need one: those manifests are meant for `--manifests`.
let assign (content: FolderContent) : FolderContent * bool =
    let addresses = addressesOf content

    if
        List.exists isGiven addresses
        || not (List.contains ServiceAddress.Unassigned addresses)
    then
        content, false
    else
        {
            content with
                Objects = List.map withAddress content.Objects
        },
        true

/// Where copies for the target go.
let describe (target: Target) : string =
    if target.Address.Equals assigned then
        $"clusterIP:{target.Port}"
    else
        target.Endpoint
