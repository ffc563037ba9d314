namespace K8sReq.Core

/// One thing that is wrong with one field of an object. `Field` is the path as users write it: `spec.backend.servicePort`.
[<RequireQualifiedAccess>]
type FieldFault =
    | Missing of field: string
    | WrongType of field: string * expected: string * given: string
    | BadValue of field: string * given: string * accepted: string
    /// A field that this kind of object does not have, and the path of the one that was most likely meant.
    | Unknown of field: string * nearest: string option

module FieldFault =
    /// One line for people, without the object's name.
    let describe (fault: FieldFault) =
        match fault with
        | FieldFault.Missing field -> $"{field} is missing"
        | FieldFault.WrongType(field, expected, given) -> $"{field} must be {expected}, not {given}"
        | FieldFault.BadValue(field, given, accepted) -> $"{field} is \"{given}\", but must be {accepted}"
        | FieldFault.Unknown(field, Some nearest) -> $"unknown field {field} (did you mean {nearest}?)"
        | FieldFault.Unknown(field, None) -> $"unknown field {field}"

    /// All faults of an object in one line.
    let describeAll (faults: FieldFault list) =
        faults |> List.map describe |> String.concat "; "
