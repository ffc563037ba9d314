namespace K8sReq.Core

open System.Collections.Immutable

/// Work of several owners that is done by turns: one piece of each owner that has any, however many pieces others have; the
/// pieces of one owner in the order in which they came.
[<NoEquality; NoComparison>]
type Rotation<'Owner, 'Work when 'Owner: comparison> = private {
    /// Of those that have any.
    Waiting: Map<'Owner, ImmutableQueue<'Work>>
    /// Whose turn is next; each of them once.
    Order: ImmutableQueue<'Owner>
}

module Rotation =
    let empty<'Owner, 'Work when 'Owner: comparison> : Rotation<'Owner, 'Work> = {
        Waiting = Map.empty
        Order = ImmutableQueue.Empty
    }

    let add (owner: 'Owner) (work: 'Work) (rotation: Rotation<'Owner, 'Work>) : Rotation<'Owner, 'Work> =
        match rotation.Waiting.TryFind owner with
        | Some waiting -> {
            rotation with
                Waiting = rotation.Waiting.Add(owner, waiting.Enqueue work)
          }
        | None -> {
            Waiting = rotation.Waiting.Add(owner, ImmutableQueue.Create<'Work> work)
            Order = rotation.Order.Enqueue owner
          }

    let isEmpty (rotation: Rotation<'Owner, 'Work>) : bool = rotation.Order.IsEmpty

    /// The next piece, and what is left; none if there is no work.
    let tryTake (rotation: Rotation<'Owner, 'Work>) : struct ('Work * Rotation<'Owner, 'Work>) voption =
        if rotation.Order.IsEmpty then
            ValueNone
        else
            let owner = rotation.Order.Peek()
            let waiting = rotation.Waiting[owner]
            let others = rotation.Order.Dequeue()
            let left = waiting.Dequeue()

            let rest =
                if left.IsEmpty then
                    {
                        Waiting = rotation.Waiting.Remove owner
                        Order = others
                    }
                else
                    {
                        Waiting = rotation.Waiting.Add(owner, left)
                        Order = others.Enqueue owner
                    }

            ValueSome(struct (waiting.Peek(), rest))
