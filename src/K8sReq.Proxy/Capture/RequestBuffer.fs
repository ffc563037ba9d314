namespace K8sReq.Proxy

open System
open System.Buffers
open System.Numerics
open System.Threading
open K8sReq.Core

/// Where the bytes of a body go while it is read.
type IBodySink =
    /// How many have come so far.
    abstract BodyLength: int64
    /// False if these bytes cannot be taken: the rest is not worth reading then.
    abstract TryAppend: ReadOnlySequence<byte> -> bool

/// A request as it is sent: its head and its body in blocks from the shared pool, all taken from the budget. Filled by one
/// writer, then read by any number of copies, then released once by its owner; nothing may read it after that.
/// `expectedBody` is the length that the client has announced, or 0.
[<Sealed>]
type RequestBuffer(budget: Allowance, expectedBody: int64) =
    // Rented blocks grow with what has arrived, never with what a client merely announced.
    static let largestBlock = 64 * 1024
    static let smallestBlock = 4 * 1024
    // The more is received at once, the fewer calls of the system there are, and acknowledgements. Other connections wait meanwhile.
    static let largestSpace = 512L * 1024L
    // What a request takes besides its bytes, while copies of it wait.
    static let overhead = 512L

    let blocks = ResizeArray<byte[]>(1)
    // Of a body whose length is known at its end only, the head comes last, into a block of its own.
    let mutable headBlock: byte[] | null = null
    let mutable headLength = 0
    // The block that is being filled: those behind it are to be received into.
    let mutable filling = -1
    let mutable used = 0
    let mutable length = 0L
    let mutable taken = 0L
    let mutable isReleased = 0

    let tryRent (size: int) : byte[] | null =
        let block = ArrayPool.Shared.Rent size
        let bytes = int64 block.Length + (if taken = 0L then overhead else 0L)

        if budget.TryTake bytes then
            taken <- taken + bytes
            block
        else
            ArrayPool.Shared.Return block
            null

    let giveBack (block: byte[]) =
        ArrayPool.Shared.Return block
        taken <- taken - int64 block.Length
        budget.Return(int64 block.Length)

    let tryRentNext (size: int) : bool =
        match tryRent size with
        | null -> false
        | block ->
            blocks.Add block
            true

    let tryAddBlock (size: int) : bool =
        let hasRoom = tryRentNext size

        if hasRoom then
            filling <- blocks.Count - 1
            used <- 0

        hasRoom

    // What is still to come of the body at the most, in one block; 0 where that is not known. What a client announces may be as
    // large as a number can be.
    let expected () =
        int (max 0L (min (int64 largestBlock) (expectedBody - length)))

    // The one block there is, in a larger one: a small request, in one piece, is sent by one call. It doubles, but for what is
    // not expected.
    let tryGrow (arrived: int) =
        let old = blocks[0]
        let least = used + arrived

        let most =
            if expectedBody > length then
                max least (used + expected ())
            else
                largestBlock

        match tryRent (min largestBlock (max least (min most (2 * used)))) with
        | null -> false
        | larger ->
            old.AsSpan(0, used).CopyTo(larger.AsSpan())
            blocks[0] <- larger
            giveBack old
            true

    // For what has arrived, and for as much again as there is already, if so much is expected.
    let addBlock (arrived: int) =
        let doubled = int (min (int64 largestBlock) length)
        tryAddBlock (min largestBlock (max smallestBlock (max arrived (min doubled (expected ())))))

    // For what is received where it stays, behind so many bytes. Arrays have lengths of powers of two: where that is much more
    // than what is wanted, the rest goes into another block.
    let tryRentSpace (wanted: int64) (before: int64) =
        let wanted = max (int64 smallestBlock) wanted
        let rented = int64 (BitOperations.RoundUpToPowerOf2(uint64 wanted))
        let isMuchMore = rented - wanted > (before + wanted) / 4L
        tryRentNext (int (if isMuchMore then rented / 2L else wanted))

    // The block that is being filled is full.
    let tryNext (arrived: int) =
        if filling + 1 < blocks.Count then
            filling <- filling + 1
            used <- 0
            true
        elif blocks.Count = 1 && blocks[0].Length < largestBlock then
            tryGrow arrived
        else
            addBlock arrived

    // Where the head stands before the body: together with what has come of it, as what is in one piece is sent by one call.
    let putFirst (head: WireHead) (arrived: int) =
        let size = WireHead.length head

        if tryAddBlock (max size (min largestBlock (size + arrived))) then
            WireHead.write (blocks[0].AsSpan()) head
            headLength <- size
            used <- size
            true
        else
            false

    // The head that is to be put before the first bytes of the body.
    let mutable awaitedHead: WireHead | null = null

    let putAwaited (arrived: int) =
        match awaitedHead with
        | null -> true
        | head ->
            awaitedHead <- null
            putFirst head arrived

    /// Of the body so far, in bytes.
    member _.BodyLength = length

    /// What a copy of the request weighs: its head, its body, and something for being there.
    member _.Weight = overhead + int64 headLength + length

    /// The head of a request whose length is known before its body: it takes no memory until something of the body has
    /// come, or `TryEnd` is called. To be called before the first byte of the body.
    member _.Begin(head: WireHead) : unit = awaitedHead <- head

    /// Puts the head before the body, of which there may be something already, or nothing. False if the budget does not
    /// reach for it.
    member _.TryPutHead(head: WireHead) : bool =
        if length = 0L then
            putFirst head 0
        else
            let size = WireHead.length head

            match tryRent size with
            | null -> false
            | block ->
                WireHead.write (block.AsSpan()) head
                headLength <- size
                headBlock <- block
                true

    /// Nothing more comes: the head that was begun with is there now. False if the budget does not reach for it.
    member _.TryEnd() : bool = putAwaited 0

    // `following`: how many bytes have come behind these.
    member private _.TryAppend(bytes: ReadOnlySpan<byte>, following: int64) : bool =
        let mutable rest = bytes
        let mutable hasRoom = true

        let arrived (rest: int) =
            int (min (int64 largestBlock) (int64 rest + following))

        if bytes.Length > 0 then
            hasRoom <- putAwaited (arrived bytes.Length)

        while hasRoom && rest.Length > 0 do
            if filling < 0 || used = blocks[filling].Length then
                hasRoom <- tryNext (arrived rest.Length)

            if hasRoom then
                let block = blocks[filling]
                let count = min rest.Length (block.Length - used)
                rest.Slice(0, count).CopyTo(block.AsSpan used)
                rest <- rest.Slice count
                used <- used + count
                length <- length + int64 count

        hasRoom

    /// Copies these bytes to the end; false if the budget does not reach for all of them.
    member buffer.TryAppend(bytes: ReadOnlySpan<byte>) : bool = buffer.TryAppend(bytes, 0L)

    /// Where the next bytes of the body can be received into, at most so many, one piece after the other; how many pieces that
    /// are. None if the budget does not reach. It is no more than four times what has come, and half a megabyte at most. To be
    /// called once something of the body is there.
    member _.TrySpaces(most: int, spaces: Span<ArraySegment<byte>>) : int =
        let mutable wanted =
            min (int64 most) (min largestSpace (max (int64 smallestBlock) (4L * length)))

        let mutable before = length
        let mutable block = filling
        let mutable first = used
        let mutable count = 0
        let mutable hasRoom = true

        while hasRoom && wanted > 0L && count < spaces.Length do
            if block = blocks.Count then
                hasRoom <- tryRentSpace wanted before

            if hasRoom then
                let size = int (min wanted (int64 (blocks[block].Length - first)))

                if size > 0 then
                    spaces[count] <- ArraySegment(blocks[block], first, size)
                    count <- count + 1
                    wanted <- wanted - int64 size
                    before <- before + int64 size

                block <- block + 1
                first <- 0

        count

    /// So many bytes were received into the spaces.
    member _.Received(count: int) : unit =
        let mutable rest = count

        while rest > 0 do
            if used = blocks[filling].Length then
                filling <- filling + 1
                used <- 0

            let here = min rest (blocks[filling].Length - used)
            used <- used + here
            rest <- rest - here

        length <- length + int64 count

    interface IBodySink with
        member _.BodyLength = length

        member buffer.TryAppend bytes =
            let mutable hasRoom = true

            let mutable following = bytes.Length

            for part in bytes do
                following <- following - int64 part.Length
                hasRoom <- hasRoom && buffer.TryAppend(part.Span, following)

            hasRoom

    /// All bytes, head and body, in order. Valid until the release.
    member _.Bytes: ReadOnlySequence<byte> =
        let memory index =
            let block = blocks[index]
            ReadOnlyMemory(block, 0, (if index = filling then used else block.Length))

        match headBlock with
        | null when filling < 0 -> ReadOnlySequence.Empty
        | null when filling = 0 -> ReadOnlySequence(blocks[0], 0, used)
        | head ->
            let first, rest =
                match head with
                | null -> ByteSegment(memory 0), 1
                | head -> ByteSegment(ReadOnlyMemory(head, 0, headLength)), 0

            let mutable last = first

            for index in rest..filling do
                let next = ByteSegment(memory index)
                last.Follow next
                last <- next

            ReadOnlySequence(first, 0, last, last.Memory.Length)

    /// Gives the memory back. A second release is a defect that would hand one block to two requests: it throws.
    member _.Release() =
        if Interlocked.Exchange(&isReleased, 1) = 1 then
            invalidOp "This request was released before."

        for block in blocks do
            ArrayPool.Shared.Return block

        match headBlock with
        | null -> ()
        | block -> ArrayPool.Shared.Return block

        blocks.Clear()
        budget.Return taken
