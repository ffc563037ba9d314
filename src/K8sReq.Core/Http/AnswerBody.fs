namespace K8sReq.Core

open System

/// Where the reading of a body stands.
[<RequireQualifiedAccess; Struct>]
type BodyPhase =
    | Data
    | UntilClose
    | ChunkSize
    /// After the size, to the end of its line.
    | ChunkExtension
    | ChunkData
    | ChunkEnd
    | TrailerStart
    | Trailer
    | Complete
    /// What came is no chunked body.
    | Broken

/// The state of reading an answer's body, of which nothing is kept.
[<Struct>]
type AnswerBody = {
    Phase: BodyPhase
    /// Bytes of data that are still to come, in the body or the chunk; while a chunk's size is read, what it is so far.
    Remaining: int64
    /// How many digits of a chunk's size have come.
    Digits: int
}

module AnswerBody =
    let private at phase = {
        Phase = phase
        Remaining = 0L
        Digits = 0
    }

    /// Before the first byte.
    let start (framing: AnswerFraming) : AnswerBody =
        match framing with
        | AnswerFraming.NoBody
        | AnswerFraming.Sized 0L -> at BodyPhase.Complete
        | AnswerFraming.Sized length -> {
            at BodyPhase.Data with
                Remaining = length
          }
        | AnswerFraming.Chunked -> at BodyPhase.ChunkSize
        | AnswerFraming.UntilClose -> at BodyPhase.UntilClose

    let private hexDigit (byte: byte) =
        if byte >= '0'B && byte <= '9'B then
            int (byte - '0'B)
        elif byte >= 'a'B && byte <= 'f'B then
            int (byte - 'a'B) + 10
        elif byte >= 'A'B && byte <= 'F'B then
            int (byte - 'A'B) + 10
        else
            -1

    // Of sixteen digits the last ones would not fit.
    let private mostDigits = 15

    let private afterSize (body: AnswerBody) =
        if body.Digits = 0 then
            at BodyPhase.Broken
        elif body.Remaining = 0L then
            at BodyPhase.TrailerStart
        else
            {
                body with
                    Phase = BodyPhase.ChunkData
            }

    // One byte of what is not data.
    let private step (body: AnswerBody) (byte: byte) : AnswerBody =
        match body.Phase with
        | BodyPhase.ChunkSize ->
            match hexDigit byte with
            | -1 when byte = '\n'B -> afterSize body
            | -1 when body.Digits > 0 && (byte = '\r'B || byte = ';'B || byte = ' 'B || byte = '\t'B) -> {
                body with
                    Phase = BodyPhase.ChunkExtension
              }
            | digit when digit >= 0 && body.Digits < mostDigits -> {
                body with
                    Remaining = body.Remaining * 16L + int64 digit
                    Digits = body.Digits + 1
              }
            | _ -> at BodyPhase.Broken
        | BodyPhase.ChunkExtension -> if byte = '\n'B then afterSize body else body
        | BodyPhase.ChunkEnd ->
            if byte = '\n'B then
                at BodyPhase.ChunkSize
            // Once: Digits counts it.
            elif byte = '\r'B && body.Digits = 0 then
                { body with Digits = 1 }
            else
                at BodyPhase.Broken
        | BodyPhase.TrailerStart ->
            if byte = '\n'B then at BodyPhase.Complete
            elif byte = '\r'B then body
            else at BodyPhase.Trailer
        | BodyPhase.Trailer -> if byte = '\n'B then at BodyPhase.TrailerStart else body
        | BodyPhase.Data
        | BodyPhase.ChunkData
        | BodyPhase.UntilClose
        | BodyPhase.Complete
        | BodyPhase.Broken -> body

    let private takeData (available: int) (next: BodyPhase) (body: AnswerBody) : struct (AnswerBody * int) =
        let taken = int (min body.Remaining (int64 available))

        if int64 taken = body.Remaining then
            struct (at next, taken)
        else
            struct ({
                        body with
                            Remaining = body.Remaining - int64 taken
                    },
                    taken)

    /// Goes on with what was received: the state after it, and how many of its bytes belong to the body. All of them,
    /// unless the body has ended or is broken. However the bytes are split, the result is the same.
    let feed (received: ReadOnlySpan<byte>) (body: AnswerBody) : struct (AnswerBody * int) =
        let mutable state = body
        let mutable position = 0
        let mutable isOver = false

        while not isOver && position < received.Length do
            match state.Phase with
            | BodyPhase.Complete
            | BodyPhase.Broken -> isOver <- true
            | BodyPhase.UntilClose -> position <- received.Length
            | BodyPhase.Data ->
                let struct (next, taken) =
                    takeData (received.Length - position) BodyPhase.Complete state

                state <- next
                position <- position + taken
            | BodyPhase.ChunkData ->
                let struct (next, taken) =
                    takeData (received.Length - position) BodyPhase.ChunkEnd state

                state <- next
                position <- position + taken
            | BodyPhase.ChunkSize
            | BodyPhase.ChunkExtension
            | BodyPhase.ChunkEnd
            | BodyPhase.TrailerStart
            | BodyPhase.Trailer ->
                state <- step state received[position]
                position <- position + 1

        struct (state, position)
