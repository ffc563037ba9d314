namespace K8sReq.Host.Arguments

open System.CommandLine
open System.CommandLine.Help
open System.CommandLine.Invocation

/// The library's help, in 80 columns, with examples below it.
[<Sealed>]
type HelpText(examplesOf: Syntax -> string list) =
    inherit SynchronousCommandLineAction()

    let inner = HelpAction(MaxWidth = 80)

    // An unknown word beside --help is no reason to keep the help back.
    override _.ClearsParseErrors = true

    override _.Invoke(result: ParseResult) : int =
        let code = inner.Invoke result
        let output = result.InvocationConfiguration.Output

        match examplesOf result.CommandResult.Command with
        | [] -> ()
        | examples ->
            output.WriteLine "Examples:"

            for example in examples do
                output.WriteLine $"  k8sreq {example}"

            output.WriteLine()

        code
