namespace K8sReq.Journal.Sqlite

open System
open System.Buffers.Binary
open System.IO
open System.Numerics
open System.Runtime.InteropServices
open K8sReq.Journal

/// Looks at a database's write-ahead log before SQLite does. SQLite takes what is in order up to the first part that is not, and
/// leaves out the rest without a word, for a program that ends in the midst of a write leaves such an end. What is behind such a
/// part had been committed: somebody was told so (https://sqlite.org/fileformat2.html#walformat).
module WalInspection =
    let private headerLength = 32
    let private frameHeaderLength = 24

    let private numberAt (bytes: byte[]) (offset: int) =
        BinaryPrimitives.ReadUInt32BigEndian(ReadOnlySpan(bytes, offset, 4))

    // The sums so far, and those after these bytes.
    let private addUp
        (isBigEndian: bool)
        (struct (first: uint32, second: uint32))
        (bytes: ReadOnlySpan<byte>)
        =
        let words = MemoryMarshal.Cast<byte, uint32> bytes
        let mutable first = first
        let mutable second = second
        let mutable index = 0
        let isReversed = isBigEndian = BitConverter.IsLittleEndian

        let inOrder (word: uint32) =
            if isReversed then
                BinaryPrimitives.ReverseEndianness word
            else
                word

        while index < words.Length do
            first <- first + inOrder words[index] + second
            second <- second + inOrder words[index + 1] + first
            index <- index + 2

        struct (first, second)

    // Whether the stream had so many bytes more.
    let private isRead (stream: Stream) (buffer: byte[]) =
        stream.ReadAtLeast(buffer, buffer.Length, false) = buffer.Length

    let private frames (stream: Stream) (header: byte[]) (isBigEndian: bool) sums : LogDamage option =
        let frame = Array.zeroCreate<byte>(frameHeaderLength + int (numberAt header 8))
        let mutable sums = sums
        let mutable isIntact = true
        let mutable lost = 0
        // May have been the last of a commit, and count if a commit comes after them: the frame that is damaged itself, and those
        // whose own header is.
        let mutable doubtful = 0

        while isRead stream frame do
            let wasIntact = isIntact
            let isOfThisLog = frame.AsSpan(8, 8).SequenceEqual(ReadOnlySpan(header, 16, 8))

            if isIntact then
                sums <- addUp isBigEndian sums (ReadOnlySpan(frame, 0, 8))

                sums <-
                    addUp
                        isBigEndian
                        sums
                        (ReadOnlySpan(frame, frameHeaderLength, frame.Length - frameHeaderLength))

                isIntact <- isOfThisLog && struct (numberAt frame 16, numberAt frame 20) = sums

            if not isIntact then
                // The last frame of a commit says how large the database is. A write that ends midway leaves none behind what is
                // missing: where a transaction changes what it has written to the log before, SQLite leaves the salts out and adds
                // them from the front to the end.
                let isCommit = numberAt frame 4 <> 0u

                if isOfThisLog && isCommit && not wasIntact then
                    lost <- lost + doubtful + 1
                    doubtful <- 0
                elif isCommit || not isOfThisLog then
                    doubtful <- doubtful + 1

        if lost > 0 then Some(LogDamage.Commits lost) else None

    /// What is wrong with this log; None if nothing is, or if there is none.
    let inspect (path: string) : LogDamage option =
        if not (File.Exists path) then
            None
        else
            use stream =
                new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite, 1 <<< 16)

            let header = Array.zeroCreate<byte> headerLength

            if
                stream.Length <= int64 (headerLength + frameHeaderLength)
                || not (isRead stream header)
            then
                None
            else
                let magic, pageSize = numberAt header 0, numberAt header 8
                let isBigEndian = magic = 0x377f0683u
                let sums = addUp isBigEndian (struct (0u, 0u)) (ReadOnlySpan(header, 0, 24))

                let isIntact =
                    (magic = 0x377f0682u || isBigEndian)
                    && pageSize >= 512u
                    && pageSize <= 65536u
                    && BitOperations.IsPow2 pageSize
                    && struct (numberAt header 24, numberAt header 28) = sums

                if isIntact then
                    frames stream header isBigEndian sums
                else
                    Some LogDamage.Header

    /// Keeps a copy of a log beside it, the last one only. None if it cannot be written: that must not keep the journal closed.
    let keep (path: string) : string option =
        let copy = path + ".damaged"

        try
            use source =
                new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite)

            use target = File.Create copy
            source.CopyTo target
            target.Flush true
            Some copy
        with
        | :? IOException
        | :? UnauthorizedAccessException ->
            try
                // Half of it would take room and help nobody.
                File.Delete copy
            with
            | :? IOException
            | :? UnauthorizedAccessException -> ()

            None

    /// One line for the operator.
    let describe (path: string) (found: DamagedLog) : string =
        let what =
            match found.Damage with
            | LogDamage.Header -> "its beginning cannot be read, and nothing of it counts"
            | LogDamage.Commits lost -> $"a part of it cannot be read, and up to {lost} commits do not count"

        let copy =
            match found.Copy with
            | Some copy -> $"The log is kept as {copy}: remove it when nobody needs it"
            | None -> "A copy of the log could not be kept"

        $"{path} was damaged: {what}. Requests that were acknowledged shortly before the last end may be lost; all others are sent. {copy}"
