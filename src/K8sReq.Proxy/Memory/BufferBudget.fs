namespace K8sReq.Proxy

open System.Threading

/// What one of many holds of a budget: a host, or a client. It may hold so many times what is free then, `weight`, and so
/// never all: with 1 a half at most, with 3 three quarters, and less where others hold something too. What it leaves is
/// for those that hold less.
[<Sealed>]
type BudgetShare(weight: int64) =
    let mutable used = 0L

    member _.Used = Volatile.Read &used

    member internal _.TryTake(bytes: int64, free: int64, total: int64) : bool =
        // A little is always allowed: where the budget is small, a share of it is less than a request.
        let most =
            max (total / 16L) (if free > total / weight then total else weight * free)

        if Interlocked.Add(&used, bytes) <= most then
            true
        else
            Interlocked.Add(&used, -bytes) |> ignore
            false

    member internal _.Return(bytes: int64) : unit =
        Interlocked.Add(&used, -bytes) |> ignore

module BudgetShare =
    /// Half of all where nobody else holds anything: no host keeps out the others.
    let ofHost () = BudgetShare 1L

    /// Three quarters: many senders may have one address, that of an ingress controller, and then it is nearly all of the
    /// traffic; what is left is for clients that come another way.
    let ofClient () = BudgetShare 3L

/// The bytes that all captured requests may hold in memory together. From many threads at once.
[<Sealed>]
type BufferBudget(total: int64) =
    let mutable used = 0L

    member _.Total = total
    member _.Used = Volatile.Read &used

    /// Takes these bytes, or none of them where that would be more than there are.
    member _.TryTake(bytes: int64) : bool =
        if Interlocked.Add(&used, bytes) <= total then
            true
        else
            Interlocked.Add(&used, -bytes) |> ignore
            false

    /// Gives back what was taken.
    member _.Return(bytes: int64) : unit =
        Interlocked.Add(&used, -bytes) |> ignore

/// What a request may take of a budget: what there is, within the shares of its host and its client. Null where it is
/// nobody's.
[<Struct>]
type Allowance(budget: BufferBudget, host: BudgetShare | null, client: BudgetShare | null) =
    static member private IsWithin
        (share: BudgetShare | null, bytes: int64, free: int64, total: int64)
        : bool =
        match share with
        | null -> true
        | share -> share.TryTake(bytes, free, total)

    /// Takes these bytes, or none of them.
    member _.TryTake(bytes: int64) : bool =
        if not (budget.TryTake bytes) then
            false
        else
            let free = budget.Total - budget.Used

            if not (Allowance.IsWithin(host, bytes, free, budget.Total)) then
                budget.Return bytes
                false
            elif not (Allowance.IsWithin(client, bytes, free, budget.Total)) then
                match host with
                | null -> ()
                | host -> host.Return bytes

                budget.Return bytes
                false
            else
                true

    /// Gives back what was taken.
    member _.Return(bytes: int64) : unit =
        budget.Return bytes

        match host with
        | null -> ()
        | host -> host.Return bytes

        match client with
        | null -> ()
        | client -> client.Return bytes
