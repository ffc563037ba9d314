/// Fields of a request's query string.
module K8sReq.Host.Admin.QueryField

open Microsoft.AspNetCore.Http

/// The first value of a field; None where it is not there.
let tryFind (ctx: HttpContext) (name: string) : string option =
    match ctx.Request.Query.TryGetValue name with
    | true, values when values.Count > 0 -> Option.ofObj values[0]
    | _ -> None

/// The same without spaces around it; None too where it is empty: a form sends fields that nothing was written into.
let given (ctx: HttpContext) (name: string) : string option =
    tryFind ctx name |> Option.map _.Trim() |> Option.filter ((<>) "")
