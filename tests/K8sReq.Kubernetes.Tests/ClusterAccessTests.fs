/// The ways to a cluster, each gone to its end: a list that the API server answers.
module K8sReq.Kubernetes.Tests.ClusterAccessTests

open System
open System.Collections.Concurrent
open System.IO
open System.Net
open System.Net.Http
open System.Net.Security
open System.Net.Sockets
open System.Security.Cryptography.X509Certificates
open System.Text
open System.Threading
open System.Threading.Tasks
open Expecto
open Microsoft.AspNetCore.Server.Kestrel.Core
open Microsoft.Extensions.Logging.Abstractions
open K8sReq.Core
open K8sReq.Proxy
open K8sReq.Kubernetes
open K8sReq.TestKit.ClusterObjects
open K8sReq.TestKit

let private base64 (text: string) =
    Convert.ToBase64String(Encoding.ASCII.GetBytes text)

let private cluster (url: string) (rest: string) =
    $"clusters:\n- name: test\n  cluster:\n    server: {url}\n{rest}"

let private user (fields: string) =
    $"users:\n- name: somebody\n  user: {fields}\n"

let private context =
    "contexts:\n- name: test\n  context: {cluster: test, user: somebody, namespace: mine}\ncurrent-context: test\n"

let private file (folder: TestFolder) (name: string) (parts: string list) =
    let path = Path.Combine(folder.Path, name)
    File.WriteAllText(path, "apiVersion: v1\nkind: Config\n" + String.concat "" parts)
    path

/// Lists Services by these kubeconfig files.
let private list (paths: string list) : Task<string list> = task {
    let variable = String.Join(Path.PathSeparator, paths)

    match ClusterAccess.find None (Map.ofList [ "KUBECONFIG", variable ]) with
    | Error reason -> return failtest reason
    | Ok access ->
        Expect.equal access.Namespace "mine" "the context's namespace"
        use connection = new KubernetesConnection(access)

        let! page =
            (ResourceApi.create BackendService.kind "" WatchScope.AllNamespaces).Page
                connection.Client
                None
                CancellationToken.None

        return page.Items |> List.map (fun service -> string service.Key)
}

let private withServer (test: ApiServer -> TestFolder -> Task<unit>) : Task<unit> = task {
    use! server = ApiServer.Create()
    server.Put(service "shop" "app" "127.0.0.1" 80)
    use folder = new TestFolder()
    do! test server folder
}

let private lists name (prepare: ApiServer -> TestFolder -> string list) =
    testCaseTask name
    <| fun () ->
        withServer (fun server folder -> task {
            let! found = list (prepare server folder)
            Expect.equal found [ "shop/app" ] "the Services"
        })

/// A user whose credentials a program prints.
let private plugin (folder: TestFolder) : string =
    let path = Path.Combine(folder.Path, "plugin")

    File.WriteAllText(
        path,
        """#!/bin/sh
echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"'$TOKEN'"}}'
"""
    )

    File.SetUnixFileMode(path, UnixFileMode.UserRead ||| UnixFileMode.UserExecute)

    $"{{exec: {{apiVersion: client.authentication.k8s.io/v1, command: {path}, interactiveMode: Never, env: [{{name: TOKEN, value: secret}}]}}}}"

/// Lists nothing, with some time between the head and the body, and leaves every watch without an answer.
let private listInPieces (client: TcpClient) : Task = task {
    use client = client
    let stream = client.GetStream()
    use reader = new StreamReader(stream)
    let body = """{"metadata":{"resourceVersion":"1"},"items":[]}"""
    let mutable isOpen = true

    while isOpen do
        let! request = reader.ReadLineAsync()
        let mutable line = request

        while not (String.IsNullOrEmpty line) do
            let! next = reader.ReadLineAsync()
            line <- next

        match request with
        | null -> isOpen <- false
        | request when request.Contains "watch=true" -> ()
        | _ ->
            let head =
                $"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {body.Length}\r\n\r\n"

            do! stream.WriteAsync(Encoding.ASCII.GetBytes head)
            do! Task.Delay 500
            do! stream.WriteAsync(Encoding.ASCII.GetBytes body)
}

let private ports = [
    "--http-addr=127.0.0.1:0"
    "--probe-addr=127.0.0.1:0"
    "--metrics-addr=127.0.0.1:0"
    "--status-addr=127.0.0.1:0"
]

let private serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount"

let tests =
    testList "the way to a cluster" [
        lists "a token" (fun server folder ->
            server.Token <- Some "secret"

            [
                file folder "config" [ cluster server.Url ""; user "{token: secret}"; context ]
            ])

        for form, fields in
            [
                "an empty one", "users:\n- name: somebody\n  user: {}\n"
                "one with nothing at all", "users:\n- name: somebody\n"
            ] do
            lists $"a user without credentials, {form}" (fun server folder -> [
                file folder "config" [ cluster server.Url ""; fields; context ]
            ])

        lists "several files: what they have in common, the first one says" (fun server folder ->
            server.Token <- Some "secret"

            [
                Path.Combine(folder.Path, "missing")
                file folder "users" [ user "{token: secret}" ]
                file folder "rest" [ cluster server.Url ""; user "{token: another}"; context ]
                file folder "more" [ "current-context: another\n"; cluster "http://127.0.0.1:1" "" ]
            ])

        lists "a program that gives credentials" (fun server folder ->
            server.Token <- Some "secret"

            [
                file folder "config" [ cluster server.Url ""; user (plugin folder); context ]
            ])

        testCaseTask "a file given by --kubeconfig comes before those of the variable"
        <| fun () ->
            withServer (fun server folder -> task {
                server.Token <- Some "secret"

                let given =
                    file folder "given" [ cluster server.Url ""; user "{token: secret}"; context ]

                let other =
                    file folder "other" [ cluster "http://127.0.0.1:1" ""; user "{token: x}"; context ]

                use program =
                    PublishedProgram.Start(ports @ [ $"--kubeconfig={given}" ], [ "KUBECONFIG", other ])

                let! _ = program.Says @"Routes: (\d+) hosts?"
                Expect.stringContains program.Errors $"cluster of {given}," "which"
                let missing = folder.At "missing"

                use refused =
                    PublishedProgram.Start(ports @ [ "--kubeconfig"; missing ], [ "KUBECONFIG", given ])

                let! code = refused.ExitCode()
                Expect.equal code 2 "not asked properly"
                Expect.stringContains refused.Errors $"there is no file {missing}" "said"
            })

        test "an address that a library would read as another is refused" {
            use folder = new TestFolder()

            for url in
                [
                    "https://010.0.0.1:6443"
                    "https://127.1"
                    "http://2130706433:80/path"
                    "http://user@0x7f.0.0.1"
                ] do
                let config = file folder "config" [ cluster url ""; user "{token: x}"; context ]

                match ClusterAccess.find (Some config) Map.empty with
                | Error reason -> Expect.stringContains reason "without leading zeros" url
                | Ok _ -> failtest $"{url} was taken"

            for url in
                [
                    "https://10.0.0.1:6443"
                    "https://[fd00::1]:6443"
                    "https://api.example:6443/k8s"
                    "https://127.0.0.1"
                ] do
                let config = file folder "config" [ cluster url ""; user "{token: x}"; context ]
                Expect.isOk (ClusterAccess.find (Some config) Map.empty) url
        }

        test "without a home folder, and without anything else, it says what was looked for" {
            let said variables =
                match ClusterAccess.find None (Map.ofList variables) with
                | Error reason -> reason
                | Ok access -> access.Origin

            Expect.stringContains (said []) "no home folder" "nothing"
            Expect.stringContains (said [ "HOME", "/none" ]) "/none/.kube/config" "its file"
            Expect.stringContains (said [ "KUBECONFIG", "/a:/b" ]) "there is no file /a, /b" "those files"
        }

        testCaseTask "a program that gives credentials, to a process that has asked for nothing before"
        <| fun () ->
            withServer (fun server folder -> task {
                server.Token <- Some "secret"

                let config =
                    file folder "config" [ cluster server.Url ""; user (plugin folder); context ]

                use program =
                    PublishedProgram.Start(
                        [
                            "--http-addr=127.0.0.1:0"
                            "--probe-addr=127.0.0.1:0"
                            "--metrics-addr=127.0.0.1:0"
                            "--status-addr=127.0.0.1:0"
                        ],
                        [ "KUBECONFIG", config ]
                    )

                let! _ = program.Says @"Routes: (\d+) hosts?"
                ()
            })

        testCaseTask "a server whose answers come in pieces holds up no request"
        <| fun () -> task {
            use listener = new TcpListener(IPAddress.Loopback, 0)
            listener.Start()
            let url = $"http://{listener.LocalEndpoint}"

            let accepting = task {
                while true do
                    let! client = listener.AcceptTcpClientAsync()
                    listInPieces client |> ignore
            }

            use folder = new TestFolder()
            let config = file folder "config" [ cluster url ""; user "{token: any}"; context ]

            use program =
                PublishedProgram.Start(
                    [
                        "--http-addr=127.0.0.1:0"
                        "--probe-addr=127.0.0.1:0"
                        "--metrics-addr=127.0.0.1:0"
                        "--status-addr=127.0.0.1:0"
                    ],
                    [ "KUBECONFIG", config ]
                )

            // The client reads a body while it blocks: where that is done, nothing else goes on.
            let! port = program.Says @"Proxy listening on port (\d+)"
            use client = new HttpClient(Timeout = Waiting.patience)
            let! answer = client.GetAsync $"http://127.0.0.1:{port}/"
            Expect.equal answer.StatusCode HttpStatusCode.ServiceUnavailable "no route, and an answer"
            Expect.isFalse accepting.IsCompleted "the server is still there"
        }

        testCaseTask
            "TLS: a server that the given authority vouches for, a client that it knows, and no others"
        <| fun () ->
            withServer (fun server folder -> task {
                use mine = TlsFront.Certificate "somebody"
                use another = TlsFront.Certificate "another"
                use front = new TlsFront(server.Port, Some mine)
                let url = $"https://127.0.0.1:{front.Port}"

                let credentials (certificate: X509Certificate2) =
                    let key =
                        match certificate.GetRSAPrivateKey() with
                        | null -> failwith "no key"
                        | key -> key.ExportPkcs8PrivateKeyPem()

                    user
                        $"{{client-certificate-data: {base64 (certificate.ExportCertificatePem())}, client-key-data: {base64 key}}}"

                File.WriteAllText(Path.Combine(folder.Path, "ca.crt"), front.Authority)
                // The second file names the authority by a path of its own folder.
                let first = file folder "config" [ credentials mine ]

                let! found =
                    list [
                        first
                        file folder "second" [ cluster url "    certificate-authority: ca.crt\n"; context ]
                    ]

                Expect.equal found [ "shop/app" ] "the Services"

                let fails name parts = task {
                    let! isRefused = task {
                        try
                            let! _ = list [ file folder name parts ]
                            return false
                        with :? System.Net.Http.HttpRequestException ->
                            return true
                    }

                    Expect.isTrue isRefused name
                }

                let trusted = $"    certificate-authority-data: {base64 front.Authority}\n"
                let other = base64 (another.ExportCertificatePem())

                do! fails "another client" [ cluster url trusted; credentials another; context ]

                do!
                    fails "another authority" [
                        cluster url $"    certificate-authority-data: {other}\n"
                        credentials mine
                        context
                    ]

                Expect.hasLength server.Calls 1 "nobody else asked for anything"
            })

        testCaseTask
            "a connection of HTTP/2 that nothing goes through any more, and that nobody has closed, is left for another"
        <| fun () -> task {
            use! server = ApiServer.Create(protocols = HttpProtocols.Http2)
            use front = new TlsFront(server.Port, None, SslApplicationProtocol.Http2)
            use folder = new TestFolder()

            let path =
                file folder "config" [
                    cluster
                        $"https://127.0.0.1:{front.Port}"
                        $"    certificate-authority-data: {base64 front.Authority}\n"
                    user "{}"
                    context
                ]

            let access =
                match ClusterAccess.find (Some path) Map.empty with
                | Error reason -> failtest reason
                | Ok access ->
                    access
                    |> ClusterAccess.withHealth {
                        PingDelay = TimeSpan.FromSeconds 1.0
                        PingTimeout = TimeSpan.FromSeconds 1.0
                    }

            use connection = new KubernetesConnection(access)
            use stop = new CancellationTokenSource()
            let seen = ConcurrentQueue<string>()

            let watching =
                ResourceWatcher(
                    NullLogger.Instance,
                    SourceMetrics TimeProvider.System,
                    // It would be silent for minutes.
                    WatchTimes.usual TimeProvider.System,
                    connection,
                    ResourceApi.create BackendService.kind "" WatchScope.AllNamespaces,
                    (fun action ->
                        match action with
                        | WatchAction.EmitApplied service -> seen.Enqueue(string service.Key)
                        | WatchAction.EmitListed services ->
                            for service in services do
                                seen.Enqueue(string service.Key)
                        | _ -> ()),
                    ignore
                )
                    .RunAsync
                    stop.Token

            let sees name =
                Waiting.until name (fun () -> Task.FromResult(Seq.contains name seen))

            server.Put(service "shop" "before" "127.0.0.1" 80)
            do! sees "shop/before"
            do! Waiting.until "the watch" (fun () -> Task.FromResult(server.OpenWatches = 1))
            front.Freeze()
            server.Put(service "shop" "after" "127.0.0.1" 80)
            do! sees "shop/after"
            stop.Cancel()

            try
                do! watching
            with :? OperationCanceledException ->
                ()
        }

        testCaseTask "TLS: an authority that is replaced while routes are followed is read from its file"
        <| fun () ->
            withServer (fun server folder -> task {
                use front = new TlsFront(server.Port, None)
                let authority = Path.Combine(folder.Path, "ca.crt")
                File.WriteAllText(authority, front.Authority)
                server.Put(clone "shop" "copy" "a.example" "app" "http")

                let config =
                    file folder "config" [
                        cluster $"https://127.0.0.1:{front.Port}" "    certificate-authority: ca.crt\n"
                        user "{}"
                        context
                    ]

                use program = PublishedProgram.Start(ports, [ "KUBECONFIG", config ])
                let! port = program.Says @"Proxy listening on port (\d+)"
                let! _ = program.Says @"Routes: 1 host "
                front.Replace()
                let! _ = program.Says "the API server's certificate is not trusted"
                File.WriteAllText(authority, front.Authority)
                server.Put(clone "shop" "copy" "b.example" "app" "http")

                do!
                    Waiting.until "the route that has changed meanwhile" (fun () -> task {
                        let! answer = TestClient.get (int port) "b.example"
                        return TestClient.status answer = 202
                    })
            })

        testCaseTask "in a pod: the service account's token and authority, and a token that is replaced"
        <| fun () ->
            withServer (fun server _ -> task {
                if Directory.Exists serviceAccount then
                    skiptest "this is a pod"

                let isWritable =
                    try
                        Directory.CreateDirectory serviceAccount |> ignore
                        true
                    with
                    | :? UnauthorizedAccessException
                    | :? IOException -> false

                if not isWritable then
                    skiptest $"{serviceAccount} cannot be made here"

                try
                    use front = new TlsFront(server.Port, None)
                    use target = TestTarget.ok ()
                    server.Token <- Some "first"
                    server.Put(service "shop" "app" "127.0.0.1" target.Port)
                    server.Put(clone "shop" "copy" "a.example" "app" "http")

                    let write (name: string) (text: string) =
                        File.WriteAllText(Path.Combine(serviceAccount, name), text)

                    write "ca.crt" front.Authority
                    write "token" "first"
                    write "namespace" "shop"

                    use program =
                        PublishedProgram.Start(
                            [
                                "--http-addr=127.0.0.1:0"
                                "--probe-addr=127.0.0.1:0"
                                "--metrics-addr=127.0.0.1:0"
                                "--status-addr=127.0.0.1:0"
                                "--enable-leader-election"
                            ],
                            [
                                "KUBERNETES_SERVICE_HOST", "127.0.0.1"
                                "KUBERNETES_SERVICE_PORT", string front.Port
                                "POD_NAME", "pod-1"
                            ]
                        )

                    let! _ = program.Says "pod's service account"
                    let! _ = program.Says "pod-1 is the leader now"
                    use folder = new TestFolder()

                    let config =
                        file folder "config" [ cluster server.Url ""; user "{token: first}"; context ]

                    use named =
                        PublishedProgram.Start(
                            ports,
                            [
                                "KUBECONFIG", config
                                "KUBERNETES_SERVICE_HOST", "127.0.0.1"
                                "KUBERNETES_SERVICE_PORT", "1"
                            ]
                        )

                    let! _ = named.Says $"cluster of {config}"

                    do!
                        Waiting.until "the status" (fun () ->
                            Task.FromResult(
                                (ready server "shop" "copy" = Some("True", "ServiceBackendReady", "1"))
                            ))

                    Expect.hasLength (server.All "leases") 1 "the Lease"

                    Expect.isSome
                        (server.Get("leases", "shop", "k8sreq-duplicator-controller"))
                        "in the pod's namespace"

                    // The kubelet writes a new token long before the old one ends; here it is late.
                    server.Token <- Some "second"
                    write "token" "second"
                    server.ResetWatches() |> ignore
                    server.Put(clone "shop" "copy" "b.example" "none" "http")

                    do!
                        Waiting.until "the next status" (fun () ->
                            Task.FromResult(
                                (ready server "shop" "copy" = Some("False", "ServiceNotFound", "2"))
                            ))
                finally
                    Directory.Delete(serviceAccount, true)
                    let above = Path.Combine(serviceAccount, "..")

                    if Seq.isEmpty (Directory.EnumerateFileSystemEntries above) then
                        Directory.Delete above
            })
    ]
