namespace K8sReq.Proxy

open System
open System.Threading
open System.Threading.Channels
open K8sReq.Core

/// A request that was answered.
type TappedRequest = {
    At: DateTimeOffset
    /// Empty if it was refused.
    Id: Guid
    Method: string
    Host: string
    /// Path and query, as they came.
    Target: string
    Status: int
    /// `Refusal.word`; empty if it was accepted.
    Reason: string
    Copies: int
}

/// A copy that has ended.
type TappedCopy = {
    At: DateTimeOffset
    /// Of its request.
    Id: Guid
    Method: string
    Target: Target
    Outcome: TargetOutcome
    Attempts: int
    /// Since it was accepted.
    Duration: TimeSpan
}

[<RequireQualifiedAccess>]
type TapEvent =
    | Request of TappedRequest
    | Copy of TappedCopy

/// Somebody who watches. What comes faster than it is read is left out.
[<Sealed>]
type TapReader() =
    static let mostWaiting = 4096

    let events =
        Channel.CreateBounded<TapEvent>(
            BoundedChannelOptions(mostWaiting, SingleReader = true, FullMode = BoundedChannelFullMode.Wait)
        )

    let mutable missed = 0L

    member _.Events = events.Reader

    /// How many events were left out since this was asked last.
    member _.TakeMissed() : int64 = Interlocked.Exchange(&missed, 0L)

    /// Never waits.
    member internal _.Offer(event: TapEvent) : unit =
        if not (events.Writer.TryWrite event) then
            Interlocked.Increment &missed |> ignore

/// Hands requests and copies to those who watch them (`k8sreq tap`). Without one nothing is made for it, and nobody who reads
/// slowly is waited for. From any thread.
[<Sealed>]
type Tap() =
    static let mostReaders = 8
    // Replaced as a whole under `gate`, read without.
    let gate = Lock()
    let mutable readers: TapReader[] = [||]

    /// Whether anybody watches: ask before an event is made.
    member _.IsOn: bool = (Volatile.Read &readers).Length > 0

    member _.Tell(event: TapEvent) : unit =
        for reader in Volatile.Read &readers do
            reader.Offer event

    /// Somebody watches from now on; none if there are too many already.
    member _.TryOpen() : TapReader voption =
        exclusively gate (fun () ->
            if readers.Length >= mostReaders then
                ValueNone
            else
                let reader = TapReader()
                Volatile.Write(&readers, Array.append readers [| reader |])
                ValueSome reader)

    member _.Close(reader: TapReader) : unit =
        exclusively gate (fun () ->
            Volatile.Write(
                &readers,
                readers
                |> Array.filter (fun other -> not (Object.ReferenceEquals(other, reader)))
            ))
