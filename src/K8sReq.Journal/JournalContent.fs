namespace K8sReq.Journal

open K8sReq.Core

/// What is wrong with the log that the last program has left.
[<RequireQualifiedAccess>]
type LogDamage =
    /// Its beginning cannot be read: nothing of it counts.
    | Header
    /// A part cannot be read, and so many commits at most are in it and after it: they do not count.
    | Commits of lost: int

/// A damaged log that was found, and where a copy of it is kept; none where that could not be written.
type DamagedLog = {
    Damage: LogDamage
    Copy: string option
}

/// What was in the journal at its first opening.
type JournalContent = {
    /// What waits, those below among it.
    Waiting: (ObjectKey * WaitingCopies) list
    /// Copies that are dead letters from now on: the process has ended twice while they were sent.
    Poisonous: DeadEntry list
    Letters: (ObjectKey * DeadLetterCount) list
    /// RequestClones that have dead letters which are to be sent to their sinks.
    Unsent: ObjectKey list
    /// What was wrong with the log that the last program has left.
    Damage: DamagedLog option
}

/// What was found and done by the way, in a journal that several processes use.
type JournalUpkeep = {
    /// Copies of a process that has gone, which are this one's now.
    Adopted: (ObjectKey * WaitingCopies) list
    /// Those of them that are dead letters from now on; not among the others.
    Poisonous: DeadEntry list
    /// RequestClones with dead letters that this process is to send to their sinks from now on.
    Unsent: ObjectKey list
    /// All dead letters that there are, of all replicas; none where they were not counted.
    Letters: (ObjectKey * DeadLetterCount) list option
    /// How many processes use the journal, this one among them; none where they were not counted.
    Replicas: int option
    /// There is more of the same to do at once.
    IsMore: bool
}

module JournalUpkeep =
    let nothing: JournalUpkeep = {
        Adopted = []
        Poisonous = []
        Unsent = []
        Letters = None
        Replicas = None
        IsMore = false
    }

    /// Whether nothing was found, and nothing is to be done.
    let isNothing (upkeep: JournalUpkeep) : bool =
        upkeep.Adopted.IsEmpty
        && upkeep.Poisonous.IsEmpty
        && upkeep.Unsent.IsEmpty
        && not upkeep.IsMore
