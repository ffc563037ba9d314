/// What is measured. What depends on targets is measured with targets that respond with a body and with such that do not.
module K8sReq.Bench.Scenarios

let private named (pace: Pace) (connections: int) =
    match pace with
    | Pace.Even rate -> $"{rate}/s"
    | Pace.Poisson rate -> $"{rate}/s Poisson"
    | Pace.Saturation -> $"saturation, {connections} connections"

let private responding (response: TargetResponse) =
    match response with
    | TargetResponse.Empty -> "empty responses"
    | TargetResponse.NoContent -> "responses 204"
    | TargetResponse.Body length -> $"responses of {length} bytes"

let private writing (writes: ClientWrites) =
    match writes with
    | ClientWrites.One -> "one write"
    | ClientWrites.Two -> "two writes"

/// The name says it all, so that it can be chosen by a part of it.
let private withName (what: string) (scenario: Scenario) = {
    scenario with
        Name =
            String.concat ", " [
                what
                named scenario.Pace scenario.Connections
                writing scenario.Writes
                responding scenario.Response
            ]
}

let private hot = {
    Name = ""
    Pace = Pace.Even 2000.0
    Connections = 64
    BodyLength = 1024
    Writes = ClientWrites.One
    Targets = 2
    Response = TargetResponse.Empty
    Hosts = 1
    HasSlowTarget = false
}

let private paces = [ Pace.Even 2000.0; Pace.Poisson 2000.0; Pace.Even 400.0; Pace.Saturation ]

let private both = [ TargetResponse.Empty; TargetResponse.Body 2 ]

let private kinds: Scenario list = [
    for response in both do
        for writes in [ ClientWrites.One; ClientWrites.Two ] do
            for pace in paces do
                {
                    hot with
                        Pace = pace
                        Writes = writes
                        Response = response
                }
    // These differ from the others by their bytes alone: one kind of client is enough.
    for response in [ TargetResponse.NoContent; TargetResponse.Body 2048 ] do
        for pace in [ Pace.Even 2000.0; Pace.Saturation ] do
            {
                hot with
                    Pace = pace
                    Response = response
            }
]

let private others: (string * Scenario) list = [
    "GET", { hot with BodyLength = 0 }
    "POST 64 KiB",
    {
        hot with
            BodyLength = 65_536
            Pace = Pace.Even 500.0
    }
    "POST 1 MB",
    {
        hot with
            BodyLength = 1_000_000
            Pace = Pace.Even 50.0
    }
    "POST 1 KiB to 10 targets",
    {
        hot with
            Targets = 10
            Pace = Pace.Even 400.0
    }
    "POST 1 KiB to one of 10,000 hosts", { hot with Hosts = 10_000 }
    // With less than 256 connections a proxy that holds them stops at once.
    "POST 1 KiB, and a target that takes 5 s",
    {
        hot with
            Targets = 1
            HasSlowTarget = true
            Pace = Pace.Even 500.0
            Connections = 256
    }
]

let all: Scenario list = [
    for scenario in kinds do
        withName "POST 1 KiB" scenario

    for what, scenario in others do
        for response in both do
            withName what { scenario with Response = response }
]

/// For the time from start to the first 202.
let forStart: Scenario = hot
