namespace K8sReq.Proxy

open System.Diagnostics

/// Whether a loop lets what targets tell wait until a client wakes it, for a millisecond at most. On its thread alone; times are
/// `Stopwatch` timestamps.
///
/// A waking costs more than what is done in it. The next request wakes the loop anyway, and it looks for answers then; where that
/// does not come within a millisecond, it looks for the answers of all targets at once. Where requests come more seldom than
/// that is worth, each answer wakes it.
[<Sealed>]
type Patience() =
    static let longestGap = 5L * Stopwatch.Frequency / 1000L
    // One send that comes late takes back what so many have earned that came soon.
    static let lateness = 4
    static let enough = 16

    let mutable isPatient = false
    let mutable score = 0
    // Attempts that have not ended.
    let mutable awaited = 0
    // Connections that are being made, or that take no more at the moment: what they tell is not to wait.
    let mutable urgent = 0
    let mutable lastSend = 0L
    let mutable turnBegan = 0L
    // What targets tell is being told of.
    let mutable isTelling = false

    let lose () =
        isPatient <- false
        score <- 0

    /// Whether what targets tell is to wait.
    member _.IsPatient = isPatient

    /// Whether that is for a millisecond at most: any attempt is under way.
    member _.IsLimited = awaited > 0

    /// A turn begins.
    member _.TurnBegan(now: int64) : unit = turnBegan <- now

    /// What has happened to targets is told of, up to `Told`.
    member _.Telling() : unit = isTelling <- true

    /// So much has happened to targets, and was told of. `hasWaited`: nothing else has happened in the time that it may wait.
    member _.Told(count: int, hasWaited: bool) : unit =
        isTelling <- false

        // The answers take longer than that, and no request comes.
        if isPatient && hasWaited && count = 0 && awaited > 0 then
            lose ()

    /// An attempt is under way.
    member _.Sent() : unit =
        awaited <- awaited + 1

        // It had waited for another one's end, and so may the next one.
        if isTelling then
            lose ()
        elif turnBegan <> lastSend then
            if turnBegan - lastSend < longestGap then
                score <- min enough (score + 1)
                isPatient <- isPatient || (score = enough && urgent = 0)
            else
                score <- max 0 (score - lateness)
                isPatient <- isPatient && score > 0

            lastSend <- turnBegan

    /// One has ended.
    member _.Ended() : unit = awaited <- awaited - 1

    /// What happens to one connection is not to wait, until `Calmed`.
    member _.Pressed() : unit =
        urgent <- urgent + 1
        lose ()

    member _.Calmed() : unit = urgent <- urgent - 1
