namespace K8sReq.Journal

open K8sReq.Core

/// What a column is compared with.
[<RequireQualifiedAccess>]
type LetterValue =
    | Number of int64
    | Text of string

/// A condition on a dead letter (`d`) or its RequestClone (`k`): a column, and how it compares.
type LetterCondition = {
    Comparison: string
    Value: LetterValue
}

module LetterConditions =
    let private condition comparison value = {
        Comparison = comparison
        Value = value
    }

    let private number comparison value =
        condition comparison (LetterValue.Number value)

    let private text comparison value =
        condition comparison (LetterValue.Text value)

    /// All that a filter asks for, its limit aside.
    let ofFilter (filter: DeadLetterFilter) : LetterCondition list = [
        match filter.Id with
        | Some id ->
            number "d.request =" id.Request
            number "d.copy =" (int64 id.Copy)
        | None -> ()

        match filter.Clone with
        | Some clone ->
            text "k.namespace =" clone.Namespace
            text "k.name =" clone.Name
        | None -> ()

        match filter.Cause with
        | Some cause -> text "d.cause =" (DeadCause.name cause)
        | None -> ()

        match filter.Since with
        | Some since -> number "d.ended_at >=" (since.ToUnixTimeMilliseconds())
        | None -> ()

        match filter.Until with
        | Some until -> number "d.ended_at <=" (until.ToUnixTimeMilliseconds())
        | None -> ()
    ]

    /// As SQL, whose parameters are named so by their position, from 1 on.
    let sql (parameter: int -> string) (conditions: LetterCondition list) : string =
        match conditions with
        | [] -> "TRUE"
        | conditions ->
            conditions
            |> List.mapi (fun index condition -> $"{condition.Comparison} {parameter (index + 1)}")
            |> String.concat " AND "
