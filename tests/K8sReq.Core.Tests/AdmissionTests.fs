module K8sReq.Core.Tests.AdmissionTests

open Expecto
open K8sReq.Core

let private head = {
    Method = "POST"
    Target = "/hooks"
    Host = "a.example"
    IsHttp10 = false
    Lines = [| struct ("Host", "a.example"); struct ("X-A", "1") |]
}

let private withLines lines = {
    head with
        Lines = Array.append head.Lines (Array.ofList lines)
}

let tests =
    testList "Admission" [
        for name, head, expected in
            [
                "a good request", head, ValueNone
                "no method", { head with Method = "" }, ValueSome Refusal.Malformed
                "a space in the target", { head with Target = "/a b" }, ValueSome Refusal.Malformed
                "a control in the host", { head with Host = "a\tb" }, ValueSome Refusal.Malformed
                "a bad header name", withLines [ struct ("a b", "1") ], ValueSome Refusal.Malformed
                "CONNECT",
                {
                    head with
                        Method = "CONNECT"
                        Target = "a:1"
                },
                ValueSome Refusal.Tunnel
                "chunked", withLines [ struct ("transfer-encoding", " Chunked") ], ValueNone
                "another coding",
                withLines [ struct ("Transfer-Encoding", "gzip, chunked") ],
                ValueSome Refusal.UnknownTransferCoding
                "chunked twice",
                withLines [
                    struct ("Transfer-Encoding", "chunked")
                    struct ("Transfer-Encoding", "chunked")
                ],
                ValueSome Refusal.UnknownTransferCoding
                "two lengths",
                withLines [ struct ("Transfer-Encoding", "chunked"); struct ("X-Content-Length", "1") ],
                ValueSome Refusal.AmbiguousLength
                "a coding in HTTP/1.0",
                {
                    withLines [ struct ("Transfer-Encoding", "chunked") ] with
                        IsHttp10 = true
                },
                ValueSome Refusal.AmbiguousLength
            ] do
            test name { Expect.isTrue (Admission.check head = expected) $"{Admission.check head}" }

        test "a request that has been here before is not copied again" {
            let refusal =
                Admission.checkRouted "k8sreq" (withLines [ struct ("via", "1.0 x, 1.1 K8SREQ") ])

            Expect.isTrue (refusal = ValueSome(Refusal.Loop "1.1 K8SREQ")) $"{refusal}"
            Expect.isTrue ((Admission.checkRouted "other" head).IsNone) "others are"
        }

        test "a control character in a header's value" {
            let refusal =
                Admission.checkRouted "k8sreq" (withLines [ struct ("X-B", "a\u0001") ])

            Expect.isTrue (refusal = ValueSome Refusal.ControlInHeader) $"{refusal}"
        }

        test "the host of an absolute target counts before the Host header" {
            let host target =
                (RequestHead.create "GET" target "b.example" false [||]).Host

            Expect.equal (host "http://a.example:8080/x") "a.example:8080" "the target's"
            Expect.equal (host "/x") "b.example" "else the header's"
        }

        test "headers of one name are one value" {
            let head = withLines [ struct ("x-a", "2"); struct ("X-B", "3") ]
            Expect.equal (RequestHead.valueOf "X-A" head) "1,2" "both"
            Expect.isNull (RequestHead.valueOf "X-C" head) "none"
        }
    ]
