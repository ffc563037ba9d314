namespace K8sReq.Crash

open System
open System.Collections.Concurrent
open System.IO
open System.Net.Sockets
open System.Threading
open System.Threading.Tasks
open K8sReq.TestKit

/// What a sender knows of its request.
[<RequireQualifiedAccess>]
type Answer =
    | Status of int
    /// The connection ended without an answer: it may have been accepted.
    | Nothing

/// What became of the requests of a test.
type Verdict = {
    Acknowledged: int
    /// Acknowledged copies that never came.
    Lost: int
    /// Copies that were kept as dead letters, and came once they were replayed.
    Dead: int
    /// Copies that came more than once.
    Twice: int
    /// Requests without an answer, and how many of them came all the same: allowed.
    Unanswered: int
    CameUnanswered: int
    /// Requests that were refused and came all the same.
    CameRefused: int
    /// Copies that were not what was sent.
    Damaged: int
}

module Verdict =
    let none = {
        Acknowledged = 0
        Lost = 0
        Dead = 0
        Twice = 0
        Unanswered = 0
        CameUnanswered = 0
        CameRefused = 0
        Damaged = 0
    }

    let add (one: Verdict) (other: Verdict) : Verdict = {
        Acknowledged = one.Acknowledged + other.Acknowledged
        Lost = one.Lost + other.Lost
        Dead = one.Dead + other.Dead
        Twice = one.Twice + other.Twice
        Unanswered = one.Unanswered + other.Unanswered
        CameUnanswered = one.CameUnanswered + other.CameUnanswered
        CameRefused = one.CameRefused + other.CameRefused
        Damaged = one.Damaged + other.Damaged
    }

    /// What the journal promises: nothing acknowledged is lost, nothing refused is copied, no byte is another.
    let isKept (verdict: Verdict) : bool =
        verdict.Acknowledged > 0
        && verdict.Lost = 0
        && verdict.CameRefused = 0
        && verdict.Damaged = 0

    let describe (verdict: Verdict) : string =
        $"{verdict.Acknowledged} requests acknowledged, {verdict.Lost} copies lost, {verdict.Dead} kept as dead letters and replayed, {verdict.Twice} copies twice, "
        + $"{verdict.Unanswered} requests without an answer ({verdict.CameUnanswered} of them came: allowed), "
        + $"{verdict.CameRefused} refused and copied, {verdict.Damaged} damaged"

/// Senders, what they were answered, and how that compares with what came.
[<Sealed>]
type Ledger() =
    let answers = ConcurrentDictionary<int, Answer>()
    let mutable last = 0

    let send (client: TestClient) = task {
        let number = Interlocked.Increment &last
        answers[number] <- Answer.Nothing
        do! client.SendBytes(Payload.request number)

        match! client.TryAnswer() with
        | None -> return false
        | Some answer ->
            let status = TestClient.status answer
            answers[number] <- Answer.Status status

            // It is to be tried again later.
            if status = 503 then
                do! Task.Delay 20

            return answer.Values "Connection" <> [ "close" ]
    }

    // One request after the other, until the proxy is gone.
    let sendAll (port: int) : Task = task {
        let mutable isOver = false

        while not isOver do
            try
                use! client = TestClient.Connect port
                let mutable isOpen = true

                while isOpen do
                    let! isKept = send client
                    isOpen <- isKept
            with
            | :? IOException
            | :? ObjectDisposedException -> ()
            // Nobody listens any more.
            | :? SocketException -> isOver <- true
    }

    /// Sends over so many connections until the proxy is gone.
    member _.SendTo(port: int, connections: int) : Task =
        Task.WhenAll [
            for _ in 1..connections -> Task.Run<Task>(Func<Task>(fun () -> sendAll port)).Unwrap()
        ]

    /// Completed once so many requests more have been acknowledged.
    member ledger.Acknowledges(more: int) : Task<unit> =
        let wanted = ledger.Acknowledged.Length + more

        Waiting.until "requests to be acknowledged" (fun () ->
            Task.FromResult(ledger.Acknowledged.Length >= wanted))

    member _.Acknowledged: int list = [
        for KeyValue(number, answer) in answers do
            if answer = Answer.Status 202 then
                number
    ]

    /// Acknowledged copies that have not come to their target.
    member ledger.Missing(targets: CrashTarget list) : int =
        let acknowledged = ledger.Acknowledged

        targets
        |> List.sumBy (fun target ->
            acknowledged |> List.filter (target.Copies.ContainsKey >> not) |> List.length)

    /// `dead`: how many copies were dead letters.
    member ledger.Judge(targets: CrashTarget list, dead: int) : Verdict =
        let came number =
            targets |> List.exists _.Copies.ContainsKey(number)

        let count isAsked =
            answers
            |> Seq.filter (fun (KeyValue(number, answer)) -> isAsked number answer)
            |> Seq.length

        {
            Acknowledged = ledger.Acknowledged.Length
            Lost = ledger.Missing targets
            Dead = dead
            Twice =
                targets
                |> List.sumBy (fun target ->
                    target.Copies.Values |> Seq.filter (fun times -> times > 1) |> Seq.length)
            Unanswered = count (fun _ answer -> answer = Answer.Nothing)
            CameUnanswered = count (fun number answer -> answer = Answer.Nothing && came number)
            CameRefused =
                count (fun number answer ->
                    match answer with
                    | Answer.Status status -> status <> 202 && came number
                    | Answer.Nothing -> false)
            Damaged = targets |> List.sumBy _.Damaged
        }
