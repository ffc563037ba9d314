module K8sReq.Host.Tests.BodyBufferTests

open System
open System.Buffers
open Expecto
open K8sReq.Host.Http

let private bytesOf (length: int) =
    Array.init length (fun i -> byte (i * 7 + i / 251))

let tests =
    testList "BodyBuffer" [
        testProperty
            "what was appended comes out, in order, whatever was announced"
            (fun (pieces: uint16 list) (announced: uint16) ->
                let buffer = BodyBuffer(int64 announced)
                let whole = bytesOf (pieces |> List.sumBy int)
                let mutable position = 0

                for piece in pieces do
                    buffer.Append(ReadOnlySpan(whole, position, int piece))
                    position <- position + int piece

                let same = buffer.Bytes.ToArray() = whole && buffer.Length = int64 whole.Length
                buffer.Release()
                same)

        test "an announced length alone takes no memory" {
            let before = GC.GetAllocatedBytesForCurrentThread()
            let buffer = BodyBuffer Int64.MaxValue
            buffer.Append(ReadOnlySpan "abc"B)
            let grown = GC.GetAllocatedBytesForCurrentThread() - before
            Expect.isLessThan grown 200_000L "one block, not what was announced"
            Expect.equal (buffer.Bytes.ToArray()) "abc"B "the bytes"
            buffer.Release()
        }

        test "an empty body has no bytes" {
            let buffer = BodyBuffer 0L
            Expect.equal buffer.Bytes.Length 0L "none"
            buffer.Release()
        }

        test "a second release is refused" {
            let buffer = BodyBuffer 3L
            buffer.Append(ReadOnlySpan "abc"B)
            buffer.Release()
            Expect.throwsT<InvalidOperationException> buffer.Release "one block must not go to two requests"
        }
    ]
