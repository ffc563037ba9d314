namespace K8sReq.Proxy

open System.Threading

[<AutoOpen>]
module Exclusive =
    /// Runs the work while nobody else holds the lock. F#'s `lock` would use a `Lock` as any other object, by its monitor, which
    /// is the slower of the two and not the one that `Lock` means.
    let inline exclusively (gate: Lock) ([<InlineIfLambda>] work: unit -> 'T) : 'T =
        gate.Enter()

        try
            work ()
        finally
            gate.Exit()
