namespace K8sReq.Core

open System
open System.Text.Json

/// The condition `Ready` as an object has it; whatever is missing or unreadable there is None, or empty.
type ReadyCondition = {
    /// None stands for `Unknown`.
    IsReady: bool option
    Reason: string
    Message: string
    ObservedGeneration: int64 option
    LastTransition: DateTimeOffset option
}

/// What the cluster says of an object besides its spec.
type ObservedObject = {
    Uid: string
    /// Grows with every change of the spec.
    Generation: int64
    /// The generation that the status as a whole is about (`status.observedGeneration`), as kstatus reads it.
    StatusGeneration: int64 option
    Ready: ReadyCondition option
}

module ObservedObject =
    let private readyCondition (condition: JsonElement) : ReadyCondition = {
        IsReady =
            match Json.textAt [ "status" ] condition with
            | "True" -> Some true
            | "False" -> Some false
            | _ -> None
        Reason = Json.textAt [ "reason" ] condition
        Message = Json.textAt [ "message" ] condition
        ObservedGeneration = Json.tryAt [ "observedGeneration" ] condition |> Option.bind Json.tryInteger
        LastTransition = Json.tryAt [ "lastTransitionTime" ] condition |> Option.bind Json.tryTime
    }

    /// From the object as the API server sends it. Anybody may write a status: what is unreadable there counts as absent.
    let ofJson (item: JsonElement) : ObservedObject = {
        Uid = Json.textAt [ "metadata"; "uid" ] item
        Generation =
            Json.tryAt [ "metadata"; "generation" ] item
            |> Option.bind Json.tryInteger
            |> Option.defaultValue 0L
        StatusGeneration =
            Json.tryAt [ "status"; "observedGeneration" ] item
            |> Option.bind Json.tryInteger
        Ready =
            Json.tryAt [ "status"; "conditions" ] item
            |> Option.map Json.items
            |> Option.defaultValue []
            |> List.tryFind (fun condition -> Json.textAt [ "type" ] condition = "Ready")
            |> Option.map readyCondition
    }
