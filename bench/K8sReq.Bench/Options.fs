namespace K8sReq.Bench

/// One more program to compare: a build of this one, with variables for it.
type OtherBuild = {
    Name: string
    Path: string
    Environment: (string * string) list
}

/// What the command line asks for.
type Options = {
    Rounds: int
    /// Of each turn.
    Seconds: float
    /// Scenarios whose name contains this text.
    Only: string
    /// Requests that each peer gets before the first round.
    WarmUp: int64
    CountsSystemCalls: bool
    /// A turn waits until the rest of the machine uses no more cores than this, and is taken once more if it did meanwhile.
    Quiet: float option
    /// Only these; all of them if it is empty.
    Peers: string list
    WithoutNginx: bool
    Also: OtherBuild list
    ListsScenarios: bool
}

module Options =
    let defaults = {
        Rounds = 5
        Seconds = 4.0
        Only = ""
        WarmUp = 100_000L
        CountsSystemCalls = false
        Quiet = None
        Peers = []
        WithoutNginx = false
        Also = []
        ListsScenarios = false
    }

    let usage =
        """bench -- [--only TEXT] [--rounds N] [--seconds S] [--warm-up REQUESTS] [--syscalls] [--quiet CORES]
         [--peers NAME,NAME] [--no-nginx] [--also NAME=PATH[,VARIABLE=VALUE…]]… [--list]
--only       scenarios whose name contains TEXT; "start" is the time to the first 202, "idle" the price of 10,000 connections
             over which nothing is sent
--syscalls   a turn more for each peer, in which its system calls are counted (perf, or strace)
--quiet      wait for at most a minute before a turn while other processes use more than CORES, and take it once more if they did in it
--peers      only these of nginx, nginx-256k (writes larger bodies to files), k8sreq, k8sreq-native, k8sreq-filter and
             k8sreq-native-filter (RequestClones with a match and a filter each), and the names of --also; the first one is what the
             others are compared with
--also       another build of the program, and variables for it
--list       print the scenarios"""

    let private pair (text: string) =
        match text.Split('=', 2) with
        | [| name; value |] -> Ok(name, value)
        | _ -> Error $"\"{text}\" is not NAME=VALUE"

    let private otherBuild (text: string) =
        let parts = text.Split ',' |> List.ofArray |> List.map pair

        match
            parts
            |> List.tryPick (function
                | Error message -> Some message
                | Ok _ -> None)
        with
        | Some message -> Error message
        | None ->
            let pairs = parts |> List.choose Result.toOption
            let name, path = List.head pairs

            Ok {
                Name = name
                Path = path
                Environment = List.tail pairs
            }

    let private positive (name: string) (text: string) (apply: float -> Options) =
        match
            System.Double.TryParse(
                text,
                System.Globalization.NumberStyles.Float,
                System.Globalization.CultureInfo.InvariantCulture
            )
        with
        | true, value when value > 0.0 -> Ok(apply value)
        | _ -> Error $"{name} takes a number above 0, not \"{text}\""

    let rec private parseFrom (options: Options) (arguments: string list) : Result<Options, string> =
        let next rest changed =
            changed |> Result.bind (fun options -> parseFrom options rest)

        match arguments with
        | [] -> Ok options
        | "--only" :: text :: rest -> parseFrom { options with Only = text } rest
        | "--syscalls" :: rest ->
            parseFrom
                {
                    options with
                        CountsSystemCalls = true
                }
                rest
        | "--no-nginx" :: rest -> parseFrom { options with WithoutNginx = true } rest
        | "--list" :: rest -> parseFrom { options with ListsScenarios = true } rest
        | "--peers" :: names :: rest ->
            parseFrom
                {
                    options with
                        Peers = List.ofArray (names.Split ',')
                }
                rest
        | "--rounds" :: text :: rest ->
            positive "--rounds" text (fun value -> { options with Rounds = int value })
            |> next rest
        | "--seconds" :: text :: rest ->
            positive "--seconds" text (fun value -> { options with Seconds = value })
            |> next rest
        | "--warm-up" :: text :: rest ->
            positive "--warm-up" text (fun value -> { options with WarmUp = int64 value })
            |> next rest
        | "--quiet" :: text :: rest ->
            positive "--quiet" text (fun value -> { options with Quiet = Some value })
            |> next rest
        | "--also" :: text :: rest ->
            otherBuild text
            |> Result.map (fun other -> {
                options with
                    Also = options.Also @ [ other ]
            })
            |> next rest
        | unknown :: _ -> Error $"unknown argument, or one without its value: {unknown}"

    let parse (arguments: string list) : Result<Options, string> = parseFrom defaults arguments
