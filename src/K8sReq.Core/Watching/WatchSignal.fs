namespace K8sReq.Core

open System

/// What happens to one list and watch.
[<RequireQualifiedAccess>]
type WatchSignal<'T> =
    | Started
    /// A page of the list: the version of the whole list, and where the next page is.
    | Page of items: 'T list * version: string * next: string option
    | Applied of item: 'T * version: string
    | Deleted of key: ObjectKey * version: string
    | Bookmark of version: string
    | Ended of WatchEnd
    /// The pause that was asked for is over.
    | Rested

/// What is to be done next.
[<RequireQualifiedAccess>]
type WatchAction<'T> =
    | List of page: string option
    | Watch of version: string
    | Rest of TimeSpan
    /// The complete set.
    | EmitListed of 'T list
    | EmitApplied of 'T
    | EmitDeleted of ObjectKey
    /// Read credentials and authorities again before the next request.
    | Renew
    | Tell of WatchFault
    /// What was told of last is over.
    | TellRecovered

module WatchAction =
    /// What the action says of the objects of a scope; None if it is about something else.
    let tryEvent
        (scope: WatchScope)
        (keyOf: 'T -> ObjectKey)
        (action: WatchAction<'T>)
        : ObjectEvent<'T> option =
        match action with
        | WatchAction.EmitListed objects ->
            Some(ObjectEvent.Listed(scope, [ for object in objects -> keyOf object, object ]))
        | WatchAction.EmitApplied object -> Some(ObjectEvent.Applied(keyOf object, object))
        | WatchAction.EmitDeleted key -> Some(ObjectEvent.Deleted key)
        | WatchAction.List _
        | WatchAction.Watch _
        | WatchAction.Rest _
        | WatchAction.Renew
        | WatchAction.Tell _
        | WatchAction.TellRecovered -> None
