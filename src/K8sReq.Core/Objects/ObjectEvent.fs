namespace K8sReq.Core

/// What can happen to objects of a kind. A listing is the complete set of its scope: whatever it does not contain is gone.
[<RequireQualifiedAccess>]
type ObjectEvent<'T> =
    | Applied of ObjectKey * 'T
    | Deleted of ObjectKey
    | Listed of WatchScope * (ObjectKey * 'T) list

module ObjectEvent =
    let map (change: 'A -> 'B) (event: ObjectEvent<'A>) : ObjectEvent<'B> =
        match event with
        | ObjectEvent.Applied(key, value) -> ObjectEvent.Applied(key, change value)
        | ObjectEvent.Deleted key -> ObjectEvent.Deleted key
        | ObjectEvent.Listed(scope, objects) ->
            ObjectEvent.Listed(scope, objects |> List.map (fun (key, value) -> key, change value))
