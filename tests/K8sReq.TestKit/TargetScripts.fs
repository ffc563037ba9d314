/// Targets that misbehave, and what a copy's send must make of each.
module K8sReq.TestKit.TargetScripts

open System
open System.Net.Sockets
open System.Text
open System.Threading
open System.Threading.Tasks
open K8sReq.TestKit.HttpMessage

/// What has to happen before the send ends.
[<RequireQualifiedAccess>]
type EndsBy =
    /// Nothing but what the target does.
    | Itself
    /// The time that a send may take.
    | Timeout

type TargetScript = {
    /// What the target does.
    Name: string
    /// Takes a wait for the outcome of the copy that came last, and where requests are kept.
    Behave: (unit -> Task) -> (Message -> unit) -> Behaviour
    /// Nobody listens.
    Refuses: bool
    /// How the outcome's description may begin.
    Outcomes: string list
    EndsBy: EndsBy
    /// Whether the connection can serve the next send.
    IsKept: bool
    /// How many connections may be left when the sends are over. One that its target has closed without notice is
    /// found out when it is to be used again, or after a while.
    Left: int
}

let private write (stream: NetworkStream) (text: string) : Task =
    let bytes = Encoding.Latin1.GetBytes text
    stream.WriteAsync(bytes, 0, bytes.Length)

let private reset (stream: NetworkStream) =
    stream.Socket.LingerState <- LingerOption(true, 0)
    stream.Socket.Close()

let private forEver () = Task.Delay Timeout.Infinite

// Writes the same again and again, until the other side has gone.
let private endlessly (pause: TimeSpan) (text: string) (stream: NetworkStream) : Task<unit> = task {
    while true do
        do! write stream text

        if pause > TimeSpan.Zero then
            do! Task.Delay pause
}

let private byteBySecond = TimeSpan.FromSeconds 1.0

let private knowing name outcome behave = {
    Name = name
    Behave = behave
    Refuses = false
    Outcomes = [ outcome ]
    EndsBy = EndsBy.Itself
    IsKept = false
    Left = 0
}

let private raw name outcome behave = knowing name outcome (fun _ -> behave)

let private once (behave: NetworkStream -> Task<unit>) : (Message -> unit) -> Behaviour =
    fun keep stream reader -> task {
        match! reader.Read() with
        | None -> ()
        | Some message ->
            keep message
            do! behave stream
    }

/// Reads one request whole, and behaves.
let private script name outcome behave = raw name outcome (once behave)

/// Reads one request whole, answers, and resets the connection when the answer has been taken: a reset discards what
/// has not been read.
let private answersAndResets name outcome (answer: string) =
    knowing name outcome (fun settled ->
        once (fun stream -> task {
            do! write stream answer
            do! settled ()
            reset stream
        }))

let private orOutcome other script = {
    script with
        Outcomes = other :: script.Outcomes
}

let private endedByTimeout script = { script with EndsBy = EndsBy.Timeout }
let private leavingOne script = { script with Left = 1 }
let private keeping script = { leavingOne script with IsKept = true }

/// Answers every request of a connection with this.
let private answers name outcome (answer: string) =
    raw name outcome (fun keep stream reader -> task {
        let mutable isOpen = true

        while isOpen do
            match! reader.Read() with
            | None -> isOpen <- false
            | Some message ->
                keep message
                do! write stream answer
    })
    |> keeping

let private delivered = "delivered"
let private broke = "the connection broke"
let private noHttp = "the response was not HTTP"
// Which of the two times is over depends on when the clock is moved.
let private noAnswer = "timed out"

/// Answers that end by themselves: their heads' first lines, fields and bodies.
let private complete = [
    "answers 200 with a body", "HTTP/1.1 200 OK", "Content-Length: 2\r\n", "ok", delivered
    "answers 204", "HTTP/1.1 204 No Content", "", "", delivered
    "answers 304 with a length that has no body", "HTTP/1.1 304 Not Modified", "", "", "answered 304"
    "answers 500", "HTTP/1.1 500 Oops", "Content-Length: 0\r\n", "", "answered 500"
    "answers in chunks, with trailers",
    "HTTP/1.1 200 OK",
    "Transfer-Encoding: chunked\r\n",
    "2;x=y\r\nok\r\n0\r\nX-Trailer: 1\r\n\r\n",
    delivered
    "answers 103 and 102 first",
    "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 201 Created",
    "Content-Length: 0\r\n",
    "",
    delivered
]

let private afterComplete =
    complete
    |> List.collect (fun (name, line, fields, body, outcome) -> [
        answers name outcome $"{line}\r\n{fields}\r\n{body}"
        // Who says so has to do so, or the other side will.
        script $"{name}, says Connection: close and closes" outcome (fun stream -> task {
            do! write stream $"{line}\r\nConnection: close\r\n{fields}\r\n{body}"
        })
        script $"{name}, says Connection: close and does not" outcome (fun stream -> task {
            do! write stream $"{line}\r\nConnection: close\r\n{fields}\r\n{body}"
            do! forEver ()
        })
        script $"{name} and closes without having said so" outcome (fun stream -> task {
            do! write stream $"{line}\r\n{fields}\r\n{body}"
        })
        |> leavingOne
        // So may the next request here: the target takes it, and closes.
        |> orOutcome broke
        answersAndResets
            $"{name} and resets the connection afterwards"
            outcome
            $"{line}\r\n{fields}\r\n{body}"
        // The next request may be on its way already. A reset does not tell whether it was taken, so it is not sent again.
        |> orOutcome broke
    ])

let all: TargetScript list =
    [
        {
            raw "refuses" "could not connect" (fun _ _ _ -> Task.FromResult()) with
                Refuses = true
        }
        raw "resets each connection" broke (fun _ stream _ -> task { reset stream })
        // It may be faster than the connecting.
        |> orOutcome "could not connect"
        raw "resets after the request's head" broke (fun _ stream reader -> task {
            let! _ = reader.ReadHead()
            reset stream
        })
        script "resets after the request" broke (fun stream -> task { reset stream })
        script "closes after the request" broke (fun _ -> Task.FromResult())
        script "resets within its answer's head" broke (fun stream -> task {
            do! write stream "HTTP/1.1 200 OK\r\nContent-Le"
            reset stream
        })
        answersAndResets
            "resets within its answer's body"
            delivered
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"
        script "closes within its answer's body" delivered (fun stream -> task {
            do! write stream "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"
        })
        script "takes the request and never answers" noAnswer (fun _ -> task { do! forEver () })
        |> endedByTimeout
        raw "accepts and never reads" noAnswer (fun _ _ _ -> task { do! forEver () })
        |> endedByTimeout
        script "drips a head, a byte a second" noAnswer (fun stream -> task {
            do! write stream "HTTP/1.1 200 OK\r\nX: "
            do! endlessly byteBySecond "x" stream
        })
        |> endedByTimeout
        script "sends interim answers without end" noAnswer (fun stream -> task {
            do! endlessly (TimeSpan.FromMilliseconds 10.0) "HTTP/1.1 100 Continue\r\n\r\n" stream
        })
        |> endedByTimeout
        script "drips a body, a byte a second" delivered (fun stream -> task {
            do! write stream "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
            do! endlessly byteBySecond "x" stream
        })
        script "answers a head without end" noHttp (fun stream -> task {
            do! write stream "HTTP/1.1 200 OK\r\n"
            do! endlessly TimeSpan.Zero $"X: {String('x', 1000)}\r\n" stream
        })
        script "answers a line without end" noHttp (fun stream -> task {
            do! endlessly TimeSpan.Zero (String('x', 1000)) stream
        })
        script "answers a body without end" delivered (fun stream -> task {
            do! write stream "HTTP/1.1 200 OK\r\n\r\n"
            do! endlessly TimeSpan.Zero (String('x', 10_000)) stream
        })
        script "answers chunks without end" delivered (fun stream -> task {
            do! write stream "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            do! endlessly TimeSpan.Zero $"3E8\r\n{String('x', 1000)}\r\n" stream
        })
        script "answers a body that its end delimits" delivered (fun stream -> task {
            do! write stream "HTTP/1.1 200 OK\r\n\r\nabc"
        })
        script "answers in HTTP/1.0" delivered (fun stream -> task {
            do! write stream "HTTP/1.0 200 OK\r\n\r\nabc"
        })
        script "answers in HTTP/0.9" noHttp (fun stream -> task { do! write stream "<html></html>\r\n" })
        script "answers with another protocol" noHttp (fun stream -> task {
            do! write stream "SSH-2.0-OpenSSH_9.2p1\r\n"
        })
        script "answers zeros" noHttp (fun stream -> task { do! write stream (String('\000', 200_000)) })
        script "answers a status that is none" noHttp (fun stream -> task {
            do! write stream "HTTP/1.1 2O0 OK\r\nContent-Length: 0\r\n\r\n"
        })
        script "answers chunks that are none" delivered (fun stream -> task {
            do! write stream "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnone\r\n"
            do! forEver ()
        })
        script "switches protocols unasked" "answered 101" (fun stream -> task {
            do! write stream "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
            do! forEver ()
        })
        script "answers twice" delivered (fun stream -> task {
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
            do! write stream (answer + answer.Replace("200 OK", "500 No"))
            do! forEver ()
        })
        raw "answers before it has read the request, and reads it" "answered 413" (fun keep stream reader -> task {
            let mutable isOpen = true

            while isOpen do
                match! reader.ReadHead() with
                | None -> isOpen <- false
                | Some(start, fields) ->
                    do! write stream "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"
                    let! body = reader.ReadBody fields

                    keep {
                        Start = start
                        Fields = fields
                        Body = body
                    }
        })
        |> keeping
        raw "answers before it has read the request, and closes" "answered 413" (fun _ stream reader -> task {
            let! _ = reader.ReadHead()
            do! write stream "HTTP/1.1 413 Too Large\r\nConnection: close\r\n\r\n"
        })
    ]
    @ afterComplete
