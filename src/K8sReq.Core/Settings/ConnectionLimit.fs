namespace K8sReq.Core

/// How many connections of clients a process can have.
module ConnectionLimit =
    // What an idle connection takes of memory is an eighth of that; the rest is for what is done over some of them.
    let private bytesEach = 128L * 1024L

    // For targets, the cluster, probes, metrics and the status page, and what the runtime opens.
    let private keptDescriptors = 256L

    /// By what the process may take of memory (bytes), and of descriptors where that is known. One connection of a client
    /// goes with one to a target at the most of times, so that half of the descriptors are for each.
    let byResources (memory: int64) (descriptors: int64 option) : int =
        let byMemory = memory / bytesEach

        let byDescriptors =
            match descriptors with
            | Some most -> (most - keptDescriptors) / 2L
            | None -> byMemory

        int (max 64L (min 65_536L (min byMemory byDescriptors)))

    /// The soft limit of descriptors in the text of Linux' `/proc/self/limits`.
    let tryDescriptors (limits: string) : int64 option =
        limits.Split '\n'
        |> Array.tryFind _.StartsWith("Max open files")
        |> Option.bind (fun line ->
            match
                line
                    .Substring("Max open files".Length)
                    .Split(' ', System.StringSplitOptions.RemoveEmptyEntries)
            with
            | [||] -> None
            | fields ->
                match System.Int64.TryParse fields[0] with
                | true, most -> Some most
                | false, _ -> None)
