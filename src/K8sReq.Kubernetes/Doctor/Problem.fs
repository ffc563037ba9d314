/// What went wrong with a question to the API server, for people.
module K8sReq.Kubernetes.Doctor.Problem

open System
open K8sReq.Kubernetes

// More are told of by their number.
let private mostNamed = 10

/// A line.
let describe (error: exn) : string =
    match error with
    | :? OperationCanceledException -> "no response in time"
    | error -> ApiFailure.describe error

/// Whether it was answered with this status code.
let isStatus (code: int) (error: exn) : bool = ApiFailure.tryStatus error = Some code

/// "a, b and 3 more"
let some (names: string list) : string =
    match List.length names - mostNamed with
    | left when left > 0 ->
        let first = names |> List.truncate mostNamed |> String.concat ", "
        $"{first} and {left} more"
    | _ -> String.concat ", " names
