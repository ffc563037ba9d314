/// The proxy: finds the targets of a request, receives it, sends the copies on their way and answers 202.
module K8sReq.Proxy.DuplicateHandler

open Microsoft.AspNetCore.Http

let private accepted: HttpHandler = setStatusCode StatusCodes.Status202Accepted

/// The proxy's whole pipeline.
let create (services: DuplicateServices) : HttpHandler =
    let clock = services.Clock

    let duplicate =
        Guards.requireValid clock
        >=> Guards.requireRoutes clock services.RoutesKnown
        >=> Guards.requireTarget clock services.Hosts
        >=> Guards.requireCopyable clock services.ViaName
        >=> Guards.requireMatch clock
        >=> Offer.copies services
        >=> accepted

    Guards.parseHead >=> Observed.traced services duplicate
    |> Observed.observed services
