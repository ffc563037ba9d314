/// Waiting for something that other threads bring about. The limits only end a test that has failed.
module K8sReq.TestKit.Waiting

open System
open System.Threading.Tasks

let patience = TimeSpan.FromSeconds 30.0

/// The task's result, or a failure that says what was waited for.
let within (what: string) (awaited: Task<'T>) : Task<'T> = task {
    try
        return! awaited.WaitAsync patience
    with :? TimeoutException ->
        return failwith $"waited in vain for {what}"
}

/// Asks again and again until the answer is yes, for so long. For what cannot be awaited: the state of another process, a log.
let untilFor (time: TimeSpan) (what: string) (isSo: unit -> Task<bool>) : Task<unit> = task {
    let deadline = DateTime.UtcNow + time
    let! first = isSo ()
    let mutable isDone = first

    while not isDone do
        if DateTime.UtcNow > deadline then
            failwith $"waited in vain for {what}"

        do! Task.Delay 10
        let! now = isSo ()
        isDone <- now
}

/// The same, for as long as anything is waited for.
let until (what: string) (isSo: unit -> Task<bool>) : Task<unit> = untilFor patience what isSo
