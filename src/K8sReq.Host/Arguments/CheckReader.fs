/// `k8sreq check`
module K8sReq.Host.Arguments.CheckReader

open System.CommandLine
open System.IO
open K8sReq.Core

let private paths =
    Argument<string array>(
        "PATH",
        Description = "Folders or files of manifests, or - for standard input.",
        Arity = ArgumentArity.ZeroOrMore
    )

let private output = CommandReader.output ()

let private problem (path: string) : string option =
    if path = "-" || File.Exists path || Directory.Exists path then
        None
    else
        Some $"\"{path}\" does not exist; check takes folders, files, and - for standard input"

let private read (result: ParseResult) : Result<Command, string list> =
    match List.ofArray (result.GetRequiredValue paths) with
    | [] -> Error [ "check needs a PATH: a folder, a file, or - for standard input" ]
    | paths ->
        match List.choose problem paths with
        | [] ->
            Ok(
                Command.Check {
                    Paths = paths
                    Output = Flag.orElse OutputFormat.Table output result
                }
            )
        | problems -> Error problems

let reader: CommandReader =
    CommandReader.create
        "check"
        "Print the routes in manifests; exit with 1 if anything is wrong with them."
        [ paths; output ]
        [
            "check examples/local"
            "check services.yaml requestclones.yaml --output json"
            "check - < requestclones.yaml"
        ]
        read
