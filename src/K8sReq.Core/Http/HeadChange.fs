namespace K8sReq.Core

open System

/// What is to be different in the head of a request.
type HeadChange = {
    /// Null where it stays.
    Target: string | null
    /// Null where it stays.
    Host: string | null
    /// Names of fields, in any case, that go.
    Removed: string[]
    /// Fields that come to the end of the head, and stay: what is removed is removed before.
    Added: HeaderLine[]
}

module HeadChange =
    let none: HeadChange = {
        Target = null
        Host = null
        Removed = [||]
        Added = [||]
    }

    /// Whether it changes nothing.
    let isNone (change: HeadChange) : bool =
        isNull change.Target
        && isNull change.Host
        && change.Removed.Length = 0
        && change.Added.Length = 0

    let private isNamed (expected: string) (name: string) =
        name.Equals(expected, StringComparison.OrdinalIgnoreCase)

    let private isIn (names: string[]) (name: string) = Array.exists (isNamed name) names

    let private orElse (before: string | null) (after: string | null) =
        match after with
        | null -> before
        | after -> after

    /// Further fields.
    let adding (lines: HeaderLine[]) : HeadChange = { none with Added = lines }

    /// Without the fields of these names.
    let removing (names: string[]) : HeadChange = { none with Removed = names }

    /// These fields in place of all of their names.
    let setting (lines: HeaderLine[]) : HeadChange = {
        none with
            Removed = lines |> Array.map (fun struct (name, _) -> name)
            Added = lines
    }

    /// Makes this change and then the next.
    let andThen (next: HeadChange) (change: HeadChange) : HeadChange =
        if isNone change then
            next
        elif isNone next then
            change
        else
            {
                Target = orElse change.Target next.Target
                Host = orElse change.Host next.Host
                Removed =
                    next.Removed
                    |> Array.filter (isIn change.Removed >> not)
                    |> Array.append change.Removed
                Added =
                    change.Added
                    |> Array.filter (fun struct (name, _) -> not (isIn next.Removed name))
                    |> fun kept -> Array.append kept next.Added
            }
