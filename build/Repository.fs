/// What the repository says of itself.
module K8sReq.Build.Repository

open System.IO
open System.Text.RegularExpressions

let root = Path.GetFullPath(Path.Combine(__SOURCE_DIRECTORY__, ".."))

let read (path: string list) : string =
    File.ReadAllText(Path.Combine(Array.ofList (root :: path)))

let private element (name: string) (xml: string) : string =
    let found = Regex.Match(xml, $"<{name}>(.+?)</{name}>")

    if found.Success then
        found.Groups[1].Value
    else
        failwith $"there is no <{name}>"

/// A property of Directory.Build.props.
let property (name: string) : string =
    element name (read [ "Directory.Build.props" ])

/// A property of the program's project.
let programProperty (name: string) : string =
    element name (read [ "src"; "K8sReq.Host"; "K8sReq.Host.fsproj" ])
