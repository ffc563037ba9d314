module K8sReq.Host.Tests.BodyBufferTests

open System
open System.Buffers
open Expecto
open K8sReq.Host.Http

let private bytesOf (length: int) =
    Array.init length (fun i -> byte (i * 7 + i / 251))

let private create (budget: BufferBudget) announced =
    match BodyBuffer.TryCreate(budget, 10L, announced) with
    | Some buffer -> buffer
    | None -> failwith "refused"

let private plenty () = BufferBudget System.Int64.MaxValue

let private append (buffer: BodyBuffer) (bytes: byte[]) =
    Expect.isTrue (buffer.TryAppend(ReadOnlySpan bytes)) "there is room"

let tests =
    testList "BodyBuffer" [
        testProperty
            "what was appended comes out, in order, whatever was announced"
            (fun (pieces: uint16 list) (announced: uint16) ->
                let budget = plenty ()
                let buffer = create budget (int64 announced)
                let whole = bytesOf (pieces |> List.sumBy int)
                let mutable position = 0

                for piece in pieces do
                    append buffer (Array.sub whole position (int piece))
                    position <- position + int piece

                let same = buffer.Bytes.ToArray() = whole && buffer.Length = int64 whole.Length
                let weighs = buffer.Weight = 10L + buffer.Length && budget.Used >= buffer.Weight
                buffer.Release()
                same && weighs && budget.Used = 0L)

        test "an announced length alone takes no memory" {
            let before = GC.GetAllocatedBytesForCurrentThread()
            let buffer = create (plenty ()) Int64.MaxValue
            append buffer "abc"B
            let grown = GC.GetAllocatedBytesForCurrentThread() - before
            Expect.isLessThan grown 200_000L "one block, not what was announced"
            Expect.equal (buffer.Bytes.ToArray()) "abc"B "the bytes"
            buffer.Release()
        }

        test "an empty body has no bytes" {
            let buffer = create (plenty ()) 0L
            Expect.equal buffer.Bytes.Length 0L "none"
            buffer.Release()
        }

        test "what the budget has not is not taken, and all that was taken is given back" {
            let budget = BufferBudget 100_000L
            let first = create budget 0L
            let big = Array.zeroCreate<byte> 90_000
            append first big
            let second = create budget 0L
            Expect.isFalse (second.TryAppend(ReadOnlySpan big)) "no room for it beside the first"
            Expect.isLessThanOrEqual budget.Used 100_000L "never more than there is"
            second.Release()
            first.Release()
            Expect.equal budget.Used 0L "all"
            append (create budget 0L) big
        }

        test "a head alone can be too much" {
            let budget = BufferBudget 15L
            let first = create budget 0L
            Expect.isNone (BodyBuffer.TryCreate(budget, 10L, 0L)) "refused"
            first.Release()
            (create budget 0L).Release()
        }

        test "a second release is refused" {
            let buffer = create (plenty ()) 3L
            append buffer "abc"B
            buffer.Release()
            Expect.throwsT<InvalidOperationException> buffer.Release "one block must not go to two requests"
        }
    ]
