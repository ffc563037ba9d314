/// Requests as a client gets them.
module K8sReq.TestKit.TestRequest

open System
open System.Buffers
open K8sReq.Core

let private lines: HeaderLine[] = [| struct ("X-Test", "1"); struct ("Via", "1.1 k8sreq") |]

let create (method: string) (target: string) (body: byte[] option) : CapturedRequest =
    let head: WireHead = {
        Method = method
        Target = target
        Host = "a.example"
        Lines = lines
        ContentLength = body |> Option.map (Array.length >> int64) |> Option.toValueOption
    }

    let bytes = Array.zeroCreate<byte>(WireHead.length head)
    WireHead.write (bytes.AsSpan()) head

    {
        Host = head.Host
        Method = method
        FieldsEnd = int64 bytes.Length - 2L
        Wire = ReadOnlySequence(Array.append bytes (Option.defaultValue [||] body))
    }

let get = create "GET" "/" None
let post (body: byte[]) = create "POST" "/" (Some body)
