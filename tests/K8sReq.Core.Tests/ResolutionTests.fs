module K8sReq.Core.Tests.ResolutionTests

open System.Net
open Expecto
open K8sReq.Core
open K8sReq.Core.Tests.Generators

let private serviceKey = ObjectKey.create "shop" "app"

let private tcp name number = {
    Name = name
    Number = number
    Protocol = "TCP"
    AppProtocol = None
}

let private service address ports = {
    Key = serviceKey
    Address = address
    Ports = ports
}

let private clusterIP = ServiceAddress.ClusterIP(IPAddress.Parse "10.0.0.1")

let private clone port : RequestClone = {
    Key = ObjectKey.create "shop" "copy"
    Spec =
        Ok {
            Host = host "a.example"
            Matches = []
            Filters = []
            ServiceName = "app"
            ServicePort = port
            Delivery = DeliveryPolicy.byDefault
        }
    Observed = None
}

let private resolve port (services: BackendService list) =
    Resolution.resolve (services |> List.map (fun s -> s.Key, s) |> Map.ofList) (clone port)

let private endpoint port services =
    resolve port services |> Result.map _.Endpoint

let private fails name error words port services = test name {
    Expect.equal (resolve port services) (Error error) "not routed"
    Expect.stringContains (Resolution.describeError error) words "says why"
}

let private http = PortRef.Named "http"

let tests =
    testList "Resolution" [
        test "a named port gives the Service's address and the port's number" {
            Expect.equal
                (endpoint http [ service clusterIP [ tcp (Some "admin") 81; tcp (Some "http") 80 ] ])
                (Ok "10.0.0.1:80")
                "resolved"
        }

        test "a number finds an unnamed port" {
            Expect.equal
                (endpoint (PortRef.Number 80) [ service clusterIP [ tcp None 80 ] ])
                (Ok "10.0.0.1:80")
                "resolved"
        }

        test "an empty name finds the unnamed port" {
            Expect.equal
                (endpoint PortRef.Unnamed [ service clusterIP [ tcp None 80 ] ])
                (Ok "10.0.0.1:80")
                "resolved"
        }

        fails
            "an empty name finds no port that has one"
            (ResolutionError.ServicePortNotFound(serviceKey, PortRef.Unnamed, [ tcp (Some "http") 80 ]))
            "Service shop/app has no port without a name: it has http (80)"
            PortRef.Unnamed
            [ service clusterIP [ tcp (Some "http") 80 ] ]

        test "an IPv6 address is bracketed" {
            let address = ServiceAddress.ClusterIP(IPAddress.Parse "fd00::1")

            Expect.equal
                (endpoint http [ service address [ tcp (Some "http") 80 ] ])
                (Ok "[fd00::1]:80")
                "resolved"
        }

        test "of a number offered over TCP and UDP, TCP is taken" {
            let udp = {
                tcp (Some "dns") 53 with
                    Protocol = "UDP"
            }

            let ports = [ udp; tcp (Some "dns-tcp") 53 ]

            Expect.equal
                (endpoint (PortRef.Number 53) [ service clusterIP ports ])
                (Ok "10.0.0.1:53")
                "resolved"
        }

        fails "no such Service" (ResolutionError.ServiceNotFound serviceKey) "shop/app does not exist" http []

        fails
            "a Service of that name in another namespace is not meant"
            (ResolutionError.ServiceNotFound serviceKey)
            "does not exist"
            http
            [
                {
                    service clusterIP [ tcp (Some "http") 80 ] with
                        Key = ObjectKey.create "blog" "app"
                }
            ]

        fails
            "no port of that name"
            (ResolutionError.ServicePortNotFound(serviceKey, http, [ tcp (Some "admin") 81; tcp None 82 ]))
            "it has admin (81), 82"
            http
            [ service clusterIP [ tcp (Some "admin") 81; tcp None 82 ] ]

        fails "no ports at all" (ResolutionError.ServicePortNotFound(serviceKey, http, [])) "none at all" http [
            service clusterIP []
        ]

        fails
            "a port over UDP only"
            (ResolutionError.ServicePortNotTcp(
                serviceKey,
                {
                    tcp (Some "http") 80 with
                        Protocol = "UDP"
                }
            ))
            "over UDP only"
            http
            [
                service clusterIP [
                    {
                        tcp (Some "http") 80 with
                            Protocol = "UDP"
                    }
                ]
            ]

        for name in
            [
                "https"
                "HTTPS"
                "tls"
                "grpc"
                "h2c"
                "http2"
                "ws"
                "wss"
                "kubernetes.io/h2c"
                "kubernetes.io/ws"
                "kubernetes.io/wss"
            ] do
            let port = {
                tcp (Some "http") 443 with
                    AppProtocol = Some name
            }

            fails
                $"a port with appProtocol {name}"
                (ResolutionError.ServicePortProtocolUnsupported(serviceKey, port))
                $"appProtocol {name} for port http (443): copies can only be sent over plain HTTP/1.1"
                http
                [ service clusterIP [ port ] ]

        for name in
            [
                "http"
                "HTTP"
                "example.com/https"
                "mycompany.example/h2c"
                "tcp"
                "kubernetes.io/later"
            ] do
            test $"a port with appProtocol {name} is sent to as without one" {
                let port = {
                    tcp (Some "http") 80 with
                        AppProtocol = Some name
                }

                Expect.equal (endpoint http [ service clusterIP [ port ] ]) (Ok "10.0.0.1:80") "resolved"
            }

        fails "a headless Service" (ResolutionError.ServiceHeadless serviceKey) "headless" http [
            service ServiceAddress.Headless [ tcp (Some "http") 80 ]
        ]

        fails
            "an ExternalName"
            (ResolutionError.ServiceExternalName(serviceKey, "x.example"))
            "x.example"
            http
            [ service (ServiceAddress.ExternalName "x.example") [] ]

        fails "no address yet" (ResolutionError.ServiceWithoutAddress serviceKey) "no clusterIP" http [
            service ServiceAddress.Unassigned [ tcp (Some "http") 80 ]
        ]

        fails
            "a Service that cannot be read"
            (ResolutionError.ServiceUnreadable(serviceKey, [ FieldFault.Missing "spec" ]))
            "spec is missing"
            http
            [ service (ServiceAddress.Unreadable [ FieldFault.Missing "spec" ]) [] ]

        test "a spec that is not valid is not routed, whatever Services there are" {
            let faults = [ FieldFault.Missing "spec.host" ]

            let invalid: RequestClone = {
                Key = serviceKey
                Spec = Error faults
                Observed = None
            }

            Expect.equal
                (Resolution.resolve Map.empty invalid)
                (Error(ResolutionError.InvalidSpec faults))
                "not routed"

            Expect.stringContains
                (Resolution.describeError (ResolutionError.InvalidSpec faults))
                "spec.host"
                "says why"
        }
    ]
