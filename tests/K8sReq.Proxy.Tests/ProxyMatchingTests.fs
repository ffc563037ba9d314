/// Every row of which targets a request is for.
module K8sReq.Proxy.Tests.ProxyMatchingTests

open System
open System.Net
open System.Net.Http
open System.Threading.Tasks
open Expecto
open K8sReq.TestKit.HttpMessage
open K8sReq.TestKit

let private getWithHost host =
    $"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"

/// Waits until requests for this host are answered so.
let private becomes (proxy: TestProxy) host status =
    Waiting.until $"{host} to be answered {status}" (fun () -> task {
        let! answered = TestClient.statusOf proxy.Port (getWithHost host)
        return answered = status
    })

let tests =
    testList "matching" [
        testCaseTask "every spelling of a host is the same host"
        <| fun () -> task {
            use target = TestTarget.ok ()
            use! proxy = TestProxy.Start(Manifests.route "A.Example.:443" [ target.Port ])

            for host in [ "a.example"; "A.EXAMPLE"; "a.example."; "a.example:8080"; "A.example.:1" ] do
                let! status = TestClient.statusOf proxy.Port (getWithHost host)
                Expect.equal status 202 host
                let! copy = target.Next()
                Expect.equal (copy.Values "Host") [ host ] "and the copy has it as it was written"

            // An empty port is none, and goes.
            let! status = TestClient.statusOf proxy.Port (getWithHost "a.example:")
            Expect.equal status 202 "an empty port"
            let! copy = target.Next()
            Expect.equal (copy.Values "Host") [ "a.example" ] "in its normal form"
            let! status = TestClient.statusOf proxy.Port (getWithHost "a.example:99999")
            Expect.equal status 503 "no port"

            for host in [ "b.example"; "xa.example"; "a.example.org"; "example" ] do
                let! status = TestClient.statusOf proxy.Port (getWithHost host)
                Expect.equal status 503 host
        }

        testCaseTask "an absolute request target names the host, whatever the Host field says"
        <| fun () -> task {
            use target = TestTarget.ok ()
            use! proxy = TestProxy.Start(Manifests.route "a.example" [ target.Port ])

            let! status =
                TestClient.statusOf proxy.Port "GET http://A.example:80/x HTTP/1.1\r\nHost: b.example\r\n\r\n"

            Expect.equal status 202 "matched"
            let! copy = target.Next()

            Expect.equal
                (copy.Start, copy.Values "Host")
                ("GET /x HTTP/1.1", [ "A.example:80" ])
                "by what the target said"

            let! other =
                TestClient.statusOf proxy.Port "GET http://b.example/x HTTP/1.1\r\nHost: a.example\r\n\r\n"

            Expect.equal other 503 "and not by the Host field"
        }

        testCaseTask "HTTP/2 without TLS: the authority is the host, and the copy is as faithful"
        <| fun () -> task {
            use target = TestTarget.ok ()
            use! proxy = TestProxy.Start(Manifests.route "a.example" [ target.Port ])
            use client = new HttpClient()

            use request =
                new HttpRequestMessage(
                    HttpMethod.Post,
                    $"http://127.0.0.1:{proxy.Port}/x%%2Fy?q",
                    Version = HttpVersion.Version20,
                    VersionPolicy = HttpVersionPolicy.RequestVersionExact,
                    Content = new StringContent "hello"
                )

            request.Headers.Host <- "A.example"
            request.Headers.TryAddWithoutValidation("x-a", [ "1"; "2" ]) |> ignore
            use! response = client.SendAsync request
            Expect.equal (int response.StatusCode, response.Version) (202, HttpVersion.Version20) "accepted"
            let! copy = target.Next()
            Expect.equal (copy.Start, copy.Text) ("POST /x%2Fy?q HTTP/1.1", "hello") "the line and the body"

            Expect.equal
                (copy.Fields
                 |> List.map (fun (name, value) -> name.ToLowerInvariant(), value)
                 |> List.sort)
                (List.sort [
                    "host", "A.example"
                    "x-a", "1, 2"
                    "content-type", "text/plain; charset=utf-8"
                    "content-length", "5"
                    "via", "1.1 k8sreq"
                ])
                "the fields, and none of HTTP/2's own"

            use unknown =
                new HttpRequestMessage(
                    HttpMethod.Get,
                    $"http://127.0.0.1:{proxy.Port}/",
                    Version = HttpVersion.Version20,
                    VersionPolicy = HttpVersionPolicy.RequestVersionExact
                )

            use! refused = client.SendAsync unknown
            Expect.equal refused.StatusCode HttpStatusCode.ServiceUnavailable "no such host"
        }

        testCaseTask "HTTP/2: a request without a body gets none, one of unknown length is read to its end"
        <| fun () -> task {
            use target = TestTarget.ok ()
            use! proxy = TestProxy.Start(Manifests.route "a.example" [ target.Port ])

            use client =
                new HttpClient(
                    DefaultRequestVersion = HttpVersion.Version20,
                    DefaultVersionPolicy = HttpVersionPolicy.RequestVersionExact
                )

            client.DefaultRequestHeaders.Host <- "a.example"
            use! _ = client.GetAsync $"http://127.0.0.1:{proxy.Port}/get"
            let! copy = target.Next()
            Expect.isEmpty (copy.Values "Content-Length") "no body"
            let content = new StreamContent(new IO.MemoryStream("streamed"B))
            content.Headers.ContentLength <- Nullable()
            use! _ = client.PostAsync($"http://127.0.0.1:{proxy.Port}/post", content)
            let! copy = target.Next()
            Expect.equal copy.Text "streamed" "whole"
        }

        testCaseTask "every RequestClone of a host gets a copy, from whichever namespace"
        <| fun () -> task {
            use first = TestTarget.ok ()
            use second = TestTarget.ok ()

            let inBlog (text: string) =
                text.Replace("namespace: shop", "namespace: blog")

            use! proxy =
                TestProxy.Start(
                    Manifests.route "a.example" [ first.Port ]
                    + inBlog (Manifests.route "A.example" [ second.Port ])
                )

            let! status = TestClient.statusOf proxy.Port (getWithHost "a.example")
            Expect.equal status 202 "accepted"
            let! _ = first.Next()
            let! _ = second.Next()
            ()
        }

        testCaseTask "a port that is written as a number, and an unnamed port"
        <| fun () -> task {
            use target = TestTarget.ok ()

            use! proxy =
                TestProxy.Start(
                    $"apiVersion: v1\nkind: Service\nmetadata: {{name: app, namespace: shop}}\nspec: {{clusterIP: 127.0.0.1, ports: [{{port: {target.Port}}}]}}\n---\n"
                    + (Manifests.clone "copy" "a.example" "app")
                        .Replace("servicePort: http", $"servicePort: \"{target.Port}\"")
                )

            let! status = TestClient.statusOf proxy.Port (getWithHost "a.example")
            Expect.equal status 202 "routed"
            let! _ = target.Next()
            ()
        }

        testCaseTask "what cannot be sent to is not routed, and the log says why"
        <| fun () -> task {
            let service name spec =
                $"apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\nspec: {spec}\n---\n"

            let cases = [
                "headless", "{clusterIP: None, ports: [{name: http, port: 80}]}", "is headless"
                "alias",
                "{type: ExternalName, externalName: x.example, ports: [{name: http, port: 80}]}",
                "is an ExternalName"
                "unassigned", "{ports: [{name: http, port: 80}]}", "has no clusterIP"
                "portless",
                "{clusterIP: 127.0.0.1, ports: [{name: web, port: 80}]}",
                "has no port http: it has web (80)"
            ]

            use! proxy =
                TestProxy.Start(
                    (cases
                     |> List.map (fun (name, spec, _) ->
                         service name spec + Manifests.clone name $"{name}.example" name)
                     |> String.concat "")
                    + Manifests.clone "lost" "lost.example" "nobody"
                )

            for name in "lost" :: List.map (fun (name, _, _) -> name) cases do
                let! status = TestClient.statusOf proxy.Port (getWithHost $"{name}.example")
                Expect.equal status 503 name

            for words in
                "Service shop/nobody does not exist"
                :: List.map (fun (_, _, words) -> words) cases do
                Expect.exists proxy.Log (fun line -> line.Contains words) words
        }

        testCaseTask "a changed or deleted object is seen by the next request, and nothing stale is sent"
        <| fun () -> task {
            use first = TestTarget.ok ()
            use second = TestTarget.ok ()
            use! proxy = TestProxy.Start(Manifests.route "a.example" [ first.Port ])
            do! becomes proxy "a.example" 202
            let! _ = first.Next()
            // The Service gets another address: the same host goes elsewhere.
            proxy.Folder.Write("all.yaml", Manifests.route "a.example" [ second.Port ])

            do!
                Waiting.until "a copy at the new address" (fun () -> task {
                    let! _ = TestClient.statusOf proxy.Port (getWithHost "a.example")
                    do! proxy.Settled()
                    return second.Waiting > 0
                })

            let before = first.Waiting
            let! _ = TestClient.statusOf proxy.Port (getWithHost "a.example")
            do! proxy.Settled()
            Expect.equal first.Waiting before "the old address gets nothing more"
            // The Service goes.
            proxy.Folder.Write("all.yaml", Manifests.clone "copy-0" "a.example" "app-0")
            do! becomes proxy "a.example" 503
            // It comes back, and the RequestClone takes another host.
            proxy.Folder.Write("all.yaml", Manifests.route "b.example" [ second.Port ])
            do! becomes proxy "b.example" 202
            do! becomes proxy "a.example" 503
            // The file goes, and everything with it.
            proxy.Folder.Delete "all.yaml"
            do! becomes proxy "b.example" 503
        }

        testCaseTask "a file that breaks leaves the routes in force"
        <| fun () -> task {
            use target = TestTarget.ok ()
            use! proxy = TestProxy.Start(Manifests.route "a.example" [ target.Port ])
            proxy.Folder.Write("all.yaml", "kind: [\n")

            do!
                Waiting.until "the report" (fun () ->
                    proxy.Log
                    |> List.exists (fun line ->
                        line.Contains "all.yaml:" && line.Contains "cannot be parsed")
                    |> Task.FromResult)

            let! status = TestClient.statusOf proxy.Port (getWithHost "a.example")
            Expect.equal status 202 "still routed"
            proxy.Folder.Write("all.yaml", Manifests.route "b.example" [ target.Port ])
            do! becomes proxy "b.example" 202

            Expect.exists proxy.Log (fun line -> line.Contains "Fixed: ") "and the log says that it is mended"
        }
    ]
