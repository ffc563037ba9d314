/// `k8sreq version`
module K8sReq.Host.Arguments.VersionReader

open K8sReq.Core

let private verbose =
    Flag.switch "--verbose" "Print the commit that it was built from too."

let reader: CommandReader =
    CommandReader.create "version" "Print the version." [ verbose ] [] (fun result ->
        Ok(Command.Version(Flag.isSet verbose result)))
