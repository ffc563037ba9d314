module K8sReq.Core.Tests.ListenAddressTests

open System.Net
open Expecto
open K8sReq.Core

let private reads (text, host, port) = test $"\"{text}\" is read and written back" {
    let address = ListenAddress.tryParse text
    Expect.equal address (Some { Host = host; Port = port }) "read"
    Expect.equal (address |> Option.map string) (Some text) "written back"
}

let private refuses text = test $"\"{text}\" is refused" {
    Expect.isNone (ListenAddress.tryParse text) "no address"
}

let tests =
    testList "ListenAddress" [
        yield!
            [
                ":8080", ListenHost.Any, 8080
                "127.0.0.1:9556", ListenHost.Address(IPAddress.Parse "127.0.0.1"), 9556
                "0.0.0.0:0", ListenHost.Address IPAddress.Any, 0
                "[::1]:80", ListenHost.Address IPAddress.IPv6Loopback, 80
                "[fe80::1%1]:80", ListenHost.Address(IPAddress.Parse "fe80::1%1"), 80
                "localhost:65535", ListenHost.Localhost, 65535
            ]
            |> List.map reads

        yield!
            [
                ""
                "8080"
                "127.0.0.1"
                "010.0.0.1:80"
                "127.0.0.010:80"
                "[::ffff:010.0.0.1]:80"
                "[]:80"
                "fe80::1%1:80"
                ":"
                ":65536"
                ":-1"
                ":http"
                "::1:80"
                "300.0.0.1:80"
                "1:80"
                "example.com:80"
                "http://:80"
                "[::1:80"
            ]
            |> List.map refuses
    ]
