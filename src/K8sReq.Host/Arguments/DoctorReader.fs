/// `k8sreq doctor`
module K8sReq.Host.Arguments.DoctorReader

open System.CommandLine
open K8sReq.Core

let private output = CommandReader.output ()

/// What the flags of the proxy are called among the arguments.
let settingsName = "SETTINGS"

// Those of the proxy: their values are read together, so that everything that is wrong is reported at once.
let private settings =
    Argument<string array>(
        settingsName,
        Description = "Flags of the proxy, if it is not configured by environment variables.",
        Arity = ArgumentArity.ZeroOrMore
    )

let reader (readSettings: string list -> Result<Settings, string list>) : CommandReader =
    CommandReader.create
        "doctor"
        "Check what the proxy needs: cluster, permissions, routes, journal. Exit with 1 if anything is wrong."
        [ output; settings ]
        [
            "doctor"
            "doctor --kubeconfig ~/.kube/config --namespaces shop"
            "doctor --manifests DIR --output json"
        ]
        (fun result ->
            readSettings (List.ofArray (result.GetRequiredValue settings))
            |> Result.map (fun settings ->
                Command.Doctor {
                    Settings = settings
                    Output = Flag.orElse OutputFormat.Table output result
                }))
