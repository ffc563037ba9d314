/// Many requests at once: none lost, none twice, none to the wrong target.
module K8sReq.Host.Tests.LoadTests

open System.Threading
open System.Threading.Tasks
open Expecto
open K8sReq.TestKit.HttpMessage
open K8sReq.TestKit

/// Sends numbered requests over this many connections at once; gives the statuses.
let private send (port: int) (connections: int) (each: int) = task {
    let one connection = task {
        use! client = TestClient.Connect port
        let statuses = ResizeArray()

        for n in 0 .. each - 1 do
            let body = $"{connection}/{n}"

            do!
                client.Send
                    $"POST /{body} HTTP/1.1\r\nHost: a.example\r\nContent-Length: {body.Length}\r\n\r\n{body}"

            let! answer = client.Answer()
            statuses.Add(TestClient.status answer)

        return List.ofSeq statuses
    }

    let! statuses = Task.WhenAll [ for connection in 1..connections -> one connection ]
    return List.concat statuses
}

/// The request that a copy is of; its line and its body must say the same.
let private identify (copy: Message) =
    let path = copy.Start.Split(' ')[1]
    Expect.equal path $"/{copy.Text}" "line and body belong together"
    copy.Text

let tests =
    testSequenced
    <| testList "load" [
        testCaseTask "1,000 concurrent requests: each copy is delivered exactly once"
        <| fun () -> task {
            use first = TestTarget.ok ()
            use second = TestTarget.ok ()
            use! proxy = TestProxy.Start(Manifests.route "a.example" [ first.Port; second.Port ])
            let! statuses = send proxy.Port 1000 1
            Expect.equal (List.countBy id statuses) [ 202, 1000 ] "all accepted"

            for target in [ first; second ] do
                let! copies = target.Take 1000
                Expect.equal (copies |> List.map identify |> List.distinct |> List.length) 1000 "each once"

            do! proxy.Settled()
            Expect.equal (first.Waiting, second.Waiting) (0, 0) "and none twice"
            Expect.equal proxy.Totals.Delivered 2000L "counted"
        }

        testCaseTask "routes that change under load: not one wrong answer, not one lost or doubled copy"
        <| fun () -> task {
            use always = TestTarget.ok ()
            use odd = TestTarget.ok ()
            use even = TestTarget.ok ()
            // The second target alternates; the first is in every version of the file.
            let version n =
                Manifests.route "a.example" [ always.Port; (if n % 2 = 0 then even.Port else odd.Port) ]

            use! proxy = TestProxy.Start(version 0)
            use stop = new CancellationTokenSource()

            let rewriting = task {
                let mutable n = 1

                while not stop.IsCancellationRequested do
                    proxy.Folder.Write("all.yaml", version n)
                    // Long enough for the change to be taken up, most of the time.
                    do! Task.Delay 450
                    n <- n + 1

                return n
            }

            let total = ResizeArray()

            // As long as it takes for both versions to have been in force, and for many requests. Fewer at once than copies may be sent
            // to one target: what waits for a target that is routed no more is given up.
            let mutable round = 0

            while round < 20 || odd.Waiting = 0 || even.Waiting = 0 do
                let! statuses = send proxy.Port 50 5
                total.AddRange statuses
                do! proxy.Settled()
                round <- round + 1

            stop.Cancel()
            let! versions = rewriting
            Expect.isGreaterThan versions 1 "the file was rewritten"
            Expect.equal (List.countBy id (List.ofSeq total)) [ 202, total.Count ] "all accepted"
            do! proxy.Settled()
            Expect.equal proxy.Totals.Delivered (int64 (2 * total.Count)) "all delivered"
            let! copies = always.Take total.Count
            copies |> List.iter (identify >> ignore)
            Expect.equal always.Waiting 0 "the target that stays has each once"
            Expect.equal (odd.Waiting + even.Waiting) total.Count "the others together, too"
        }
    ]
