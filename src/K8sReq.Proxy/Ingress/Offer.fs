/// Receives a request whole, and offers a copy of it to every target of its host.
module K8sReq.Proxy.Offer

open System
open System.Collections.Generic
open System.Threading.Tasks
open Microsoft.AspNetCore.Http
open K8sReq.Core

/// The headers that copies carry: without those of the connection, with `via` (the proxy's Via value) and the place in a trace, if the
/// request has one.
let carried (via: string) (request: IngressRequest) : HeaderLine[] =
    let lines = ForwardHeaders.carried via request.Head.Lines

    match request.Trace with
    | null -> lines
    | trace -> trace.Carried lines

// Offers the copy to every lane of the host whose target wants the request. A lane that is met retired means that the table has changed just now: the lanes
// that are there instead are offered it too, but for those of RequestClones that have been offered it already, by a lane to
// another address.
let rec private enter
    (hosts: unit -> HostMap<HostEntry>)
    (store: CopyStore)
    (head: RequestHead)
    (entry: HostEntry | null)
    (bytes: int64)
    (offered: Offered)
    (before: HashSet<ObjectKey> voption)
    : unit =
    let mutable hasMetRetired = false

    match entry with
    | null -> ()
    | entry ->
        for lane in entry.Lanes do
            if not (RequestMatch.isAnyMet head lane.Target.Matches) then
                offered.HasUnwanted <- true
            elif before.IsNone || not (before.Value.Contains lane.Target.Clone) then
                let isDurable = lane.Target.Delivery.IsDurable

                if isDurable && not (store.TryReserve lane.Target.Clone bytes) then
                    offered.AddFull lane
                else
                    match lane.TryEnter bytes with
                    | LaneEntry.Entered turn -> offered.AddSlot(struct (lane, turn), isDurable)
                    | LaneEntry.Full when isDurable -> offered.AddSpilled lane
                    | LaneEntry.Full -> offered.AddFull lane
                    | LaneEntry.Retired ->
                        if isDurable then
                            store.Release lane.Target.Clone bytes

                        hasMetRetired <- true

    if hasMetRetired then
        let known = HashSet<ObjectKey>()

        for struct (lane, _) in offered.Slots do
            known.Add lane.Target.Clone |> ignore

        for lane in offered.Full do
            known.Add lane.Target.Clone |> ignore

        for lane in offered.Spilled do
            known.Add lane.Target.Clone |> ignore

        let now = hosts().TryFind head.Host |> ValueOption.toObj
        enter hosts store head now bytes offered (ValueSome known)

// A slot that is not used: given back now, or when its turn comes.
let private giveUp (struct (lane, turn): LaneSlot) (bytes: int64) : unit =
    let leave () =
        if turn.Result then
            lane.Leave bytes

    if turn.IsCompleted then
        leave ()
    else
        turn.GetAwaiter().UnsafeOnCompleted(fun () -> leave ())

// What the host has now: the table may have changed since the head came, for a body takes its time.
let private entryNow (services: DuplicateServices) (request: IngressRequest) : HostEntry | null =
    let now = services.Hosts()

    if Object.ReferenceEquals(now, request.Hosts) then
        request.Entry
    else
        now.TryFind request.Head.Host |> ValueOption.toObj

// A copy that found no room in its queue has ended with its acceptance.
let private drop (services: DuplicateServices) (accepted: AcceptedRequest) (lane: Lane) : unit =
    try
        services.Delivery.Observer.Ended accepted lane (struct (TargetOutcome.Overflowed, 0)) TimeSpan.Zero
    with error ->
        services.Failed error

let private tap
    (services: DuplicateServices)
    (accepted: AcceptedRequest)
    (offered: Offered)
    (request: IngressRequest)
    : unit =
    TapEvent.Request {
        At = services.Clock.GetUtcNow()
        Id = accepted.RequestId
        Method = request.Head.Method
        Host = request.Head.Host
        Target = request.Head.Target
        Status = StatusCodes.Status202Accepted
        Reason = ""
        Copies = offered.Slots.Count + offered.Full.Count + offered.Spilled.Count
    }
    |> services.Tap.Tell

let private start (services: DuplicateServices) (accepted: AcceptedRequest) (offered: Offered) : unit =
    FanOut.start services.Delivery accepted offered.Slots

    accepted.ReleaseUnlessHeld()

    for lane in offered.Spilled do
        lane.NudgeNow()

// From here to the start of the copies nothing may throw: they would never end.
let private accept
    (services: DuplicateServices)
    (accepted: AcceptedRequest)
    (offered: Offered)
    (request: IngressRequest)
    : unit =
    if services.Tap.IsOn then
        tap services accepted offered request

    FanOut.accept services.Accounts offered.Slots

    for lane in offered.Full do
        services.Accounts.Accepted lane.Statistics
        drop services accepted lane

    for lane in offered.Spilled do
        services.Accounts.AcceptedToJournal lane.Statistics

    // On a loop the clients of a turn are answered first: they wait for less, and what is done for each answer and each copy is
    // done many times in a row.
    EventLoop.Afterwards(fun () -> start services accepted offered)

// Nothing of the request is copied: everything is given back.
let private withdraw
    (services: DuplicateServices)
    (buffer: RequestBuffer)
    (offered: Offered)
    (bytes: int64)
    : unit =
    for slot in offered.Slots do
        giveUp slot bytes

    match offered.Durable with
    | null -> ()
    | copies ->
        for copy in copies do
            services.Delivery.Store.Release copy.Clone bytes

    buffer.Release()

// What the store has decided.
let private decide
    (services: DuplicateServices)
    (kept: ValueTask<bool>)
    (accepted: AcceptedRequest)
    (offered: Offered)
    (request: IngressRequest)
    (buffer: RequestBuffer)
    (bytes: int64)
    : Refusal voption =
    // A store that throws keeps nothing, and neither its slots nor its memory may be lost with it.
    let isKept =
        try
            kept.GetAwaiter().GetResult()
        with error ->
            services.Failed error
            false

    if isKept then
        accept services accepted offered request
        ValueNone
    else
        withdraw services buffer offered bytes
        ValueSome Refusal.NotKept

// The answer of the store, which has one only later. It goes on where the store tells, without more between than that: each
// request with a journal does.
let private awaitStore (kept: ValueTask<bool>) (decide: unit -> Refusal voption) : Task<Refusal voption> =
    let decided = TaskCompletionSource<Refusal voption>()

    let goOn () =
        let answer =
            try
                Ok(decide ())
            with error ->
                Error error

        match answer with
        | Ok refusal -> decided.SetResult refusal
        | Error error -> decided.SetException error

    kept.ConfigureAwait(false).GetAwaiter().UnsafeOnCompleted goOn
    decided.Task

let private refused (refusal: Refusal) =
    ValueTask<Refusal voption>(ValueSome refusal)

/// Offers a copy to every target that the host has now, and has those started that found room: at once, or on an event loop
/// once all that has come meanwhile is answered. Nothing here waits for a target.
/// ValueNone once the request is accepted; else why it is not, and then the memory is given back.
let submit
    (services: DuplicateServices)
    (captured: Captured)
    (request: IngressRequest)
    : ValueTask<Refusal voption> =
    let buffer = captured.Buffer
    let bytes = buffer.Weight
    let offered = Offered()
    let store = services.Delivery.Store

    enter services.Hosts store request.Head (entryNow services request) bytes offered ValueNone

    if offered.IsRefused then
        withdraw services buffer offered bytes
        refused Refusal.Busy
    elif offered.Slots.Count > 0 || offered.Spilled.Count > 0 then
        let accepted =
            AcceptedRequest(
                captured.Request,
                bytes,
                services.Clock.GetTimestamp(),
                request.Trace,
                offered.Slots.Count,
                offered.Durable,
                buffer.Release
            )

        accepted.RequestId <- RequestIds.next services.Clock
        let kept = store.Append accepted

        if kept.IsCompletedSuccessfully then
            ValueTask<Refusal voption>(decide services kept accepted offered request buffer bytes)
        else
            ValueTask<Refusal voption>(
                awaitStore kept (fun () -> decide services kept accepted offered request buffer bytes)
            )
    else
        buffer.Release()

        refused (
            if offered.Full.Count > 0 then Refusal.Busy
            elif offered.HasUnwanted then Refusal.NoMatch
            else Refusal.NoTarget
        )

/// Receives the request whole, sends its copies on their way, and goes on. Refuses it where it cannot be received or no
/// target has room for it.
let copies (services: DuplicateServices) : HttpHandler =
    let via = ForwardHeaders.viaValue services.ViaName

    fun next ctx ->
        let request = IngressRequest.Of ctx
        let lines = carried via request

        let share: BudgetShare | null =
            match request.Entry with
            | null -> null
            | entry -> entry.Share

        let allowance = Allowance(services.Budget, share, ctx.Features.Get<BudgetShare>())

        // As long as its body is waited for, the server has the head too.
        let headWeight = RequestCapture.headWeight request.Head.Lines

        if not (allowance.TryTake headWeight) then
            Refusals.refuse services.Clock Refusal.Busy ctx
        else
            task {
                try
                    match!
                        RequestCapture.capture
                            services.Clock
                            services.ReadTimeout
                            allowance
                            services.BodySizeLimit
                            request.Head
                            lines
                            ctx
                    with
                    | Ok captured ->
                        match! submit services captured request with
                        | ValueNone -> return! next ctx
                        | ValueSome refusal -> return! Refusals.refuseReceived refusal ctx
                    | Error refusal -> return! Refusals.refuse services.Clock refusal ctx
                finally
                    allowance.Return headWeight
            }
