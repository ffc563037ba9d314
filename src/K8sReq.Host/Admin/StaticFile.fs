/// What pages are made of and never changes: built into the program.
module K8sReq.Host.Admin.StaticFile

open System.IO
open System.Reflection
open K8sReq.Proxy

let private resource (name: string) : byte[] =
    match Assembly.GetExecutingAssembly().GetManifestResourceStream name with
    | null -> failwith $"The program was built without {name}."
    | stream ->
        use stream = stream
        use copy = new MemoryStream()
        stream.CopyTo copy
        copy.ToArray()

let private answer (contentType: string) (name: string) : HttpHandler =
    setHttpHeader "Content-Type" contentType >=> setBody (resource name)

/// A style sheet.
let css (name: string) : HttpHandler = answer "text/css; charset=utf-8" name

/// A script.
let script (name: string) : HttpHandler =
    answer "text/javascript; charset=utf-8" name
