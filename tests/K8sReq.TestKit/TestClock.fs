namespace K8sReq.TestKit

open System
open System.Threading
open System.Threading.Channels
open System.Threading.Tasks
open Microsoft.Extensions.Time.Testing

/// A clock that stands still until a test moves it, and that tells when somebody has begun to wait.
type TestClock() =
    inherit FakeTimeProvider()
    let timers = Channel.CreateUnbounded<TimeSpan>()

    override _.CreateTimer(callback, state, dueTime, period) =
        let timer = base.CreateTimer(callback, state, dueTime, period)
        timers.Writer.TryWrite dueTime |> ignore
        timer

    /// Completed once a timer of this length has been started. Timers of other lengths are forgotten.
    member _.TimerStarted(length: TimeSpan) : Task<unit> =
        task {
            let mutable isStarted = false

            while not isStarted do
                let! dueTime = timers.Reader.ReadAsync()
                isStarted <- dueTime = length
        }
        |> Waiting.within $"a timer of {length}"
