namespace K8sReq.Core

open System
open System.Globalization

/// The identity of a copy within the store that keeps it: the number of its request, and which of the request's copies it is
/// (from 0).
[<Struct>]
type CopyId = {
    Request: int64
    Copy: int
} with

    override id.ToString() = $"{id.Request}-{id.Copy}"

module CopyId =
    /// Reads what `ToString` writes.
    let tryParse (text: string) : CopyId option =
        match text.Split '-' with
        | [| request; copy |] ->
            match
                Int64.TryParse(request, NumberStyles.None, CultureInfo.InvariantCulture),
                Int32.TryParse(copy, NumberStyles.None, CultureInfo.InvariantCulture)
            with
            | (true, request), (true, copy) -> Some { Request = request; Copy = copy }
            | _ -> None
        | _ -> None
