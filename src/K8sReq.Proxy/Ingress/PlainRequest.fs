namespace K8sReq.Proxy

open System
open Microsoft.AspNetCore.Http
open K8sReq.Core

/// The request that is under way on a plain connection, of which each has one of these for one request after the other: its head,
/// its body as far as that has come, and what both have of the memory. Of the loop's thread alone.
[<Sealed>]
type internal PlainRequest(services: DuplicateServices, via: string, client: BudgetShare) =
    let mutable request: IngressRequest | null = null
    let mutable buffer: RequestBuffer | null = null
    let mutable wire: WireHead | null = null
    let mutable allowance = Unchecked.defaultof<Allowance>
    let mutable headWeight = 0L
    let mutable length = 0L
    let mutable began = 0L

    let none () = invalidOp "No request is under way."

    let current () : IngressRequest =
        match request with
        | null -> none ()
        | current -> current

    let memory () : RequestBuffer =
        match buffer with
        | null -> none ()
        | memory -> memory

    // Nothing of it is under way any more. The memory is the copies', or is given back.
    let forget () =
        allowance.Return headWeight
        headWeight <- 0L
        request <- null
        buffer <- null
        wire <- null

    let isTooLong (length: int64) =
        match services.BodySizeLimit with
        | Some most -> length > most
        | None -> false

    let tell (status: int) =
        let current = current ()
        Observed.answered services current current.Head.Method HttpProtocol.Http11 status began

    /// Null between two requests.
    member _.Current: IngressRequest | null = request

    member _.IsHead = (current ()).Head.Method = "HEAD"

    /// When its head had come: a timestamp of the clock (`TimeProvider.GetTimestamp`).
    member _.Began = began

    /// Whether any of the body has come.
    member _.HasBody = (memory ()).BodyLength > 0L

    /// How much of the body is to come, in bytes.
    member _.Left: int64 = length - (memory ()).BodyLength

    /// Begins with a request, unless something speaks against it that its head shows: that is for the server to say. What
    /// `Admission` refuses is no plain head, but for one that has been here before; `fuzz` shows that, too.
    member _.TryBegin(plain: PlainHead) : bool =
        let head = plain.Head
        // There are none while the routes are not known: the server waits for them.
        let hosts = services.Hosts()

        match hosts.TryFind head.Host with
        | ValueNone -> false
        | ValueSome entry ->
            let bodyLength = plain.ContentLength |> ValueOption.defaultValue 0L
            let weight = RequestCapture.headWeight head.Lines
            let room = Allowance(services.Budget, entry.Share, client)

            if
                isTooLong bodyLength
                || (ForwardHeaders.tryFindOwnVia services.ViaName head.Lines).IsSome
                || not (entry.IsWanted head)
                || not (room.TryTake weight)
            then
                false
            else
                let next = IngressRequest(head, Hosts = hosts, Entry = entry)
                began <- services.Clock.GetTimestamp()
                let sent = RequestCapture.wireHead head (Offer.carried via next) plain.ContentLength

                let memory = RequestBuffer(room, bodyLength)
                memory.Begin sent
                wire <- sent
                request <- next
                buffer <- memory
                allowance <- room
                headWeight <- weight
                length <- bodyLength
                true

    /// Takes as much of the body as there is, from the start of these bytes; how much that is, or -1 if there is no room for it.
    member request.TryAppend(bytes: ReadOnlySpan<byte>) : int =
        let there = int (min request.Left (int64 bytes.Length))

        if there = 0 || (memory ()).TryAppend(bytes.Slice(0, there)) then
            there
        else
            -1

    /// Where more of the body can be received into, and how many pieces that are: none if there is no room. Only once something
    /// of it is there.
    member request.TrySpaces(spaces: Span<ArraySegment<byte>>) : int =
        (memory ()).TrySpaces(int (min request.Left (int64 Int32.MaxValue)), spaces)

    /// So many bytes were received into the spaces.
    member _.Received(count: int) : unit = (memory ()).Received count

    /// The body has come whole: what its copies are made of; ValueNone if there is no room for it.
    member _.TryEnd() : Captured voption =
        let memory = memory ()

        match wire with
        | null -> none ()
        | head when memory.TryEnd() -> ValueSome(RequestCapture.captured head memory)
        | _ -> ValueNone

    /// It has been offered to its targets: accepted, or refused, and answered so.
    member _.Decided(refused: Refusal voption) : unit =
        (current ()).Refused <- refused

        tell (
            match refused with
            | ValueNone -> StatusCodes.Status202Accepted
            | ValueSome refusal -> Refusal.status refusal
        )

        forget ()

    /// It is answered so, for a defect. Nothing is known of its memory.
    member _.Failed() : unit =
        tell StatusCodes.Status500InternalServerError
        forget ()

    /// It is refused before it has come whole: nothing of it is left.
    member request.GiveUp(refusal: Refusal) : unit =
        (current ()).Refused <- ValueSome refusal
        tell (Refusal.status refusal)
        request.Leave()

    /// It ends here without an answer, and gives its memory back: the server has it.
    member _.Leave() : unit =
        (memory ()).Release()
        forget ()
