/// Receives a request whole, and offers a copy of it to every target of its host.
module K8sReq.Proxy.Offer

open System
open System.Collections.Generic
open Microsoft.AspNetCore.Http
open K8sReq.Core

// The headers that copies carry.
let private carried (via: string) (request: IngressRequest) : HeaderLine[] =
    let lines = ForwardHeaders.carried via request.Head.Lines

    match request.Trace with
    | null -> lines
    | trace -> trace.Carried lines

// Offers the copy to every lane of the host: the slots that it gets are added, the lanes that had none are given.
// A lane that is met retired means that the table has changed just now: the lanes that are there instead are offered it
// too, but for those of RequestClones that have been offered it already, by a lane to another address.
let rec private enter
    (hosts: unit -> HostMap<HostEntry>)
    (host: string)
    (entry: HostEntry | null)
    (bytes: int64)
    (slots: ResizeArray<LaneSlot>)
    (offered: HashSet<ObjectKey> voption)
    (full: Lane list)
    : Lane list =
    let mutable full = full
    let mutable hasMetRetired = false

    match entry with
    | null -> ()
    | entry ->
        for lane in entry.Lanes do
            if offered.IsNone || not (offered.Value.Contains lane.Target.Clone) then
                match lane.TryEnter bytes with
                | LaneEntry.Entered turn -> slots.Add(struct (lane, turn))
                | LaneEntry.Full -> full <- lane :: full
                | LaneEntry.Retired -> hasMetRetired <- true

    if hasMetRetired then
        let offered = HashSet<ObjectKey>()

        for struct (lane, _) in slots do
            offered.Add lane.Target.Clone |> ignore

        for lane in full do
            offered.Add lane.Target.Clone |> ignore

        let now = hosts().TryFind host |> ValueOption.toObj
        enter hosts host now bytes slots (ValueSome offered) full
    else
        full

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

/// Offers a copy to every target that the host has now, sends those that found room on their way, and goes on at once.
/// Nothing here waits for a target. 503 if no lane has room; the memory is given back then.
let private offer (services: DuplicateServices) : Captured -> IngressRequest -> HttpHandler =
    let noTarget = Refusals.refuseReceived Refusal.NoTarget
    let busy = Refusals.refuseReceived Refusal.Busy

    // A copy that found no room in its queue has ended with its acceptance.
    let drop accepted lane =
        try
            services.Delivery.Ended accepted lane (struct (TargetOutcome.Overflowed, 0)) TimeSpan.Zero
        with error ->
            services.Failed error

    // From here to the start of the copies nothing may throw: they would never end.
    let accept (accepted: AcceptedRequest) (slots: ResizeArray<LaneSlot>) (full: Lane list) =
        for struct (lane, _) in slots do
            services.Accounts.Accepted lane.Statistics

        for lane in full do
            services.Accounts.Accepted lane.Statistics
            drop accepted lane

        FanOut.start services.Delivery accepted slots

    let goOn accepted slots full (next: HttpFunc) ctx =
        accept accepted slots full
        next ctx

    let notKept (buffer: RequestBuffer) (slots: ResizeArray<LaneSlot>) bytes ctx =
        for slot in slots do
            giveUp slot bytes

        buffer.Release()
        busy ctx

    fun captured request next ctx ->
        let copied, buffer = captured.Request, captured.Buffer
        let bytes = buffer.Weight
        let slots = ResizeArray<LaneSlot>(2)

        let full =
            enter services.Hosts copied.Host (entryNow services request) bytes slots ValueNone []

        if slots.Count > 0 then
            let accepted =
                AcceptedRequest(
                    copied,
                    bytes,
                    services.Clock.GetTimestamp(),
                    request.Trace,
                    slots.Count,
                    buffer.Release
                )

            let kept = services.Delivery.Store.Append accepted

            if not kept.IsCompletedSuccessfully then
                task {
                    // A store that throws keeps nothing, and neither its slots nor its memory may be lost with it.
                    let! isKept = task {
                        try
                            return! kept
                        with error ->
                            services.Failed error
                            return false
                    }

                    return!
                        if isKept then
                            goOn accepted slots full next ctx
                        else
                            notKept buffer slots bytes ctx
                }
            elif kept.Result then
                goOn accepted slots full next ctx
            else
                notKept buffer slots bytes ctx
        else
            buffer.Release()
            if full.IsEmpty then noTarget ctx else busy ctx

/// Receives the request whole, sends its copies on their way, and goes on. Refuses it where it cannot be received or no
/// target has room for it.
let copies (services: DuplicateServices) : HttpHandler =
    let offer = offer services
    let via = ForwardHeaders.viaValue services.ViaName

    fun next ctx ->
        let request = IngressRequest.Of ctx
        let lines = carried via request

        let share: BudgetShare | null =
            match request.Entry with
            | null -> null
            | entry -> entry.Share

        let allowance = Allowance(services.Budget, share, ctx.Features.Get<BudgetShare>())

        // As long as its body is waited for, the server holds the head.
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
                    | Ok captured -> return! offer captured request next ctx
                    | Error refusal -> return! Refusals.refuse services.Clock refusal ctx
                finally
                    allowance.Return headWeight
            }
