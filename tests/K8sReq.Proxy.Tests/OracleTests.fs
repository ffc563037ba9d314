/// The proxy's own connections and SocketsHttpHandler's: whatever a target does, the outcome of a send is the same, and
/// the target has received the same.
module K8sReq.Proxy.Tests.OracleTests

open System
open System.Text
open System.Threading
open System.Threading.Tasks
open Expecto
open K8sReq.Core
open K8sReq.Proxy
open K8sReq.TestKit.TargetScripts
open K8sReq.TestKit

let private timeouts = {
    Write = TimeSpan.FromSeconds 10.0
    Read = TimeSpan.FromSeconds 20.0
}

// Reasons are in the words of whoever gives them, and which of two times was over depends on when the clock is moved.
let private kind (outcome: TargetOutcome) =
    match outcome with
    | TargetOutcome.Delivered status -> $"delivered {status}"
    | TargetOutcome.Rejected status -> $"rejected {status}"
    | TargetOutcome.TimedOut _ -> "timed out"
    | TargetOutcome.ConnectFailed _ -> "could not connect"
    | TargetOutcome.SendFailed _ -> "broke"
    | TargetOutcome.BadAnswer _ -> "no HTTP"
    | TargetOutcome.Overflowed
    | TargetOutcome.NoRoomToRetry _
    | TargetOutcome.Cancelled
    | TargetOutcome.Expired _
    | TargetOutcome.Poisonous
    | TargetOutcome.TakenOver
    | TargetOutcome.Faulted _ -> failwith $"{outcome}"

// Fields of different names have no order that means anything.
let private inOrder (received: byte[]) =
    let text = Encoding.Latin1.GetString received

    match text.IndexOf "\r\n\r\n" with
    | -1 -> text, [], ""
    | headEnd ->
        let lines = text.Substring(0, headEnd).Split "\r\n" |> List.ofArray
        List.head lines, List.sort (List.tail lines), text.Substring headEnd

let private body = Array.init 3000 (fun i -> byte (32 + i % 90))

let private request (script: TargetScript) =
    if script.Name.Length % 3 = 0 then
        TestRequest.get
    else
        TestRequest.post body

// How much of a request has come when its connection is reset is up to the system.
let private receivesAll (script: TargetScript) =
    script.IsKept || script.Name.StartsWith "takes the request"

let private run create (script: TargetScript) = task {
    use settled = new SemaphoreSlim 0
    use target = new TestTarget(script.Behave settled.WaitAsync)

    if script.Refuses then
        (target :> IDisposable).Dispose()

    let clock = TestClock()

    let client, connections: TargetClient * IDisposable =
        create clock timeouts CancellationToken.None

    use _ = connections
    let sending = client.Invoke(Targets.at target.Port "copy", request script).AsTask()

    // No time passes before it is there.
    if receivesAll script then
        let! _ = target.Next()
        ()

    if script.EndsBy = EndsBy.Timeout then
        do!
            Waiting.until "the timeout" (fun () ->
                clock.Advance(TimeSpan.FromSeconds 30.0)
                Task.FromResult sending.IsCompleted)

    let! result = sending |> Waiting.within "the outcome"
    settled.Release() |> ignore
    return kind result.Outcome, target.Bytes |> List.map inOrder
}

let private ownConnections (transport: Transport) clock timeouts stop =
    TargetClient.create
        transport
        clock
        {
            Timeouts = timeouts
            MaxAge = TimeSpan.Zero
        }
        stop

let tests =
    testList "both clients, with a target that" [
        for name, transport in Transports.all do
            for script in all do
                testCaseTask $"{script.Name}, {name}"
                <| fun () -> task {
                    let! ours, received = run (ownConnections (transport ())) script
                    let! theirs, expected = run Baseline.SocketsHttpClient.create script

                    // Where the target alone does not decide it, either may be.
                    if script.Outcomes.Length = 1 then
                        Expect.equal ours theirs "the outcome"

                    if receivesAll script then
                        Expect.equal received expected "what the target has received"
                }
    ]
