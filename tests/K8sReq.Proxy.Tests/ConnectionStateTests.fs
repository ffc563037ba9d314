module K8sReq.Proxy.Tests.ConnectionStateTests

open System
open System.Collections.Generic
open System.Net.Sockets
open System.Text
open Expecto
open Microsoft.Extensions.Time.Testing
open K8sReq.Core
open K8sReq.Proxy
open K8sReq.TestKit

let private timeouts = {
    Write = TimeSpan.FromSeconds 10.0
    Read = TimeSpan.FromSeconds 20.0
}

/// What a target may say, in pieces that end anywhere.
let private pieces =
    [|
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"
        "HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"
        "HTTP/1.1 100 Continue\r\n\r\n"
        "HTTP/1.1 200 "
        "OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        "abc"
        "0\r\n\r\n"
        "no HTTP at all\r\n\r\n"
    |]
    |> Array.map Encoding.ASCII.GetBytes

/// What the system is doing for the connection on the side that sends.
type private Operation =
    | Nothing
    | Connecting
    | Sending

/// A connection without a socket: whatever is drawn happens to it, as far as it can happen to one.
type private Rig() =
    let clock = FakeTimeProvider()
    let state = ConnectionState(clock, timeouts, TimeSpan.MaxValue)
    let ended = Dictionary<Attempt, int>(HashIdentity.Reference)
    let mutable operation = Nothing
    let mutable isReceiving = false
    let mutable closes = 0
    let mutable acknowledgesNothing = false

    member _.State = state
    member _.Clock = clock
    member _.Ended = ended

    member rig.Begin() =
        let attempt = Attempt(TestRequest.get, TimeSpan.MaxValue)
        ended[attempt] <- 0
        state.Begin attempt

        if closes = 0 && not isReceiving then
            operation <- Connecting
            state.Connecting()
        else
            operation <- Sending

    member rig.Perform(effect: Effect) =
        match effect.Ended with
        | null -> ()
        | attempt ->
            ended[attempt] <- ended[attempt] + 1
            Expect.equal operation Nothing "nobody reads the request of an attempt that has ended"

        match effect.Sequel with
        | Sequel.Nothing -> ()
        | Sequel.Return -> Expect.equal state.Phase ConnectionPhase.Idle "what can be used again is idle"
        | Sequel.Close ->
            closes <- closes + 1
            Expect.equal closes 1 "closed once"
            isReceiving <- false
        // The socket is gone: what the system was doing comes back.
        | Sequel.Abort ->
            match operation with
            | Connecting -> rig.Connected SocketError.OperationAborted
            | Sending -> rig.Sent SocketError.OperationAborted
            | Nothing -> ()

            if isReceiving then
                rig.InputEnded SocketError.OperationAborted

    member rig.Connected(error: SocketError) =
        if error = SocketError.Success then
            operation <- Sending
            isReceiving <- true
        else
            operation <- Nothing

        rig.Perform(state.Connected error)

    member rig.Sent(error: SocketError) =
        operation <- Nothing
        rig.Perform(state.Sent(error, false))

    member rig.InputEnded(error: SocketError) =
        isReceiving <- false
        rig.Perform(state.InputEnded(error, acknowledgesNothing))

    member rig.Happens(event: byte) =
        match int event % 8, operation with
        | 0, Connecting ->
            rig.Connected(
                if event < 200uy then
                    SocketError.Success
                else
                    SocketError.ConnectionRefused
            )
        | 0, Sending ->
            rig.Sent(
                if event < 200uy then
                    SocketError.Success
                else
                    SocketError.ConnectionReset
            )
        | 1, Sending -> rig.Perform(state.SendIsPending state.Exchange)
        | (2 | 3), _ when isReceiving ->
            let piece = pieces[int event / 8 % pieces.Length]
            let mutable from = 0

            while isReceiving && from < piece.Length do
                let space = state.Space
                let count = min space.Count (piece.Length - from)
                Array.blit piece from (nonNull space.Array) space.Offset count
                from <- from + count
                rig.Perform(state.Took count)
        | 4, _ when isReceiving -> rig.InputEnded SocketError.Success
        | 5, _ ->
            clock.Advance(TimeSpan.FromSeconds(float event / 4.0))
            rig.Perform(state.Expire())
        | 6, _ -> rig.Perform(state.Cancel())
        | 7, Nothing when state.Phase = ConnectionPhase.Idle && closes = 0 -> rig.Begin()
        | _ -> ()

let tests =
    testList "ConnectionState" [
        testProperty
            "whatever happens, every attempt ends once, and before its deadline has passed"
            (fun (events: byte list) ->
                let rig = Rig()
                rig.Begin()
                events |> List.iter rig.Happens

                // At most two limits, the one for sending and the one for the answer.
                for _ in 1..2 do
                    rig.Happens 0uy
                    rig.Clock.Advance timeouts.Read
                    rig.Perform(rig.State.Expire())

                for KeyValue(_, times) in rig.Ended do
                    Expect.equal times 1 "ended once")

        testCase "an attempt whose answer is early ends when its request is no longer read"
        <| fun () ->
            let rig = Rig()
            rig.Begin()
            rig.Connected SocketError.Success
            let answer = pieces[0]
            Array.blit answer 0 (nonNull rig.State.Space.Array) 0 answer.Length
            let effect = rig.State.Took answer.Length
            Expect.isNull effect.Ended "it is still being sent"
            let effect = rig.State.Sent(SocketError.Success, false)
            Expect.isNotNull effect.Ended "now"
            Expect.equal effect.Result.Outcome (TargetOutcome.Delivered 200) "as it was answered"
            Expect.equal effect.Sequel Sequel.Return "and the connection is of use"

        testCase
            "a 2xx does not end an attempt whose request is still being sent; what cuts the request off does"
        <| fun () ->
            let early () =
                let rig = Rig()
                rig.Begin()
                rig.Connected SocketError.Success
                rig.Perform(rig.State.SendIsPending rig.State.Exchange)
                let answer = pieces[0]
                Array.blit answer 0 (nonNull rig.State.Space.Array) 0 answer.Length
                let effect = rig.State.Took answer.Length
                Expect.equal (effect.Ended, effect.Sequel) (null, Sequel.Nothing) "the send goes on"
                rig

            let state = (early ()).State
            let effect = state.InputEnded(SocketError.Success, false)
            Expect.equal (effect.Ended, effect.Sequel) (null, Sequel.Nothing) "the target may read on"
            let effect = state.Sent(SocketError.Success, false)
            Expect.equal effect.Result.Outcome (TargetOutcome.Delivered 200) "sent to its end"
            Expect.equal effect.Sequel Sequel.Close "over a connection that the target has closed"

            let isFailed (outcome: TargetOutcome) =
                match outcome with
                | TargetOutcome.SendFailed _ -> true
                | _ -> false

            let effect = (early ()).State.Sent(SocketError.ConnectionReset, false)
            Expect.isTrue (isFailed effect.Result.Outcome) $"cut: {effect.Result.Outcome}"
            let state = (early ()).State
            Expect.equal (state.InputEnded(SocketError.ConnectionReset, false)).Sequel Sequel.Abort "a reset"
            let effect = state.Sent(SocketError.OperationAborted, false)
            Expect.isTrue (isFailed effect.Result.Outcome) $"reset: {effect.Result.Outcome}"
            let rig = early ()
            rig.Clock.Advance timeouts.Write
            Expect.equal (rig.State.Expire()).Sequel Sequel.Abort "late"
            let effect = rig.State.Sent(SocketError.OperationAborted, false)
            Expect.equal effect.Result.Outcome (TargetOutcome.TimedOut TimeoutPhase.Sending) "timed out"
            let state = (early ()).State
            Expect.equal (state.Cancel()).Sequel Sequel.Abort "the stop"
            let effect = state.Sent(SocketError.OperationAborted, false)
            Expect.equal effect.Result.Outcome TargetOutcome.Cancelled "cancelled"

        testCase "interim answers are read over, and too many of them are no answer"
        <| fun () ->
            for count, expected in [ 16, None; 17, Some "bad answer" ] do
                let rig = Rig()
                rig.Begin()
                rig.Connected SocketError.Success
                rig.Sent SocketError.Success
                let mutable outcome = None

                let took (piece: byte[]) =
                    if outcome.IsNone then
                        Array.blit piece 0 (nonNull rig.State.Space.Array) rig.State.Space.Offset piece.Length
                        let effect = rig.State.Took piece.Length

                        if not (isNull effect.Ended) then
                            outcome <- Some effect.Result.Outcome

                for _ in 1..count do
                    took pieces[3]

                took pieces[0]

                match outcome, expected with
                | Some(TargetOutcome.Delivered 200), None -> ()
                | Some(TargetOutcome.BadAnswer reason), Some _ ->
                    Expect.stringContains reason "16 interim" "why"
                | other -> failtest $"{count}: {other}"

        testCase "a head that comes byte by byte is read like one that comes at once"
        <| fun () ->
            let long = String('x', 5000)
            let interim = $"HTTP/1.1 103 Early Hints\r\nLink: {long}\r\n\r\n"

            let answer =
                Encoding.ASCII.GetBytes
                    $"{interim}{interim}HTTP/1.1 503 No\r\nX: {long}\r\nContent-Length: 0\r\n\r\n"

            for size in [ 1; 2; 3; 63; 64; 65; 4096; answer.Length ] do
                let rig = Rig()
                rig.Begin()
                rig.Connected SocketError.Success
                rig.Sent SocketError.Success
                let mutable outcome = None
                let mutable from = 0

                while from < answer.Length do
                    let space = rig.State.Space
                    let count = min size (min space.Count (answer.Length - from))
                    Array.blit answer from (nonNull space.Array) space.Offset count
                    from <- from + count
                    let effect = rig.State.Took count

                    if not (isNull effect.Ended) then
                        Expect.equal from answer.Length "with its last byte"
                        outcome <- Some effect.Result.Outcome

                Expect.equal outcome (Some(TargetOutcome.Rejected 503)) $"{size} bytes at a time"

        testCase "an early answer that is followed by more is no answer"
        <| fun () ->
            let rig = Rig()
            rig.Begin()
            rig.Connected SocketError.Success
            let twice = Array.append pieces[0] pieces[0]
            Array.blit twice 0 (nonNull rig.State.Space.Array) 0 twice.Length
            let effect = rig.State.Took twice.Length
            Expect.equal effect.Sequel Sequel.Abort "what is left of the request is not sent"
            let effect = rig.State.Sent(SocketError.OperationAborted, false)

            match effect.Result.Outcome with
            | TargetOutcome.BadAnswer _ -> ()
            | other -> failtest $"{other}"

            Expect.equal effect.Sequel Sequel.Close "and the connection is not used again"

        testCase "what comes before the target had the request is no answer to it"
        <| fun () ->
            let rig = Rig()
            rig.Begin()
            rig.Connected SocketError.Success
            rig.Sent SocketError.Success
            Expect.isFalse rig.State.AwaitsNextAnswer "the first one of a connection can be nobody else's"
            Array.blit pieces[0] 0 (nonNull rig.State.Space.Array) 0 pieces[0].Length
            rig.Perform(rig.State.Took pieces[0].Length)
            rig.Begin()
            Expect.isTrue rig.State.AwaitsNextAnswer "the next one can"
            rig.Sent SocketError.Success
            let effect = rig.State.TookUnasked()

            match effect.Result.Outcome with
            | TargetOutcome.SendFailed _ -> ()
            | other -> failtest $"{other}"

            Expect.equal effect.Sequel Sequel.Close "and the connection is not used again"

        testCase "a request that was cut off and then answered 2xx is not delivered"
        <| fun () ->
            let rig = Rig()
            rig.Begin()
            rig.Connected SocketError.Success
            Expect.isNull (rig.State.Sent(SocketError.Shutdown, false)).Ended "the answer may be on its way"
            let answer = pieces[0]
            Array.blit answer 0 (nonNull rig.State.Space.Array) 0 answer.Length

            match (rig.State.Took answer.Length).Result.Outcome with
            | TargetOutcome.SendFailed _ -> ()
            | outcome -> failtest $"{outcome}"

        testCase "an abort that was decided before the send completed does not give the connection away"
        <| fun () ->
            let rig = Rig()
            rig.Begin()
            rig.Connected SocketError.Success
            rig.Perform(rig.State.SendIsPending rig.State.Exchange)
            let answer = "HTTP/1.1 413 X\r\nContent-Length: 0\r\n\r\n"B
            Array.blit answer 0 (nonNull rig.State.Space.Array) 0 answer.Length
            Expect.equal (rig.State.Took answer.Length).Sequel Sequel.Abort "decided"
            // Before it is carried out.
            let effect = rig.State.Sent(SocketError.Success, false)
            Expect.equal effect.Result.Outcome (TargetOutcome.Rejected 413) "as it was answered"
            Expect.equal effect.Sequel Sequel.Close "nobody else gets the connection"

        testCase "a repetition is only for what the target cannot have had"
        <| fun () ->
            // What the sending side says, then what the receiving side says.
            let repeated sent ended =
                let rig = Rig()
                rig.Begin()
                rig.Connected SocketError.Success
                rig.Sent SocketError.Success
                let answer = pieces[0]
                Array.blit answer 0 (nonNull rig.State.Space.Array) 0 answer.Length
                Expect.equal (rig.State.Took answer.Length).Sequel Sequel.Return "used once"
                rig.State.Begin(Attempt(TestRequest.get, TimeSpan.MaxValue))
                let first: Effect = rig.State.Sent sent
                Expect.isNull first.Ended "not known yet"
                (rig.State.InputEnded ended).MayRepeat

            let sent = SocketError.Success, false

            let cases = [
                sent, (SocketError.Success, true), true
                // Acknowledged: the target may have it.
                sent, (SocketError.Success, false), false
                // A reset acknowledges nothing, whatever the target has had.
                sent, (SocketError.ConnectionReset, true), false
                (SocketError.ConnectionReset, false), (SocketError.Success, true), false
                // The target had closed its side before.
                (SocketError.Shutdown, false), (SocketError.Success, true), true
                // Nothing was written.
                (SocketError.ConnectionReset, true), (SocketError.ConnectionReset, false), true
            ]

            for sent, ended, expected in cases do
                Expect.equal (repeated sent ended) expected $"{sent}, {ended}"

        testCase "connections that are idle end in groups, once a second, and none before its time"
        <| fun () ->
            let clock = FakeTimeProvider()
            let now = clock.GetElapsedTime 0L

            // Two that have grown too old in one second, and one that nobody uses.
            let idleUntil (retiresAt: TimeSpan) =
                let state = ConnectionState(clock, timeouts, retiresAt)
                state.Begin(Attempt(TestRequest.get, TimeSpan.MaxValue))
                state.Connecting()
                state.Connected SocketError.Success |> ignore
                state.Sent(SocketError.Success, false) |> ignore
                Array.blit pieces[0] 0 (nonNull state.Space.Array) state.Space.Offset pieces[0].Length
                Expect.equal (state.Took pieces[0].Length).Sequel Sequel.Return "it can be used again"
                TimeSpan state.Deadline - now

            let at (seconds: float) = TimeSpan.FromSeconds seconds
            Expect.equal (idleUntil (now + at 20.1)) (at 21.0) "too old in the 21st second"
            Expect.equal (idleUntil (now + at 20.9)) (at 21.0) "another one"
            Expect.equal (idleUntil (now + at 20.0)) (at 20.0) "at its end"
            clock.Advance(at 0.3)
            Expect.equal (idleUntil TimeSpan.MaxValue) (at 46.0) "not used for 45 s"

        testCase
            "given up while it connects: it ends with what it was given up for, and the connection with it"
        <| fun () ->
            let rig = Rig()
            rig.Begin()
            Expect.equal (rig.State.Cancel()).Sequel Sequel.Abort "the socket goes"
            let effect = rig.State.Connected SocketError.OperationAborted
            Expect.equal effect.Result.Outcome TargetOutcome.Cancelled "the outcome"
            Expect.equal effect.Sequel Sequel.Close "closed"
    ]
