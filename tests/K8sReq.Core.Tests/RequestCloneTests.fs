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
                "", Some PortRef.Unnamed
                "http", Some(PortRef.Named "http")
                "http-2", Some(PortRef.Named "http-2")
                "8080", Some(PortRef.Number 8080)
                "65535", Some(PortRef.Number 65535)
                "0", None
                "65536", None
                "Http", None
                "-http", None
                "a--b", None
                "sixteen-letters-", None
                "80 ", None
             ]
             |> List.map portReads)

        test "a valid spec is read" {
            Expect.equal
                (RequestClone.createSpec (SpecFields.required "A.example:80" "app" "http"))
                (Ok {
                    Host = host "a.example"
                    ServiceName = "app"
                    ServicePort = PortRef.Named "http"
                    Delivery = DeliveryPolicy.byDefault
                })
                "the host is normalised"
        }

        test "every fault of a spec is reported at once" {
            match
                RequestClone.createSpec {
                    SpecFields.required "*.example" "App" "http" with
                        ServicePort =
                            Error(FieldFault.WrongType("spec.backend.servicePort", "a string", "a number"))
                        BackendRequest = Ok(Some "1 s")
                        Retry = Ok(Some -1L)
                        BackoffPolicy = Ok(Some "random")
                        BackoffDelay = Ok(Some "0s")
                        BackoffMax = Ok(Some "25h")
                }
            with
            | Ok _ -> failtest "accepted"
            | Error faults ->
                Expect.equal faults.Length 8 "every one"
                let text = FieldFault.describeAll faults
                Expect.stringContains text "spec.host is \"*.example\"" "the host"
                Expect.stringContains text "spec.backend.serviceName is \"App\"" "the service"

                Expect.stringContains
                    text
                    "spec.backend.servicePort must be a string, not a number"
                    "the port"

                for field in
                    [
                        "spec.timeouts.backendRequest"
                        "spec.delivery.retry"
                        "spec.delivery.backoffPolicy"
                        "spec.delivery.backoffDelay"
                        "spec.delivery.backoffMax"
                    ] do
                    Expect.stringContains text $"{field} is " field
        }

        test "how copies are delivered is read" {
            let spec =
                RequestClone.createSpec {
                    SpecFields.required "a.example" "app" "http" with
                        BackendRequest = Ok(Some "1m30s")
                        Retry = Ok(Some 3L)
                        BackoffPolicy = Ok(Some "linear")
                        BackoffDelay = Ok(Some "500ms")
                        BackoffMax = Ok(Some "10s")
                }

            Expect.equal
                (spec |> Result.map _.Delivery)
                (Ok {
                    AttemptTimeout = Some(System.TimeSpan.FromSeconds 90.0)
                    Retry = {
                        Retries = 3
                        Backoff = BackoffPolicy.Linear
                        Delay = System.TimeSpan.FromSeconds 0.5
                        Longest = System.TimeSpan.FromSeconds 10.0
                    }
                })
                "all of it"
        }
    ]
