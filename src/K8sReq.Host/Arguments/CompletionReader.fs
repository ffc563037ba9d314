/// `k8sreq completion`
module K8sReq.Host.Arguments.CompletionReader

open System
open System.CommandLine
open K8sReq.Core

let private shells = [
    "bash", Shell.Bash
    "zsh", Shell.Zsh
    "fish", Shell.Fish
    "powershell", Shell.PowerShell
]

let private shell =
    let names = shells |> List.map fst

    let argument =
        Argument<string>("SHELL", Description = String.Join(", ", names) + ".")

    argument.CompletionSources.Add(Array.ofList names)
    argument

let reader: CommandReader =
    CommandReader.create
        "completion"
        "Print a script by which a shell completes this program's commands."
        [ shell ]
        [
            "completion bash > /etc/bash_completion.d/k8sreq"
            "completion fish | source"
        ]
        (fun result ->
            let name = result.GetRequiredValue shell

            match shells |> List.tryFind (fun (known, _) -> known = name) with
            | Some(_, shell) -> Ok(Command.Completion shell)
            | None ->
                Error [
                    $"\"{name}\" is not a shell that completion knows: bash, zsh, fish or powershell"
                ])
