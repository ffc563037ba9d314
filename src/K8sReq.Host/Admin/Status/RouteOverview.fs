namespace K8sReq.Host.Admin.Status

open System
open System.Threading
open K8sReq.Core
open K8sReq.Proxy

/// All RequestClones at one moment, with their states.
[<NoComparison; NoEquality>]
type RouteOverview = {
    At: DateTimeOffset
    /// Ordered by host.
    ByHost: RouteStatus[]
    /// The worst state first, then by host.
    ByTrouble: RouteStatus[]
    /// How many are in each state, by its rank.
    Counts: int[]
    /// What finished in the last ten minutes.
    LastTenMinutes: CopyWindow
} with

    member overview.Count(state: RouteState) : int = overview.Counts[RouteState.rank state]

    /// Those that somebody should look at, the worst first.
    member overview.Trouble: RouteStatus[] =
        overview.ByTrouble
        |> Array.takeWhile (fun status -> RouteState.isTrouble status.State)

module RouteOverview =
    let ofRoutes (at: DateTimeOffset) (byHost: RouteStatus[]) : RouteOverview =
        let ofState =
            RouteState.all
            |> List.map (fun state ->
                byHost
                |> Array.filter (fun status -> RouteState.rank status.State = RouteState.rank state))
            |> Array.ofList

        {
            At = at
            ByHost = byHost
            ByTrouble = Array.concat ofState
            Counts = ofState |> Array.map _.Length
            LastTenMinutes =
                (CopyWindow.empty, byHost)
                ||> Array.fold (fun sum status -> CopyWindow.add sum status.LastTenMinutes)
        }

/// The RequestClones ordered by host: sorted again only when the table has changed.
[<Sealed>]
type OrderedClones(table: unit -> RouteTable) =
    // Guards both: `clones` is `known` in the order of hosts.
    let gate = Lock()
    let mutable known = RouteTable.empty
    let mutable clones: ResolvedClone[] = [||]

    member _.Now: ResolvedClone[] =
        exclusively gate (fun () ->
            let now = table ()

            if not (Object.ReferenceEquals(now, known)) then
                clones <- StatusQuery.ordered now.Clones.Values
                known <- now

            clones)
