module K8sReq.Core.Tests.RequestTargetTests

open Expecto
open K8sReq.Core
open K8sReq.Core.Tests.Generators

let private becomes (raw, expected) = test $"{raw} is sent as {expected}" {
    Expect.equal (RequestTarget.originForm raw) expected "origin form"
}

let tests =
    testList "RequestTarget" [
        yield!
            [
                "/", "/"
                "/a%2Fb/../c%20d;x=1?q=%41", "/a%2Fb/../c%20d;x=1?q=%41"
                "//double//slashes", "//double//slashes"
                "/x?to=http://b.example/y", "/x?to=http://b.example/y"
                "http://a.example/x?y", "/x?y"
                "http://a.example:80/x%2F?y", "/x%2F?y"
                "http://a.example", "/"
                "http://a.example?y", "/?y"
                "HTTP://a.example/X", "/X"
                "*", "*"
            ]
            |> List.map becomes

        test "an absolute target names its host as it is written" {
            for raw, expected in
                [
                    "http://A.example:80/x", Some "A.example:80"
                    "http://a.example", Some "a.example"
                    "http://a.example?x=http://b.example/", Some "a.example"
                    "http://user:pass@a.example/", Some "a.example"
                    "/x?to=http://b.example/", None
                    "*", None
                ] do
                Expect.equal (RequestTarget.tryAuthority raw |> ValueOption.toOption) expected raw
        }

        property
            "a target that begins with a slash stays as it is, byte for byte"
            (fun (rest: string | null) -> RequestTarget.originForm $"/{rest}" = $"/{rest}")

        property "the authority of an absolute target never reaches a target" (fun (rest: string | null) ->
            RequestTarget.originForm $"http://a.example/{rest}" = $"/{rest}")
    ]
