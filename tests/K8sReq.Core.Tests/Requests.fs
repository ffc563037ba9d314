/// Requests as they are captured.
module K8sReq.Core.Tests.Requests

open System
open System.Buffers
open System.Text
open K8sReq.Core

/// A POST to `A.example:80`, in one piece.
let create (target: string) (lines: HeaderLine[]) (body: byte[]) : CapturedRequest =
    let head: WireHead = {
        Method = "POST"
        Target = target
        Host = "A.example:80"
        Lines = lines
        ContentLength = ValueSome(int64 body.Length)
    }

    let bytes = Array.zeroCreate<byte>(WireHead.length head)
    WireHead.write (bytes.AsSpan()) head

    {
        Host = head.Host
        Method = head.Method
        FieldsEnd = int64 bytes.Length - 2L
        Wire = ReadOnlySequence(Array.append bytes body)
    }

/// All its bytes, a character for each.
let textOf (request: CapturedRequest) : string =
    Encoding.Latin1.GetString(request.Wire.ToArray())
