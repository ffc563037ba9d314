module K8sReq.Core.Tests.RequestCloneTests

open Expecto
open K8sReq.Core
open K8sReq.Core.Tests.Generators

let private portReads (text, expected: PortRef option) = test $"port \"{text}\" is {expected}" {
    Expect.equal (PortRef.tryParse text) expected "read"
}

let tests =
    testList "RequestClone" [
        testList
            "servicePort"
            ([
                "http", Some(PortRef.Named "http")
                "http-2", Some(PortRef.Named "http-2")
                "8080", Some(PortRef.Number 8080)
                "65535", Some(PortRef.Number 65535)
                "0", None
                "65536", None
                "", None
                "Http", None
                "-http", None
                "a--b", None
                "sixteen-letters-", None
                "80 ", None
             ]
             |> List.map portReads)

        test "a valid spec is read" {
            Expect.equal
                (RequestClone.createSpec (Ok "A.example:80") (Ok "app") (Ok "http"))
                (Ok {
                    Host = host "a.example"
                    ServiceName = "app"
                    ServicePort = PortRef.Named "http"
                })
                "the host is normalised"
        }

        test "every fault of a spec is reported at once" {
            match
                RequestClone.createSpec
                    (Ok "*.example")
                    (Ok "App")
                    (Error(FieldFault.WrongType("spec.backend.servicePort", "a string", "a number")))
            with
            | Ok _ -> failtest "accepted"
            | Error faults ->
                Expect.equal faults.Length 3 "three faults"
                let text = FieldFault.describeAll faults
                Expect.stringContains text "spec.host is \"*.example\"" "the host"
                Expect.stringContains text "spec.backend.serviceName is \"App\"" "the service"

                Expect.stringContains
                    text
                    "spec.backend.servicePort must be a string, not a number"
                    "the port"
        }
    ]
