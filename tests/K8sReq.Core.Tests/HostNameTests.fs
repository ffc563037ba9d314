module K8sReq.Core.Tests.HostNameTests

open System
open Expecto
open K8sReq.Core
open K8sReq.Core.Tests.Generators

let private valueOf text =
    HostName.parse text |> Result.map _.Value

let private accepts (text, expected) = test $"\"{text}\" is the host {expected}" {
    Expect.equal (valueOf text) (Ok expected) "parsed"
}

let private refuses (text, (error: HostNameError)) = test $"\"{text}\" is refused" {
    Expect.equal (HostName.parse text) (Error error) "refused"
    Expect.isNotEmpty (HostName.describeError error) "has words for it"
}

let tests =
    testList "HostName" [
        testList
            "spellings"
            ([
                "a.example", "a.example"
                "A.EXAMPLE", "a.example"
                "a.example.", "a.example"
                "a.example:8080", "a.example"
                "a.example:", "a.example"
                "A.example.:80", "a.example"
                "localhost", "localhost"
                "my_host.internal", "my_host.internal"
                "10.0.0.1:80", "10.0.0.1"
                "[::1]", "[::1]"
                "[0:0:0:0:0:0:0:1]:8080", "[::1]"
             ]
             |> List.map accepts)

        testList
            "refusals"
            ([
                "", HostNameError.Empty
                ":80", HostNameError.Empty
                "http://a.example", HostNameError.HasScheme
                "*.example", HostNameError.Wildcard
                "a.example/hook", HostNameError.BadCharacter '/'
                "a b.example", HostNameError.BadCharacter ' '
                "bücher.example", HostNameError.BadCharacter 'ü'
                "a..example", HostNameError.BadLabel ""
                "a.example..", HostNameError.BadLabel ""
                ".", HostNameError.BadLabel ""
                "-a.example", HostNameError.BadLabel "-a"
                "a.example:http", HostNameError.BadPort "http"
                "a.example:65536", HostNameError.BadPort "65536"
                "[::1", HostNameError.BadAddress "[:"
                "[nothing]", HostNameError.BadAddress "[nothing]"
                "[::1%eth0]", HostNameError.BadAddress "[::1%eth0]"
                "[::ffff:010.0.0.1]", HostNameError.BadAddress "[::ffff:010.0.0.1]"
                "[::1/64]", HostNameError.BadAddress "[::1/64]"
                "::1", HostNameError.BadCharacter ':'
                String('a', 64), HostNameError.BadLabel(String('a', 64))
                String.replicate 64 "abc." + "a", HostNameError.TooLong 257
             ]
             |> List.map refuses)

        property "every spelling means the host that it spells" (fun (spelling: HostSpelling) ->
            valueOf spelling.Text = Ok spelling.Means)

        property "parsing is idempotent" (fun (spelling: HostSpelling) ->
            valueOf spelling.Text |> Result.bind valueOf = valueOf spelling.Text)

        property
            "no text makes parsing throw, and what it accepts it accepts again"
            (fun (text: string | null) ->
                match HostName.parse (string text) with
                | Ok host -> HostName.parse host.Value = Ok host
                | Error _ -> true)

        property "the significant part is the parsed host but for case" (fun (spelling: HostSpelling) ->
            let part = (HostName.significant (spelling.Text.AsSpan())).ToString()
            part.ToLowerInvariant() = spelling.Means)
    ]
