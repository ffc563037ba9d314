/// Whether the process lives, and whether it is ready for requests.
module K8sReq.Host.Admin.Probes

open Microsoft.AspNetCore.Http
open K8sReq.Proxy

let private whenReady (isReady: unit -> bool) : HttpHandler =
    let ready = text "ready\n" earlyReturn

    let notReady =
        (setStatusCode StatusCodes.Status503ServiceUnavailable >=> text "not ready\n") earlyReturn

    fun _ ctx -> if isReady () then ready ctx else notReady ctx

/// `/healthz` answers 200 as long as the process can answer at all, `/readyz` 200 while `isReady` says so, else 503.
let handler (isReady: unit -> bool) : HttpHandler =
    GET_HEAD
    >=> choose [ route "/healthz" >=> text "ok\n"; route "/readyz" >=> whenReady isReady ]
