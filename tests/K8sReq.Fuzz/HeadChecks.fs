/// Heads as `PlainHead` reads them, against what the server makes of the same bytes.
module K8sReq.Fuzz.HeadChecks

open System
open System.Collections.Generic
open System.Diagnostics
open System.Text
open System.Threading.Tasks
open K8sReq.Core
open K8sReq.Fuzz.HeadServer

/// Reads a head after the one before on its connection; `PlainHead.readAfter`, or one with a fault.
type HeadReader = delegate of before: (RequestHead | null) * received: ReadOnlySpan<byte> -> PlainReading

/// How many heads came to what.
[<Sealed>]
type Tally() =
    let counts = SortedDictionary<string, int64>(StringComparer.Ordinal)

    let countOf what =
        match counts.TryGetValue what with
        | true, count -> count
        | _ -> 0L

    member _.Add(what: string, count: int64) = counts[what] <- countOf what + count

    member _.Of(what: string) : int64 = countOf what

    member tally.AddAll(other: Tally) =
        for KeyValue(what, count) in other.Counts do
            tally.Add(what, count)

    member _.Counts: IReadOnlyDictionary<string, int64> = counts

// One in so many of those that are not plain is shown to the server, too: it costs a connection.
let private oddShare = 16

// Requests on a connection before the next one is made.
let private longestUse = 500

let private isNamed (expected: string) (name: string) =
    name.Equals(expected, StringComparison.OrdinalIgnoreCase)

// The value of this name's line number `number` among those of this name, null for none.
let private tryValue (lines: HeaderLine[]) (name: string) (number: int) : string | null =
    let mutable left = number
    let mutable found: string | null = null

    for struct (known, value) in lines do
        if isNamed name known then
            if left = 0 then
                found <- value

            left <- left - 1

    found

/// What is different, if anything: names in another case and lines of other names in another order are not. Of two lines of one
/// name the order counts.
let private tryDifference (plain: PlainHead) (seen: Seen) (closes: bool) : string voption =
    let server = seen.Head.Value
    let head = plain.Head
    let mutable difference = ValueNone

    let differ (what: string) (mine: string) (servers: string) =
        if difference.IsNone && not (mine.Equals(servers, StringComparison.Ordinal)) then
            difference <- ValueSome $"{what}: \"{mine}\", of the server \"{servers}\""

    let differIn (what: string) (mine: int64) (servers: int64) =
        if mine <> servers then
            differ what (string mine) (string servers)

    let number isSo = if isSo then 1L else 0L

    differ "method" head.Method server.Method
    differ "target" head.Target server.Target
    differ "host" head.Host server.Host
    differIn "is HTTP/1.0" (number head.IsHttp10) (number server.IsHttp10)
    differIn "number of lines" head.Lines.Length server.Lines.Length

    differIn
        "content length"
        (plain.ContentLength |> ValueOption.defaultValue -1L)
        (if seen.ContentLength.HasValue then
             seen.ContentLength.Value
         else
             -1L)

    differIn
        "has a body"
        (number (plain.ContentLength |> ValueOption.defaultValue 0L > 0L))
        (number seen.HasBody)

    differIn "closes" (number plain.ClosesAfter) (number closes)

    for index in 0 .. head.Lines.Length - 1 do
        let struct (name, value) = head.Lines[index]
        let mutable before = 0

        for other in 0 .. index - 1 do
            let struct (known, _) = head.Lines[other]

            if isNamed name known then
                before <- before + 1

        match tryValue server.Lines name before with
        | null -> differ "name" name "(none)"
        | servers -> differ name value servers

    difference

let private nameOf (oddity: Oddity) : string =
    match oddity with
    | Oddity.Start -> "start"
    | Oddity.TooLarge -> "too large"
    | Oddity.Target -> "target"
    | Oddity.Version -> "version"
    | Oddity.Line -> "line"
    | Oddity.Host -> "host"
    | Oddity.ContentLength -> "content length"
    | Oddity.Connection -> "connection"
    | Oddity.Reserved -> "reserved name"

let private show (bytes: ReadOnlySpan<byte>) : string =
    let text = StringBuilder()

    for byte in bytes do
        match char byte with
        | '\r' -> text.Append "\\r" |> ignore
        | '\n' -> text.Append "\\n" |> ignore
        | c when c >= ' ' && c <= '~' && c <> '\\' -> text.Append c |> ignore
        | c -> text.Append($"\\{int c:D3}") |> ignore

    text.ToString()

let private warmUp = "GET / HTTP/1.1\r\nHost: warm.example\r\n\r\n"B
// What would be read as a request where a body is taken for none.
let private bodyOf (length: int) =
    let filling = "GET /body HTTP/1.1\r\nHost: body.example\r\nX: "B
    Array.init length (fun index -> filling[index % filling.Length])

/// Checks heads on one connection after the other.
[<Sealed>]
type private Checker(server: HeadServer, reader: HeadReader, tally: Tally) =
    let mutable before: RequestHead | null = null
    let mutable connection: HeadConnection | null = null
    let mutable used = 0

    let drop () =
        match connection with
        | null -> ()
        | open' -> (open' :> IDisposable).Dispose()

        connection <- null

    // On which the server waits for the next request, so that it goes on in the call that writes it.
    let current () : HeadConnection =
        match connection with
        | NonNull connection -> connection
        | _ ->
            let fresh = server.Connect()
            fresh.Write(ReadOnlySpan warmUp)

            if fresh.Take().IsNone then
                failwith "the server does not respond at all"

            connection <- fresh
            used <- 0
            fresh

    let write (random: Random) (connection: HeadConnection) (bytes: ReadOnlySpan<byte>) =
        connection.Seen.Head <- ValueNone

        if random.Next 8 > 0 then
            connection.Write bytes
        else
            let first = random.Next(bytes.Length + 1)
            let second = first + random.Next(bytes.Length - first + 1)
            connection.Write(bytes.Slice(0, first))
            connection.Write(bytes.Slice(first, second - first))
            connection.Write(bytes.Slice second)

    let checkAlone (random: Random) (head: byte[]) (plain: PlainHead) =
        match Admission.check plain.Head with
        | ValueSome refusal -> failwith $"it is plain, and refused: {refusal}"
        | ValueNone -> ()

        if
            (Admission.checkRouted "k8sreq" plain.Head).IsSome
            && isNull (RequestHead.valueOf "Via" plain.Head)
        then
            failwith "it is plain, and has a value that is none"

        let cut = random.Next plain.Length

        match reader.Invoke(null, ReadOnlySpan(head, 0, cut)) with
        | PlainReading.Incomplete -> ()
        | _ -> failwith $"it is plain, and its first {cut} bytes are not incomplete"

        let longer =
            Array.append (head.AsSpan(0, plain.Length).ToArray()) (bodyOf (random.Next 100))

        match reader.Invoke(null, ReadOnlySpan longer) with
        | PlainReading.Plain again when
            again.Length = plain.Length && again.Head.Lines.Length = plain.Head.Lines.Length
            ->
            ()
        | _ -> failwith "it is plain, and not with other bytes after it"

    let checkPlain (random: Random) (head: byte[]) (plain: PlainHead) =
        checkAlone random head plain
        let length = plain.ContentLength |> ValueOption.defaultValue 0L
        let isSent = length <= LongestBody
        let body = if isSent then bodyOf (int length) else [||]
        let connection = current ()
        write random connection (ReadOnlySpan(Array.append (head.AsSpan(0, plain.Length).ToArray()) body))

        match connection.Take() with
        | ValueNone -> failwith "it is plain, and the server waits for more"
        | ValueSome response when connection.Seen.Head.IsNone || response.Status <> 204 ->
            failwith $"it is plain, and the server responds {response.Status}"
        | ValueSome response ->
            // A body that is not read closes the connection, whatever was asked for.
            let closes = if isSent then response.Closes else plain.ClosesAfter

            match tryDifference plain connection.Seen closes with
            | ValueSome difference -> failwith $"it is read differently: {difference}"
            | ValueNone -> ()

            used <- used + 1

            if response.Closes || not isSent || used >= longestUse then
                drop ()

    // What the server does with what is not taken here; whether it takes it.
    let show (random: Random) (head: byte[]) (why: string) : bool =
        let connection = current ()
        write random connection (ReadOnlySpan head)
        let response = connection.TryTake()
        let isTaken = connection.Seen.Head.IsSome

        let what =
            match response with
            | _ when isTaken -> "the server takes it"
            | ValueSome _ -> "the server refuses it"
            | ValueNone -> "the server waits for more"

        tally.Add($"{why}: {what}", 1L)
        drop ()
        isTaken

    member _.Check (random: Random) (head: byte[]) : unit =
        match reader.Invoke(before, ReadOnlySpan head) with
        | PlainReading.Plain plain ->
            tally.Add("plain", 1L)
            before <- plain.Head
            checkPlain random head plain
        | PlainReading.Incomplete ->
            tally.Add("incomplete", 1L)

            if random.Next oddShare = 0 && show random head "shown to the server: incomplete" then
                failwith "it is incomplete, and the server takes it"
        | PlainReading.NotPlain oddity ->
            tally.Add("not plain: " + nameOf oddity, 1L)

            if random.Next oddShare = 0 then
                show random head ("shown to the server: " + nameOf oddity) |> ignore

    interface IDisposable with
        member _.Dispose() = drop ()

// Each block has a seed of its own, and can be run again alone.
let private perBlock = 10_000
let private blocksBetween = 100

/// SplitMix64: the library's own with a seed takes several times as long, and heads are made of little else.
[<Sealed>]
type private QuickRandom(seed: int) =
    inherit Random(0)
    let mutable state = 0UL

    let mix (value: uint64) =
        let mixed = (value ^^^ (value >>> 30)) * 0xBF58476D1CE4E5B9UL
        let mixed = (mixed ^^^ (mixed >>> 27)) * 0x94D049BB133111EBUL
        mixed ^^^ (mixed >>> 31)

    // Mixed, for those of two seeds would be each other's next numbers otherwise.
    do state <- mix (uint64 seed + 1UL)

    let next () : uint64 =
        state <- state + 0x9E3779B97F4A7C15UL
        mix state

    override _.Next(limit: int) =
        int (((next () >>> 32) * uint64 limit) >>> 32)

    override _.NextInt64(limit: int64) = int64 (next () % uint64 limit)

let private checkBlock (server: HeadServer) (reader: HeadReader) (count: int) (seed: int) : Tally =
    let tally = Tally()
    use checker = new Checker(server, reader, tally)
    let random = QuickRandom seed

    for number in 1..count do
        let head = Heads.make random

        try
            checker.Check random head
        with error ->
            failwith
                $"head {number} of seed {seed}: {error.Message}\n{show (ReadOnlySpan head)}\n{Convert.ToHexString head}"

    tally

/// The reader that is checked.
let plain = HeadReader(fun before received -> PlainHead.readAfter before received)

/// Makes and checks this many heads; fails at the first that is plain and read differently. `threads` at most work on it.
/// `progress` is told how many there have been, now and then.
let run (reader: HeadReader) (threads: int) (count: int) (seed: int) (progress: int -> unit) : Tally =
    use server = HeadServer.Start()
    let blocks = max 1 ((count + perBlock - 1) / perBlock)
    let total = Tally()
    let finished = ref 0

    try
        Parallel.For(
            0,
            blocks,
            ParallelOptions(MaxDegreeOfParallelism = threads),
            fun block ->
                let tally =
                    checkBlock server reader (min perBlock (count - block * perBlock)) (seed + block)


                lock total (fun () ->
                    total.AddAll tally
                    finished.Value <- finished.Value + 1

                    if finished.Value % blocksBetween = 0 then
                        progress (finished.Value * perBlock))
        )
        |> ignore
    with :? AggregateException as errors ->
        raise (InvalidOperationException(errors.GetBaseException().Message, errors))

    total
