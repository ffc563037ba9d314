/// What the program, the clients and the targets say of the same copies.
module K8sReq.Soak.Accounts

open System.Text.RegularExpressions
open K8sReq.TestKit

/// The totals of the program's last words.
let totalsOf (program: PublishedProgram) =
    let found =
        Regex.Match(
            program.Errors,
            @"(\d+) cop(?:y|ies) accepted: (\d+) delivered, (\d+) failed, (\d+) dropped; (\d+) retr(?:y|ies)"
        )

    if not found.Success then
        failwith $"the program gave no totals:\n{program.Errors}"

    [ for group in 1..5 -> int64 found.Groups[group].Value ]

/// What is wrong with the copies that a target which is always routed and always answers has got.
let wrongCopies name (target: SoakTarget) (clients: Clients) (belongs: int -> bool) = [
    let copiesOf number =
        match target.Copies.TryGetValue number with
        | true, count -> count
        | false, _ -> 0

    let mutable lost, doubled, unasked = 0, 0, 0

    for KeyValue(number, ended) in clients.Ended do
        match ended, copiesOf number with
        | Ended.Answered 202, 1 when belongs number -> ()
        | Ended.Answered 202, 0 when belongs number -> lost <- lost + 1
        // It may have been accepted when the connection ended.
        | Ended.Unanswered, (0 | 1) when belongs number -> ()
        | _, 0 when not (belongs number) || ended <> Ended.Answered 202 -> ()
        | _, 1 -> unasked <- unasked + 1
        | _ -> doubled <- doubled + 1

    if lost > 0 then
        $"{name}: {lost} copies of accepted requests never came"

    if doubled > 0 then
        $"{name}: {doubled} copies came more than once"

    if unasked > 0 then
        $"{name}: {unasked} copies came of requests that were not accepted"

    if target.Damaged > 0 then
        $"{name}: {target.Damaged} copies were not what was sent"
]
