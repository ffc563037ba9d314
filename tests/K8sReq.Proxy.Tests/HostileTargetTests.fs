/// Whatever one target does: its copies have the right outcome, nothing is kept of it, and neither the clients nor the
/// other targets notice.
module K8sReq.Proxy.Tests.HostileTargetTests

open System
open System.Net.NetworkInformation
open System.Threading
open System.Threading.Tasks
open Expecto
open K8sReq.Core
open K8sReq.TestKit.TargetScripts
open K8sReq.TestKit

/// Connections to this port of which this process, as the one who made them, still has the socket.
let private heldTo (port: int) =
    IPGlobalProperties.GetIPGlobalProperties().GetActiveTcpConnections()
    |> Seq.filter (fun connection ->
        connection.RemoteEndPoint.Port = port
        && (connection.State = TcpState.Established
            || connection.State = TcpState.CloseWait
            || connection.State = TcpState.SynSent))
    |> Seq.length

let private copies = 12
let private body = String('b', 3000)

// Memory for three requests at once: a request of which anything is kept is missed soon.
let private frugal (settings: Settings) = { settings with BufferBytes = 60_000L }

let private failuresAt (port: int) (proxy: TestProxy) =
    proxy.Log
    |> List.filter (fun line -> line.Contains $"was not delivered to 127.0.0.1:{port}:")

let private run (script: TargetScript) = task {
    use settled = new SemaphoreSlim 0
    use hostile = new TestTarget(script.Behave settled.WaitAsync)
    use good = TestTarget.ok ()
    let port = hostile.Port

    if script.Refuses then
        (hostile :> IDisposable).Dispose()

    let clock = TestClock()

    use! proxy =
        TestProxy.Start(Manifests.route "a.example" [ port; good.Port ], frugal, clock)

    use! client = TestClient.Connect proxy.Port

    for n in 1..copies do
        let body = $"{n} {body}"

        do!
            client.Send
                $"POST /{n} HTTP/1.1\r\nHost: a.example\r\nContent-Length: {body.Length}\r\n\r\n{body}"

        // No time has passed for the hostile one when the client has its answer and the other target its copy.
        let! answer = client.Answer()
        Expect.equal (TestClient.status answer) 202 "accepted"
        let! copy = good.Next()
        Expect.equal copy.Text body "the other target has it"

        match script.EndsBy with
        | EndsBy.Itself -> do! proxy.Settled()
        | EndsBy.Timeout ->
            do!
                Waiting.until "the other target's delivery" (fun () ->
                    Task.FromResult(proxy.Totals.Pending = 1L))

            // From whenever the send began to wait.
            do!
                Waiting.until "the timeout" (fun () ->
                    clock.Advance(TimeSpan.FromSeconds 60.0)
                    Task.FromResult(proxy.Totals.Pending = 0L))

        settled.Release() |> ignore

    let totals = proxy.Totals

    // Of its own copies; the other target has all.
    let mostDelivered, mostFailed =
        match script.Outcomes with
        | [ "delivered" ] -> copies, 0
        | outcomes when List.contains "delivered" outcomes -> copies, copies
        | _ -> 0, copies

    let delivered, failed = int totals.Delivered - copies, int totals.Failed
    Expect.equal (delivered + failed, totals.Dropped) (copies, 0L) $"{proxy.Log}"
    Expect.isTrue (delivered <= mostDelivered && failed <= mostFailed) $"{delivered}, {failed}: {proxy.Log}"
    Expect.isLessThanOrEqual hostile.Waiting copies "none came twice"

    for line in failuresAt port proxy do
        Expect.exists script.Outcomes (fun outcome -> line.Contains $":{port}: {outcome}") line

    // What is left of answers is read for two seconds.
    clock.Advance(TimeSpan.FromSeconds 3.0)
    do! Waiting.until "connections to be closed" (fun () -> Task.FromResult(heldTo port <= script.Left))

    // Where minutes have passed, it was closed for being idle.
    if script.EndsBy = EndsBy.Itself then
        Expect.equal good.Connections 1 "the other target has one connection all along"

    if script.IsKept then
        Expect.equal hostile.Connections 1 "it is used again"

    let! _ = proxy.Stop()
    do! Waiting.until "all connections to be closed" (fun () -> Task.FromResult(heldTo port = 0))
}

let tests =
    testList "a target that" [
        for script in all do
            testCaseTask script.Name <| fun () -> run script
    ]
