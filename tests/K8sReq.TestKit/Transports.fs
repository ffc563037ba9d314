/// What tests let carry their connections.
module K8sReq.TestKit.Transports

open System
open K8sReq.Proxy

/// Two loops, so that what belongs to one and what to the other is told apart. A defect on one of them ends the tests.
let loops: Lazy<Transport> =
    lazy
        // Not watched for what blocks: tests go on where their copies end.
        (Transport.Loops(
            Array.init 2 (fun index ->
                EventLoop.Start(
                    $"test loop {index}",
                    (fun error -> Environment.FailFast("An exception has reached an event loop.", error))
                ))
        ))

/// Every one that this system has, by name.
let all: (string * (unit -> Transport)) list = [
    "over the runtime's sockets", (fun () -> Transport.Sockets)
    if Transport.hasLoops then
        "over event loops", (fun () -> loops.Value)
]
