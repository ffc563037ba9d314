/// The page of dead letters as markup. Every text is escaped: names come from the cluster, targets from senders. What a request
/// has in its header fields and its body is not shown.
module K8sReq.Host.Admin.DeadLetters.DeadLetterView

open System
open Giraffe.ViewEngine
open K8sReq.Core
open K8sReq.Host.Admin.Markup

/// What the page has to tell.
[<RequireQualifiedAccess>]
type DeadLetterContent =
    | NoJournal
    /// The journal cannot be read now.
    | Unavailable
    /// Fields that are not understood, in words.
    | Misunderstood of faults: string list
    /// The oldest first, of those that fit the filter. It has no relative times: it means the same whenever it is used.
    | Letters of filter: DeadLetterFilter * letters: DeadLetter list

/// How many dead letters the page shows.
let mostShown = 100

// A longer target would hide the other columns.
let private longestTarget = 200

let private columns = [
    "Ended (UTC)", ""
    "RequestClone", ""
    "Request", ""
    "Outcome", ""
    "Attempts", "number"
    "Bytes", "number"
    "Id", ""
]

let private shortened (text: string) =
    if text.Length <= longestTarget then
        text
    else
        text.Substring(0, longestTarget) + "…"

// For `action` see dead.js. `what` tells buttons of the same words apart.
let private actionButton (action: string) (words: string) (what: string) (more: XmlAttribute list) : XmlNode =
    button
        ([
            _type "button"
            attr "data-action" action
            attr "aria-label" $"{words}: {what}"
         ]
         @ more)
        [ str words ]

let private actionButtons (what: string) (more: XmlAttribute list) : XmlNode list = [
    actionButton "replay" "Send again" what more
    actionButton "drop" "Remove" what more
]

let private row (letter: DeadLetter) : XmlNode =
    let id = string letter.Id

    tr [] [
        td [ attr "data-label" "Ended (UTC)" ] [ clockTime letter.EndedAt ]
        td [ attr "data-label" "RequestClone" ] [
            str letter.Clone.Name
            small [] [ str letter.Clone.Namespace ]
        ]
        td [ attr "data-label" "Request" ] [
            str $"{letter.Method} {shortened letter.Target}"
            small [] [ str letter.Host ]
        ]
        td [ attr "data-label" "Outcome" ] [
            span [ _class "badge bad" ] [ str (DeadCause.name letter.Cause) ]
            small [] [ str letter.Outcome ]
        ]
        td [ attr "data-label" "Attempts"; _class "number" ] [ str (number (int64 letter.Attempts)) ]
        td [ attr "data-label" "Bytes"; _class "number" ] [ str (number letter.Bytes) ]
        th [ attr "scope" "row"; attr "data-label" "Id" ] [ str id ]
        td [ _class "by-script actions" ] (actionButtons id [ attr "data-id" id ])
    ]

let private table (letters: DeadLetter list) : XmlNode =
    table [ _class "rows" ] [
        thead [] [
            tr [] [
                for name, kind in columns do
                    th [ attr "scope" "col"; _class kind ] [ str name ]
                th [ attr "scope" "col"; _class "by-script" ] [ str "Actions" ]
            ]
        ]
        tbody [] (List.map row letters)
    ]

let private found (letters: DeadLetter list) : XmlNode list = [
    p [ _class "by-script actions" ] [
        str "All that match, as of page load: "
        yield! actionButtons "all that match" []
    ]
    noscript [] [
        p [] [
            str "Without JavaScript there are no buttons here. These commands do the same: "
            code [] [ str "k8sreq dead replay" ]
            str " sends dead letters again, "
            code [] [ str "k8sreq dead drop" ]
            str " removes them; "
            code [] [ str "--id" ]
            str ", "
            code [] [ str "--clone" ]
            str ", "
            code [] [ str "--outcome" ]
            str ", "
            code [] [ str "--since" ]
            str " and "
            code [] [ str "--until" ]
            str " say which ones."
        ]
    ]
    table (List.truncate mostShown letters)
    if letters.Length > mostShown then
        p [] [ str $"These are the oldest {mostShown}. There are more." ]
]

let private content (content: DeadLetterContent) : XmlNode list =
    match content with
    | DeadLetterContent.NoJournal -> [
        p [] [
            str "There is no journal ("
            code [] [ str "JOURNAL" ]
            str "), so there are no dead letters."
        ]
      ]
    | DeadLetterContent.Unavailable -> [
        p [ _class "fault"; attr "role" "alert" ] [ str "The journal cannot be read now. The log says why." ]
      ]
    | DeadLetterContent.Misunderstood faults -> [
        div [ _class "fault"; attr "role" "alert" ] [
            p [] [ str "Nothing is shown, because the filter is not understood:" ]
            ul [] [ for fault in faults -> li [] [ str fault ] ]
        ]
      ]
    | DeadLetterContent.Letters(_, []) -> [ p [] [ str "No dead letter matches." ] ]
    | DeadLetterContent.Letters(_, letters) -> found letters

let private section (shown: DeadLetterContent) : XmlNode =
    let attributes =
        match shown with
        | DeadLetterContent.Letters(filter, _) -> [
            attr "data-filter" (DeadLetterQuery.toQueryString filter)
          ]
        | _ -> []

    section ([ _id "letters"; attr "aria-labelledby" "letters-title" ] @ attributes) [
        // Scripts move the focus here when the table is another one.
        h2 [ _id "letters-title"; attr "tabindex" "-1" ] [ str "Dead letters" ]
        yield! content shown
    ]

let private timeHint = "2h or 2026-01-31T12:00:00Z"

// `given` is what was asked for, understood or not.
let private filterForm (given: string -> string) : XmlNode =
    let labelled (name: string) (words: string) (control: XmlNode) =
        div [ _class "field" ] [ label [ _for name ] [ str words ]; control ]

    let field (name: string) (words: string) (hint: string) =
        labelled
            name
            words
            (input [
                _id name
                _name name
                _type "text"
                _value (given name)
                _placeholder hint
                attr "autocomplete" "off"
                attr "spellcheck" "false"
            ])

    form [ _method "get"; _action "dead"; attr "role" "search" ] [
        field "clone" "RequestClone" "NAMESPACE/NAME"
        labelled
            "outcome"
            "Outcome"
            (select [ _id "outcome"; _name "outcome" ] [
                option [ _value "" ] [ str "any" ]
                for cause in List.map DeadCause.name DeadCause.all do
                    option [
                        _value cause
                        if given "outcome" = cause then
                            _selected
                    ] [ str cause ]
            ])
        field "since" "Since" timeHint
        field "until" "Until" timeHint
        field "id" "Id" "1234-0"
        button [ _type "submit" ] [ str "Find" ]
        a [ _href "dead" ] [ str "all" ]
    ]

// Words and buttons are dead.js's.
let private confirmation: XmlNode =
    tag "dialog" [
        _id "ask"
        attr "aria-labelledby" "question"
        attr "aria-describedby" "which consequence"
    ] [
        p [ _id "question" ] []
        p [ _id "which" ] []
        p [ _id "consequence" ] []
        p [ _class "actions" ] [
            button [ _id "cancel"; _type "button"; attr "autofocus" "autofocus" ] [ str "Cancel" ]
            button [ _id "confirm"; _type "button" ] []
        ]
    ]

/// The whole page of this replica.
let page (instance: string) (given: string -> string) (shown: DeadLetterContent) : string =
    document "" $"K8sReq: dead letters of {instance}" [
        link [ _rel "stylesheet"; _href "dead.css" ]
        script [ _src "dead.js"; attr "defer" "defer" ] []
    ] [
        a [ _class "skip"; _href "#letters" ] [ str "To the dead letters" ]
        header [] [
            h1 [] [ str "K8sReq" ]
            nav [] [ a [ _href "./" ] [ str "Status page" ] ]
            span [] [ str instance ]
        ]
        main [] [
            if shown <> DeadLetterContent.NoJournal then
                filterForm given
            p [ _id "told"; attr "role" "status" ] []
            section shown
            confirmation
        ]
        footer [] [ p [] [ str "The same as JSON: "; a [ _href "api/dead" ] [ str "api/dead" ] ] ]
    ]
