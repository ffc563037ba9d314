module K8sReq.Core.Tests.NearestNameTests

open Expecto
open K8sReq.Core

let private names = [ "host"; "backend"; "serviceName"; "servicePort"; "retry"; "timeouts" ]

let tests =
    testList "NearestName" [
        for text, nearest in
            [
                "hosts", Some "host"
                "Host", Some "host"
                "hsot", Some "host"
                "retries", Some "retry"
                "bakcend", Some "backend"
                "servicename", Some "serviceName"
                "service_port", Some "servicePort"
                "port", Some "servicePort"
                "timeout", Some "timeouts"
                "colour", None
                "", None
            ] do
            test $"\"{text}\"" { Expect.equal (NearestName.tryFind names text) nearest "the nearest" }
    ]
