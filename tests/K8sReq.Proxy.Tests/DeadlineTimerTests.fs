module K8sReq.Proxy.Tests.DeadlineTimerTests

open System
open System.Threading
open System.Threading.Tasks
open Expecto
open Microsoft.Extensions.Time.Testing
open K8sReq.Proxy

/// A clock that stands still until a test moves it, and that keeps what its timers are set to.
type private RecordingClock() =
    inherit FakeTimeProvider()
    let set = ResizeArray<TimeSpan>()

    /// What timers have been set to so far, the last time last.
    member _.Set = List.ofSeq set

    override _.CreateTimer(callback: TimerCallback, state: obj | null, time: TimeSpan, period: TimeSpan) =
        set.Add time
        let timer = base.CreateTimer(callback, state, time, period)

        {
            new ITimer with
                member _.Change(time, period) =
                    set.Add time
                    timer.Change(time, period)
            interface IDisposable with
                member _.Dispose() = timer.Dispose()
            interface IAsyncDisposable with
                member _.DisposeAsync() = timer.DisposeAsync()
        }

let private ms (count: float) = TimeSpan.FromMilliseconds count

let private started (deadline: TimeSpan) (onTime: unit -> unit) =
    let clock = RecordingClock()
    let timer = DeadlineTimer clock
    let now = (clock.GetElapsedTime 0L).Ticks
    timer.Start(now + deadline.Ticks, onTime)
    clock, timer, (fun (time: TimeSpan) -> now + time.Ticks)

let tests: Test =
    testList "deadline timer" [
        testCase "a part of a millisecond is a whole one: a timer would leave it out, and end at once"
        <| fun () ->
            let clock, timer, at = started (ms 30_000.4) ignore
            clock.Advance(ms 10.0)
            timer.HasTold()
            timer.Set(at (ms 10.3))
            Expect.equal clock.Set [ ms 30_001.0; ms 1.0 ] "times that it was set to"

        testCase "who is told early is told no second time before the deadline"
        <| fun () ->
            let mutable told = 0
            let clock, timer, at = started (ms 5.0) (fun () -> told <- told + 1)
            clock.Advance(ms 5.0)
            timer.HasTold()
            timer.Set(at (ms 5.9))
            clock.Advance(ms 0.8)
            let early = told
            clock.Advance(ms 0.2)
            Expect.equal (early, told) (1, 2) "so often, before and at the deadline"

        testCase "a later deadline sets nothing, an earlier one does"
        <| fun () ->
            let clock, timer, at = started (ms 10.0) ignore
            timer.Set(at (ms 20.0))
            timer.Set Int64.MaxValue
            timer.Set(at (ms 4.0))
            Expect.equal clock.Set [ ms 10.0; ms 4.0 ] "times that it was set to"

        testCase "once it has told, any deadline sets it, one that has passed at once"
        <| fun () ->
            let clock, timer, at = started (ms 10.0) ignore
            clock.Advance(ms 10.0)
            timer.HasTold()
            timer.Set(at (ms 3.0))
            Expect.equal (List.last clock.Set) TimeSpan.Zero "time that it was set to"

        testCase "a time that no timer takes is told of early"
        <| fun () ->
            let clock, _, _ = started (TimeSpan.FromDays 400.0) ignore
            Expect.equal clock.Set [ TimeSpan.FromDays 7.0 ] "time that it was set to"

        testCase "stopped, it tells no more"
        <| fun () ->
            let mutable told = 0
            let clock, timer, _ = started (ms 5.0) (fun () -> told <- told + 1)
            timer.Stop()
            clock.Advance(ms 10.0)
            Expect.equal told 0 "so often"
    ]
