namespace K8sReq.TestKit

open System
open System.Collections.Concurrent
open System.Net
open System.Net.Security
open System.Net.Sockets
open System.Security.Cryptography
open System.Security.Cryptography.X509Certificates
open System.Threading
open System.Threading.Tasks

/// TLS in front of a server on this machine that speaks none. `client` is the one certificate that clients must show,
/// `protocol` what is agreed upon with them.
[<Sealed>]
type TlsFront(port: int, client: X509Certificate2 option, ?protocol: SslApplicationProtocol) =
    let mutable certificate = TlsFront.Certificate "127.0.0.1"
    let listener = new TcpListener(IPAddress.Loopback, 0)
    let stopping = new CancellationTokenSource()
    // Those of connections that are relayed still.
    let relays = ConcurrentDictionary<CancellationTokenSource, bool>()
    let mutable frozen = 0

    let options () =
        let options =
            SslServerAuthenticationOptions(
                ServerCertificate = certificate,
                ClientCertificateRequired = client.IsSome,
                RemoteCertificateValidationCallback =
                    RemoteCertificateValidationCallback(fun _ shown _ _ ->
                        match client, shown with
                        | None, _ -> true
                        | Some expected, NonNull shown ->
                            shown.GetCertHashString() = expected.GetCertHashString()
                        | Some _, Null -> false)
            )

        match protocol with
        | Some protocol -> options.ApplicationProtocols <- ResizeArray [ protocol ]
        | None -> ()

        options

    let serve (accepted: TcpClient) : Task = task {
        use relay = CancellationTokenSource.CreateLinkedTokenSource stopping.Token

        try
            use accepted = accepted
            use outside = new SslStream(accepted.GetStream())
            do! outside.AuthenticateAsServerAsync(options (), stopping.Token)
            use behind = new TcpClient()
            do! behind.ConnectAsync(IPAddress.Loopback, port, stopping.Token)
            let inside = behind.GetStream()
            relays[relay] <- true

            let! _ =
                Task.WhenAny(
                    outside.CopyToAsync(inside, relay.Token),
                    inside.CopyToAsync(outside, relay.Token)
                )

            relays.TryRemove relay |> ignore

            if relay.IsCancellationRequested && frozen > 0 then
                // Open on both sides, and nothing goes through.
                do! Task.Delay(Timeout.Infinite, stopping.Token)
        with _ ->
            // A client that does not like the certificate, or that has gone.
            ()
    }

    do listener.Start()

    let accepting: Task = task {
        try
            while true do
                let! accepted = listener.AcceptTcpClientAsync stopping.Token
                serve accepted |> ignore
        with :? OperationCanceledException ->
            ()
    }

    /// A certificate that vouches for itself, with its private key.
    static member Certificate(name: string) : X509Certificate2 =
        use key = RSA.Create 2048

        let request =
            CertificateRequest($"CN={name}", key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1)

        let names = SubjectAlternativeNameBuilder()

        match IPAddress.TryParse name with
        | true, NonNull address -> names.AddIpAddress address
        | _ -> names.AddDnsName name

        request.CertificateExtensions.Add(names.Build())
        request.CertificateExtensions.Add(X509BasicConstraintsExtension(true, false, 0, true))
        let now = DateTimeOffset.UtcNow
        request.CreateSelfSigned(now.AddDays -1.0, now.AddDays 1.0)

    member _.Port = (listener.LocalEndpoint :?> IPEndPoint).Port

    /// From now on nothing goes through the connections that there are, and none of them ends. New ones work.
    member _.Freeze() =
        frozen <- frozen + 1

        for relay in relays.Keys do
            relay.Cancel()

    /// Another certificate, by another authority. Connections that there are end.
    member _.Replace() =
        certificate.Dispose()
        certificate <- TlsFront.Certificate "127.0.0.1"

        for relay in relays.Keys do
            relay.Cancel()

    /// What clients have to trust.
    member _.Authority = certificate.ExportCertificatePem()

    interface IDisposable with
        member _.Dispose() =
            stopping.Cancel()
            accepting.GetAwaiter().GetResult()
            listener.Stop()
            certificate.Dispose()
            stopping.Dispose()
