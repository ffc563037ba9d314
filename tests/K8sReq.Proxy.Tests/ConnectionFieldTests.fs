module K8sReq.Proxy.Tests.ConnectionFieldTests

open System.Text
open Expecto
open K8sReq.Proxy
open K8sReq.TestKit

let private becomes (value, expected) = test $"\"{value}\" becomes \"{expected}\"" {
    Expect.equal (ConnectionField.rewrite value) expected "rewritten"
    let bytes = Encoding.Latin1.GetBytes(value: string)
    Expect.equal (ConnectionField.encoding.GetString bytes) expected "and so it is decoded"
    Expect.equal (ConnectionField.encoding.GetBytes value) bytes "encoding changes nothing"
}

/// A request whose Connection field has this value: the names of the fields that the copy has, and whether the
/// connection ended after the answer.
let private outcomeOf (connection: string) = task {
    use target = TestTarget.ok ()
    use! proxy = TestProxy.Start(Manifests.route "a.example" [ target.Port ])
    use! client = TestClient.Connect proxy.Port

    let request =
        $"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: {connection}\r\nX-Hop: 1\r\nX-Stays: 1\r\n\r\n"

    do! client.Send request
    let! first = client.Answer()
    let! copy = target.Next()
    do! client.Send request
    let! second = client.TryAnswer()
    Expect.equal (TestClient.status first) 202 "accepted"
    return copy.Fields |> List.map fst |> List.sort, second.IsNone
}

let private onTheWire (connection, names, closes) =
    testCaseTask $"over the wire: {connection}" (fun () -> task {
        let! fields, isClosed = outcomeOf connection
        Expect.equal fields (List.sort ("Host" :: "Via" :: names)) "the fields of the copy"
        Expect.equal isClosed closes "whether the connection ends"
    })

let tests =
    testList "ConnectionField" [
        yield!
            [
                "keep-alive", "keep-alive"
                "Close", "Close"
                "Upgrade", "Upgrade"
                "close, keep-alive", "close, keep-alive"
                "", ""
                "X-Hop", "X-Hop"
                "keep-alive, X-Hop", "X-Hop"
                "X-Hop,Keep-Alive ,Y", "X-Hop, Y"
                "close, X-Hop", "close, keep-alive, X-Hop"
                "X-Hop, upgrade", "X-Hop"
            ]
            |> List.map becomes

        yield!
            [
                "X-Hop", [ "X-Stays" ], false
                "keep-alive, X-Hop", [ "X-Stays" ], false
                "close, x-hop", [ "X-Stays" ], true
                "X-Hop, Upgrade", [ "X-Stays" ], false
                "close", [ "X-Hop"; "X-Stays" ], true
                "keep-alive", [ "X-Hop"; "X-Stays" ], false
                "x-hop, X-Stays", [], false
            ]
            |> List.map onTheWire
    ]
