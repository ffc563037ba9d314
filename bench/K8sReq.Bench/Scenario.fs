namespace K8sReq.Bench

open System.Text

/// A load, and the targets that it is duplicated to.
type Scenario = {
    Name: string
    Pace: Pace
    Connections: int
    /// Of a POST; 0 for a GET.
    BodyLength: int
    Writes: ClientWrites
    Targets: int
    Response: TargetResponse
    /// Hosts that have RequestClones. One of them gets requests.
    Hosts: int
    /// One target more, which takes five seconds for its response.
    HasSlowTarget: bool
}

module Scenario =
    /// The host that gets requests.
    let host = "hooks.example"

    let hosts (scenario: Scenario) : string list =
        host :: List.init (scenario.Hosts - 1) (fun n -> $"h{n}.example")

    /// Head and body of its requests.
    let bytes (scenario: Scenario) : struct (byte[] * byte[]) =
        let common = $"Host: {host}\r\nUser-Agent: bench\r\nAccept: */*\r\n"

        let head =
            if scenario.BodyLength = 0 then
                $"GET /hooks?source=bench HTTP/1.1\r\n{common}\r\n"
            else
                $"POST /hooks?source=bench HTTP/1.1\r\n{common}Content-Type: application/json\r\nContent-Length: {scenario.BodyLength}\r\n\r\n"

        struct (Encoding.ASCII.GetBytes head, Array.create scenario.BodyLength (byte 'x'))

    let request (scenario: Scenario) : LoadRequest =
        let struct (head, body) = bytes scenario
        LoadRequest.Create(scenario.Writes, head, body)
