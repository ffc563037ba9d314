module K8sReq.Proxy.Tests.TapTests

open System
open Expecto
open K8sReq.Proxy

let private event (number: int) =
    TapEvent.Request {
        At = DateTimeOffset.UnixEpoch
        Id = Guid.Empty
        Method = "GET"
        Host = string<int> number
        Target = "/"
        Status = 503
        Reason = "no_route"
        Copies = 0
    }

let private opened (tap: Tap) =
    match tap.TryOpen() with
    | ValueSome reader -> reader
    | ValueNone -> failtest "no room"

let private hostsOf (reader: TapReader) =
    let hosts = ResizeArray<string>()
    let mutable event = Unchecked.defaultof<TapEvent>

    while reader.Events.TryRead &event do
        match event with
        | TapEvent.Request request -> hosts.Add request.Host
        | TapEvent.Copy _ -> ()

    List.ofSeq hosts

let tests =
    testList "Tap" [
        test "is on while anybody watches, and everybody sees the same" {
            let tap = Tap()
            Expect.isFalse tap.IsOn "nobody"
            tap.Tell(event 0)
            let one = opened tap
            let other = opened tap
            Expect.isTrue tap.IsOn "two"
            tap.Tell(event 1)
            tap.Close other
            tap.Tell(event 2)
            Expect.equal (hostsOf one) [ "1"; "2" ] "what came since it was opened"
            Expect.equal (hostsOf other) [ "1" ] "until it was closed"
            tap.Close one
            Expect.isFalse tap.IsOn "nobody again"
        }

        test "a reader that does not read holds up nobody, and is told how much it has missed" {
            let tap = Tap()
            let slow = opened tap
            let other = opened tap
            let mutable seen = 0

            for number in 1..10_000 do
                tap.Tell(event number)
                seen <- seen + (hostsOf other).Length

            Expect.equal (seen, other.TakeMissed()) (10_000, 0L) "the other one sees all"
            let kept = hostsOf slow
            Expect.equal (List.head kept) "1" "the first are there"
            Expect.equal (int64 kept.Length + slow.TakeMissed()) 10_000L "and the others are counted"
            Expect.equal (slow.TakeMissed()) 0L "once"
        }

        test "so many may watch and no more" {
            let tap = Tap()
            let readers = [ for _ in 1..8 -> opened tap ]
            Expect.equal (tap.TryOpen()) ValueNone "too many"
            tap.Close readers.Head
            Expect.notEqual (tap.TryOpen()) ValueNone "there is room again"
        }
    ]
