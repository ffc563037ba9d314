module K8sReq.Core.Tests.TargetPolicyTests

open System
open System.Net
open Expecto
open K8sReq.Core

let private target (address: string) port =
    match HostName.parse "a.example" with
    | Error error -> failwith $"{error}"
    | Ok host -> {
        Clone = ObjectKey.create "shop" "copy"
        Host = host
        Service = ObjectKey.create "shop" "app"
        Address = IPAddress.Parse address
        Port = port
        Matches = [||]
        Edit = HeadEdit.none
        Delivery = DeliveryPolicy.byDefault
      }

let private inCluster = {
    AllowsLocal = false
    OwnPorts = set [ 8080 ]
    MostPerHost = 1000
    HasJournal = false
    Durability = Durability.Memory
    DeadLetterKeep = TimeSpan.FromDays 7.0
}

let tests =
    testList "TargetPolicy" [
        test "in a cluster, addresses of this machine and its link are refused, and no others" {
            for address in
                [
                    "0.0.0.0"
                    "0.1.2.3"
                    "127.0.0.1"
                    "127.255.0.1"
                    "169.254.169.254"
                    "224.0.0.1"
                    "239.255.255.255"
                    "255.255.255.255"
                    "::"
                    "::1"
                    "fe80::1"
                    "ff02::1"
                    "::ffff:127.0.0.1"
                    "::ffff:169.254.169.254"
                ] do
                match TargetPolicy.admit inCluster (target address 80) with
                | Error(ResolutionError.ServiceAddressRefused _ as error) ->
                    Expect.stringContains (Resolution.describeError error) "ALLOW_LOCAL_TARGETS" "the setting"
                | other -> failtest $"{address}: {other}"

            for address in
                [
                    "10.96.0.1"
                    "192.168.0.1"
                    "172.16.0.1"
                    "169.253.0.1"
                    "240.0.0.1"
                    "fd00::1"
                    "2001:db8::1"
                ] do
                Expect.isOk (TargetPolicy.admit inCluster (target address 8080)) address
        }

        test "without a cluster they are not, but for this program's own ports" {
            let policy = { inCluster with AllowsLocal = true }
            Expect.isOk (TargetPolicy.admit policy (target "127.0.0.1" 9001)) "a receiver"
            Expect.isError (TargetPolicy.admit policy (target "127.0.0.1" 8080)) "the proxy itself"

            Expect.isOk
                (TargetPolicy.admit policy (target "10.0.0.1" 8080))
                "the same port of another machine"
        }

        test
            "durability is what the RequestClone says, or else the program; without a journal none can be had" {
            let asking durability = {
                target "10.0.0.1" 80 with
                    Delivery = {
                        DeliveryPolicy.byDefault with
                            Durability = durability
                    }
            }

            let admitted policy durability =
                TargetPolicy.admit policy (asking durability) |> Result.map _.Delivery.IsDurable

            let journal byDefault = {
                inCluster with
                    HasJournal = true
                    Durability = byDefault
            }

            for byDefault, isDurable in [ Durability.Memory, false; Durability.Journal, true ] do
                Expect.equal (admitted (journal byDefault) None) (Ok isDurable) "the program's"
                Expect.equal (admitted (journal byDefault) (Some Durability.Memory)) (Ok false) "said"
                Expect.equal (admitted (journal byDefault) (Some Durability.Journal)) (Ok true) "said"

            Expect.equal (admitted inCluster None) (Ok false) "in memory"

            Expect.equal
                (admitted inCluster (Some Durability.Journal))
                (Error ResolutionError.JournalNotConfigured)
                "not routed"
        }

        test "a route to a refused address is not in force, and is told apart from others" {
            let clone = {
                Key = ObjectKey.create "shop" "copy"
                Spec = Ok(CloneSpec.create (Generators.host "a.example") "app" (PortRef.Named "http"))
                Observed = None
            }

            let service = {
                Key = ObjectKey.create "shop" "app"
                Address = ServiceAddress.ClusterIP(IPAddress.Parse "169.254.169.254")
                Ports = [
                    {
                        Name = Some "http"
                        Number = 80
                        Protocol = "TCP"
                        AppProtocol = None
                    }
                ]
            }

            let routing =
                Routing.fold
                    {
                        Routing.initial with
                            Policy = inCluster
                    }
                    [
                        ClusterEvent.ClonesListed(WatchScope.AllNamespaces, [ clone ])
                        ClusterEvent.ServicesListed(WatchScope.AllNamespaces, [ service ])
                    ]

            Expect.equal routing.Routes.Count 0 "nothing is routed"
            Expect.equal routing.Counts.Unrouted 1 "and it is counted"
        }
    ]
