module K8sReq.Core.Tests.RequestCloneTests

open System.Text.Json
open Expecto
open K8sReq.Core
open K8sReq.Core.Tests.Generators

let private portReads (text, expected: PortRef option) = test $"port \"{text}\" is {expected}" {
    Expect.equal (PortRef.tryParse text) expected "read"
}

let private json (text: string) =
    use document = JsonDocument.Parse text
    document.RootElement.Clone()

let private read (spec: string) =
    Kind.readSpec CloneSpec.decoder ObjectOrigin.Manifest (json $$"""{"spec":{{spec}}}""")

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
                (read """{"host":"A.example:80","backend":{"serviceName":"app","servicePort":"http"}}""")
                (Ok(CloneSpec.create (host "a.example") "app" (PortRef.Named "http")))
                "the host is normalised"
        }

        test "null is as good as nothing, in every optional field" {
            Expect.equal
                (read
                    """{"host":"a.example","backend":{"serviceName":"app","servicePort":80},"timeouts":null,"delivery":{"retry":null}}""")
                (Ok(CloneSpec.create (host "a.example") "app" (PortRef.Number 80)))
                "the defaults"
        }

        test "every fault of a spec is reported at once" {
            match
                read
                    """{"host":"*.example","backend":{"serviceName":"App","servicePort":{}},"timeouts":{"backendRequest":"1 s"},"delivery":{"retry":-1,"backoffPolicy":"random","backoffDelay":"0s","backoffMax":"25h"}}"""
            with
            | Ok _ -> failtest "accepted"
            | Error faults ->
                Expect.equal faults.Length 8 "every one"
                let text = FieldFault.describeAll faults
                Expect.stringContains text "spec.host is \"*.example\"" "the host"
                Expect.stringContains text "spec.backend.serviceName is \"App\"" "the service"

                Expect.stringContains
                    text
                    "spec.backend.servicePort must be a string or a whole number, not an object"
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
                read
                    """{"host":"a.example","backend":{"serviceName":"app","servicePort":"http"},"timeouts":{"backendRequest":"1m30s"},"delivery":{"retry":3,"backoffPolicy":"linear","backoffDelay":"500ms","backoffMax":"10s"}}"""

            Expect.equal
                (spec |> Result.map _.Delivery)
                (Ok {
                    AttemptTimeout = Some(System.TimeSpan.FromSeconds 90.0)
                    Retry = {
                        Retries = 3
                        Backoff = BackoffPolicy.Linear
                        Delay = System.TimeSpan.FromSeconds 0.5
                        Longest = System.TimeSpan.FromSeconds 10.0
                        LongestAsked = None
                    }
                    Durability = None
                    WhenFull = FullPolicy.Drop
                    ExpireAfter = None
                    IsIdentified = false
                    DeadLetterKeep = None
                    DeadLetterSink = None
                })
                "all of it"
        }

        test "what becomes of copies that come to no end by themselves is read" {
            let delivery text =
                read
                    $"""{{"host":"a.example","backend":{{"serviceName":"app","servicePort":"http"}},"delivery":{text}}}"""
                |> Result.map _.Delivery

            Expect.equal
                (delivery
                    """{"retryAfterMax":"0s","durability":"Journal","expireAfter":"24h","whenFull":"Refuse","identify":true,"deadLetter":{"keep":"168h"},"deadLetterSink":{"serviceName":"dead","servicePort":"http"}}""")
                (Ok {
                    DeliveryPolicy.byDefault with
                        Retry = {
                            DeliveryPolicy.byDefault.Retry with
                                LongestAsked = Some System.TimeSpan.Zero
                        }
                        Durability = Some Durability.Journal
                        WhenFull = FullPolicy.Refuse
                        ExpireAfter = Some(System.TimeSpan.FromDays 1.0)
                        IsIdentified = true
                        DeadLetterKeep = Some(System.TimeSpan.FromDays 7.0)
                        DeadLetterSink =
                            Some {
                                ServiceName = "dead"
                                ServicePort = PortRef.Named "http"
                            }
                })
                "all of it"

            match
                delivery
                    """{"retryAfterMax":"25h","expireAfter":"0s","identify":"yes","deadLetter":{"keep":"9000h"}}"""
            with
            | Ok spec -> failtest $"{spec}"
            | Error faults ->
                Expect.equal
                    (FieldFault.describeAll faults)
                    ("spec.delivery.retryAfterMax is \"25h\", but must be a duration from 0s to 24h, such as 1m30s; "
                     + "spec.delivery.expireAfter is \"0s\", but must be a duration from 1ms to 8760h, such as 24h or 1m30s; "
                     + "spec.delivery.identify must be true or false, not a string; "
                     + "spec.delivery.deadLetter.keep is \"9000h\", but must be a duration from 0s to 8760h, such as 168h or 1m30s")
                    "each of them"
        }

        test "a sink for dead letters and copies in memory alone contradict each other" {
            let spec =
                read
                    """{"host":"a.example","backend":{"serviceName":"app","servicePort":"http"},"delivery":{"durability":"Memory","deadLetterSink":{"serviceName":"dead","servicePort":80}}}"""

            match spec with
            | Ok spec -> failtest $"{spec}"
            | Error faults ->
                Expect.equal
                    (FieldFault.describeAll faults)
                    "spec.delivery.durability is \"Memory\", but must be Journal where there is a deadLetterSink"
                    "said"
        }

        test "an unknown field is a fault in a manifest alone: a later version may know it" {
            let clone =
                json
                    """{"metadata":{"name":"a"},"spec":{"host":"a.example","hosts":[],"backend":{"serviceName":"a","servicePort":"http","namespace":"b"},"delivery":{"retries":3}}}"""

            let read origin =
                RequestClone.kind.Read origin (ObjectKey.create "shop" "a") clone

            Expect.isOk (read ObjectOrigin.Cluster).Spec "in a cluster"

            Expect.equal
                (read ObjectOrigin.Manifest |> RequestClone.kind.Faults)
                [
                    FieldFault.Unknown("spec.hosts", Some "spec.host")
                    FieldFault.Unknown("spec.backend.namespace", Some "metadata.namespace")
                    FieldFault.Unknown("spec.delivery.retries", Some "spec.delivery.retry")
                ]
                "in a manifest"
        }
    ]
