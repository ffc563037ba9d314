/// Command lines that look further, to be copied into a shell.
module K8sReq.Host.Admin.Status.Commands

open System
open K8sReq.Core

/// A word as a shell reads it. Names from manifests may be anything.
let quoted (word: string) : string =
    let isPlain c =
        Char.IsAsciiLetterOrDigit c || "-_./:=,".Contains c

    if word <> "" && Seq.forall isPlain word then
        word
    else
        "'" + word.Replace("'", "'\\''") + "'"

let private line (words: string list) : string =
    words |> List.map quoted |> String.concat " "

/// What each is for, and the line. The resource has its full name: `rc` is another one's.
let ofRoute (status: RouteStatus) : (string * string) list =
    let key = status.Key

    let kubectl words =
        line ("kubectl" :: "--namespace" :: key.Namespace :: words)

    let service =
        match status.Clone.Clone.Spec with
        | Ok spec -> Some spec.ServiceName
        | Error _ -> None

    [
        "The RequestClone with its condition and events", kubectl [ "describe"; "requestclones"; key.Name ]
        match service with
        | Some service ->
            "The Service", kubectl [ "get"; "services"; service; "--output"; "wide" ]

            "Its pods that are ready",
            kubectl [
                "get"
                "endpointslices"
                "--selector"
                $"kubernetes.io/service-name={service}"
            ]
        | None -> ()
        match status.Stored with
        | ValueSome _ -> "Its dead letters", line [ "k8sreq"; "dead"; "list"; "--clone"; string key ]
        | ValueNone -> ()
    ]
