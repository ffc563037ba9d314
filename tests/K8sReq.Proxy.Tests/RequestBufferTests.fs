module K8sReq.Proxy.Tests.RequestBufferTests

open System
open System.Buffers
open System.Text
open Expecto
open K8sReq.Core
open K8sReq.Proxy
open K8sReq.TestKit

let private bytesOf (length: int) =
    Array.init length (fun i -> byte (i * 7 + i / 251))

let private head = {
    Method = "POST"
    Target = "/x"
    Host = "a.example"
    Lines = [| struct ("X-A", "1") |]
    ContentLength = ValueSome 5L
}

let private headBytes =
    Encoding.Latin1.GetBytes "POST /x HTTP/1.1\r\nHost: a.example\r\nX-A: 1\r\nContent-Length: 5\r\n\r\n"

let private plenty () = BufferBudget System.Int64.MaxValue
let private all (budget: BufferBudget) = Allowance(budget, null, null)

let private append (buffer: RequestBuffer) (bytes: byte[]) =
    Expect.isTrue (buffer.TryAppend(ReadOnlySpan bytes)) "there is room"

let private put (buffer: RequestBuffer) =
    Expect.isTrue (buffer.TryPutHead head) "there is room"

// So many of the bytes that come next, or as many as there is space for.
let private receive (buffer: RequestBuffer) (whole: byte[]) (count: int) =
    let spaces = Array.zeroCreate<ArraySegment<byte>> Libc.mostPieces

    let given = buffer.TrySpaces(whole.Length - int buffer.BodyLength, Span spaces)

    let mutable received = 0

    for space in Array.take given spaces do
        let here = min space.Count (count - received)

        Array.Copy(whole, int buffer.BodyLength + received, nonNull space.Array, space.Offset, here)
        received <- received + here

    buffer.Received received

let tests =
    testList "RequestBuffer" [
        testProperty
            "head and body come out in order, whichever was put in first and whatever was announced"
            (fun (pieces: uint16 list) (announced: uint16) isHeadFirst isBegun ->
                let budget = plenty ()
                let buffer = RequestBuffer(all budget, int64 announced)
                let whole = bytesOf (pieces |> List.sumBy int)
                let mutable position = 0

                if isHeadFirst then
                    if isBegun then buffer.Begin head else put buffer

                for piece in pieces do
                    append buffer (Array.sub whole position (int piece))
                    position <- position + int piece

                if not isHeadFirst then
                    put buffer

                let hasEnded = buffer.TryEnd()

                let same =
                    buffer.Bytes.ToArray() = Array.append headBytes whole
                    && buffer.BodyLength = int64 whole.Length

                let weighs = buffer.Weight >= buffer.Bytes.Length && budget.Used >= buffer.Weight
                buffer.Release()
                hasEnded && same && weighs && budget.Used = 0L)

        test "a request whose length was announced is in one piece" {
            for length in [ 0; 1; 1000; 60_000 ] do
                let buffer = RequestBuffer(all (plenty ()), int64 length)
                put buffer

                for piece in bytesOf length |> Array.chunkBySize 4096 do
                    append buffer piece

                Expect.isTrue buffer.Bytes.IsSingleSegment $"{length}"
                buffer.Release()
        }

        // As a connection does: the first piece comes with the head, and the others are received where they stay.
        test
            "what is received where it stays comes out in order, by few calls, and takes not much more than it is" {
            for length in [ 20_000; 65_536; 100_000; 1_000_000; 5_000_000 ] do
                let budget = plenty ()
                let buffer = RequestBuffer(all budget, int64 length)
                let whole = bytesOf length
                let first = 16_000
                let mutable calls = 1
                let mutable most = 0.0
                buffer.Begin head
                append buffer (Array.sub whole 0 first)

                while int buffer.BodyLength < length do
                    let there = int buffer.BodyLength
                    receive buffer whole length
                    most <- max most (float budget.Used / float there)
                    calls <- calls + 1

                Expect.isTrue (buffer.TryEnd()) "there is room"
                Expect.isTrue (buffer.Bytes.ToArray() = Array.append headBytes whole) $"{length}: in order"

                Expect.isLessThanOrEqual
                    calls
                    (if length <= 65_536 then 2 else 3 + length / 400_000)
                    $"{length}: by few calls"

                Expect.isLessThan most 6.0 $"{length}: no more than a multiple of what has come"
                Expect.isLessThan (float budget.Used / float length) 2.2 $"{length}: at its end"
                buffer.Release()
                Expect.equal budget.Used 0L "all is given back"
        }

        testProperty
            "what is received in parts, and what is put behind it, come out in order"
            (fun (counts: uint16 list) (announced: uint16) ->
                let budget = plenty ()
                let whole = bytesOf (1 + List.sumBy int counts + int announced)
                let buffer = RequestBuffer(all budget, int64 whole.Length)
                buffer.Begin head
                append buffer (Array.sub whole 0 1)

                for count in counts do
                    if count % 3us = 0us then
                        append buffer (Array.sub whole (int buffer.BodyLength) (int count))
                    else
                        receive buffer whole (int count)

                while int buffer.BodyLength < whole.Length do
                    receive buffer whole whole.Length

                let same = buffer.Bytes.ToArray() = Array.append headBytes whole
                buffer.Release()
                same && budget.Used = 0L)

        test "spaces end where the budget does" {
            let budget = BufferBudget 40_000L
            let buffer = RequestBuffer(all budget, 1_000_000L)
            buffer.Begin head
            append buffer (bytesOf 10_000)
            let spaces = Array.zeroCreate<ArraySegment<byte>> Libc.mostPieces
            let count = buffer.TrySpaces(990_000, Span spaces)
            Expect.isLessThanOrEqual budget.Used 40_000L "no more than there is"
            let room = spaces |> Array.take count |> Array.sumBy _.Count
            buffer.Received room
            Expect.equal (buffer.TrySpaces(990_000 - room, Span spaces)) 0 "and then there is none"
            buffer.Release()
            Expect.equal budget.Used 0L "all is given back"
        }

        test "an announced length alone takes no memory" {
            let budget = plenty ()
            let buffer = RequestBuffer(all budget, Int64.MaxValue)
            put buffer
            append buffer "abc"B
            Expect.isLessThan budget.Used 10_000L "a small block, not what was announced"
            buffer.Release()
            let begun = RequestBuffer(all budget, 65_000L)
            begun.Begin head
            Expect.equal budget.Used 0L "nothing, before any of it has come"
            append begun (Array.zeroCreate<byte> 1_000)
            Expect.isLessThan budget.Used 3_000L "and no more than twice what has come"
            begun.Release()
            Expect.equal budget.Used 0L "all is given back"
        }

        test "a host holds half at most, a client three quarters, and less where others hold something" {
            let budget = BufferBudget 1_600L

            let most (host: BudgetShare | null) (client: BudgetShare | null) =
                let allowance = Allowance(budget, host, client)
                let mutable taken = 0L

                while allowance.TryTake 10L do
                    taken <- taken + 10L

                taken, (fun () -> allowance.Return taken)

            let alone, giveBack = most (BudgetShare.ofHost ()) null
            Expect.equal alone 800L "a host alone"
            let second, giveSecondBack = most (BudgetShare.ofHost ()) null
            Expect.equal second 400L "a second one, of what is left"
            let third, giveThirdBack = most (BudgetShare.ofHost ()) null
            Expect.equal third 200L "a third one"
            giveSecondBack ()
            giveThirdBack ()
            giveBack ()
            let client, giveBack = most null (BudgetShare.ofClient ())
            Expect.equal client 1_200L "a client alone"
            let host, giveHostBack = most (BudgetShare.ofHost ()) (BudgetShare.ofClient ())
            Expect.equal host 200L "a host of another client"
            giveHostBack ()
            giveBack ()
            Expect.equal budget.Used 0L "all is given back"
        }

        test "a client's share outlives its connections as long as it holds anything, and no longer" {
            let shares = ClientShares()
            let budget = BufferBudget 1_600L

            let endpoint (address: string) =
                System.Net.IPEndPoint(System.Net.IPAddress.Parse address, 1) :> System.Net.EndPoint

            let client = endpoint "10.0.0.1"
            let allowance = Allowance(budget, null, shares.Enter client)
            Expect.isTrue (allowance.TryTake 1_200L) "three quarters"
            shares.Leave client
            let again = Allowance(budget, null, shares.Enter client)
            Expect.isFalse (again.TryTake 10L) "the next connection has no share of its own"
            allowance.Return 1_200L
            shares.Leave client
            Expect.equal shares.Count 0 "nothing is held, nobody is there"
            let one, other = endpoint "2001:db8:0:1::1", endpoint "2001:db8:0:1:ffff::2"

            Expect.isTrue
                (obj.ReferenceEquals(shares.Enter one, shares.Enter other))
                "one network, one client"

            Expect.isFalse (obj.ReferenceEquals(shares.Enter one, shares.Enter client)) "another address"

            for n in 1..1000 do
                let passing = endpoint $"10.1.{n / 250}.{n % 250}"
                let share = Allowance(budget, null, shares.Enter passing)
                share.TryTake 1L |> ignore
                shares.Leave passing
                share.Return 1L

            Expect.isLessThan shares.Count 300 "those that are over are found"
        }

        test "nothing has no bytes" {
            let buffer = RequestBuffer(all (plenty ()), 0L)
            Expect.equal buffer.Bytes.Length 0L "none"
            buffer.Release()
        }

        test "what the budget has not is not taken, and all that was taken is given back" {
            let budget = BufferBudget 100_000L
            let first = RequestBuffer(all budget, 0L)
            let big = Array.zeroCreate<byte> 90_000
            append first big
            let second = RequestBuffer(all budget, 0L)
            Expect.isFalse (second.TryAppend(ReadOnlySpan big)) "no room for it beside the first"
            Expect.isLessThanOrEqual budget.Used 100_000L "never more than there is"
            second.Release()
            first.Release()
            Expect.equal budget.Used 0L "all"
            append (RequestBuffer(all budget, 0L)) big
        }

        test "a head alone can be too much, before a body and after it" {
            let before = RequestBuffer(all (BufferBudget 15L), 0L)
            Expect.isFalse (before.TryPutHead head) "refused"
            before.Release()
            let budget = BufferBudget 4620L
            let after = RequestBuffer(all budget, 0L)
            append after "abc"B
            Expect.isFalse (after.TryPutHead head) "refused"
            after.Release()
            Expect.equal budget.Used 0L "all is given back"
        }

        test "a second release is refused" {
            let buffer = RequestBuffer(all (plenty ()), 3L)
            append buffer "abc"B
            buffer.Release()
            Expect.throwsT<InvalidOperationException> buffer.Release "one block must not go to two requests"
        }
    ]
