/// Dead letters in a browser, over the published program: looked at, sent again, removed.
module K8sReq.Host.Tests.DeadLetterBrowserTests

open System
open System.IO
open System.Threading.Tasks
open Expecto
open K8sReq.TestKit

// Where pictures of the page are left, for people to look at.
let private pictures =
    Path.Combine(PublishedProgram.Root, "artifacts", "status-page")

let private gone () =
    TestTarget.answering "HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n"

let private send (port: int) (target: string) : Task<unit> = task {
    let! answer =
        TestClient.roundTrip
            port
            $"POST {target} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

    Expect.equal (TestClient.status answer) 202 "accepted"
}

/// The program with a journal, over one target on this port, and a RequestClone that is not routed.
let private start (folder: TestFolder) (targetPort: int) = task {
    folder.Write(
        "routes/all.yaml",
        Manifests.route "a.example" [ targetPort ]
        + Manifests.clone "webhooks-of-orders" "webhooks.orders.example" "missing"
    )

    let program =
        PublishedProgram.Start [
            "--manifests"
            folder.At "routes"
            "--journal"
            folder.At "journal"
            "--http-addr=127.0.0.1:0"
            "--probe-addr=127.0.0.1:0"
            "--metrics-addr=127.0.0.1:0"
            "--status-addr=127.0.0.1:0"
        ]

    let! proxy = program.Says @"Proxy listening on port (\d+)"
    let! status = program.Says @"Status page listening on port (\d+)"
    let! _ = program.Says @"Routes: \d+"
    let! _ = program.Says @"Journal .* opened: (\d+)"
    return program, int proxy, $"http://localhost:{status}/"
}

let private needsBrowser () =
    if not Browser.IsInstalled then
        skiptest "Chromium is not installed"

let private rows = "document.querySelectorAll('#letters tbody tr').length"

// Also while another page is being loaded.
let private hasText (id: string) (text: string) =
    $"document.getElementById('{id}')?.textContent.includes('{text}') === true"

let private click (browser: Browser) (selector: string) : Task<unit> = task {
    // A dialog that was closed takes a moment to end what had opened it: until then buttons do nothing.
    if selector.Contains "data-action" then
        do! browser.Shows("ready", "!document.querySelector('[aria-busy]')")

    let! _ = browser.Evaluate $"document.querySelector('{selector}').click()"
    ()
}

/// Loads the page anew until so many dead letters are there.
let private untilThere (browser: Browser) (url: string) (count: int) : Task<unit> =
    Waiting.until $"{count} dead letters on the page" (fun () -> task {
        do! browser.Go url
        let! shown = browser.Evaluate rows
        return shown = string count
    })

let private isAsking = "document.getElementById('ask').open"

let tests =
    testSequenced
    <| testList "dead letters in a browser" [
        testCaseTask "what a target refused is sent again once the target is good, and the table is empty"
        <| fun () -> task {
            needsBrowser ()
            use folder = new TestFolder()
            use refusing = gone ()
            let port = refusing.Port
            let! program, proxy, url = start folder port
            use _ = program
            use! browser = Browser.Start()
            do! send proxy "/hooks?n=1"
            do! send proxy "/hooks?n=2"
            do! send proxy "/hooks?n=3"

            // By the links of the status page.
            do! browser.Go url
            let figure = "document.querySelector('td[data-label=\"Dead letters\"] a')"
            do! browser.Shows("the figure", $"{figure} !== null && {figure}.textContent === '3'")
            let! address = browser.Evaluate $"{figure}.href"
            Expect.equal address (url + "dead?clone=shop%2Fcopy-0") "where it leads"
            do! untilThere browser address 3
            do! browser.Shows("the request", hasText "letters" "POST /hooks?n=1")
            do! browser.Shows("the outcome", hasText "letters" "answered 410")

            (refusing :> IDisposable).Dispose()
            use good = TestTarget.at port
            do! click browser "tbody button[data-action=replay]"
            do! browser.Shows("it asks", isAsking)
            do! browser.Shows("how many", hasText "question" "Send 1 dead letter again?")
            do! browser.Shows("which", hasText "which" "POST /hooks?n=1, for copy-0")
            do! browser.Shows("Cancel has the focus", "document.activeElement.id === 'cancel'")
            do! click browser "#confirm"
            do! browser.Shows("the result", hasText "told" "1 dead letter sent again.")
            do! browser.Shows("the others", $"{rows} === 2")
            do! browser.Shows("the focus stays near", "document.activeElement.id === 'letters-title'")
            let! copy = good.Next()
            Expect.stringContains copy.Start "/hooks?n=1" "the first"

            // The rest at once, by the keyboard.
            do! click browser "p button[data-action=replay]"
            do! browser.Shows("how many", hasText "question" "Send 2 dead letters again?")
            do! browser.Press "Tab"
            do! browser.Press "Enter"
            do! browser.Shows("the result", hasText "told" "2 dead letters sent again.")
            do! browser.Shows("nothing is left", hasText "letters" "No dead letter matches.")
            let! copies = good.Take 2

            Expect.equal
                (copies |> List.map (fun copy -> copy.Start.Split(' ')[1]) |> List.sort)
                [ "/hooks?n=2"; "/hooks?n=3" ]
                "the others"

            Expect.isEmpty browser.Complaints "the console"
        }

        testCaseTask "nothing is removed without a yes, and no more than what was looked at"
        <| fun () -> task {
            needsBrowser ()
            use folder = new TestFolder()
            use refusing = gone ()
            let! program, proxy, url = start folder refusing.Port
            use _ = program
            use! browser = Browser.Start()
            let page = url + "dead?outcome=refused"

            for number in 1..3 do
                do! send proxy $"/{number}"

            do! untilThere browser page 3
            do! click browser "tbody button[data-action=drop]"
            do! browser.Shows("it asks", isAsking)
            do! browser.Shows("what it means", hasText "consequence" "cannot be brought back")
            do! browser.Press "Escape"
            do! browser.Shows("dismissed", $"!{isAsking}")
            do! click browser "p button[data-action=drop]"
            do! browser.Shows("how many", hasText "question" "Remove 3 dead letters?")
            do! click browser "#cancel"
            do! browser.Shows("dismissed", $"!{isAsking}")
            do! browser.Shows("and ready for more", "!document.querySelector('[aria-busy]')")
            let kept = "fetch('api/dead').then(r => r.json()).then(b => b.deadLetters.length)"
            let! left = browser.Evaluate kept
            Expect.equal left "3" "all are there"

            do! click browser "tbody button[data-action=drop]"
            do! browser.Shows("it asks", isAsking)
            do! click browser "#confirm"
            do! browser.Shows("the result", hasText "told" "1 dead letter removed.")
            do! browser.Shows("the others", $"{rows} === 2")

            // One more comes while somebody looks at two.
            do! send proxy "/4"

            do!
                Waiting.until "one more" (fun () -> task {
                    let! left = browser.Evaluate kept
                    return left = "3"
                })

            do! click browser "p button[data-action=drop]"
            do! browser.Shows("how many", hasText "question" "Remove 2 dead letters?")
            do! click browser "#confirm"
            do! browser.Shows("the result", hasText "told" "2 dead letters removed.")
            do! browser.Shows("the new one is there", $"{rows} === 1")
            do! browser.Shows("which is the last", hasText "letters" "POST /4")

            // One that is gone when somebody asks for it.
            let! _ =
                browser.Evaluate
                    "fetch('api/dead/drop?all=true', {method: 'POST'}).then(answer => answer.status)"

            do! click browser "tbody button[data-action=drop]"
            do! browser.Shows("told", hasText "told" "No such dead letter is left.")
            Expect.isEmpty browser.Complaints "the console"
        }

        testCaseTask "without JavaScript there are no buttons, but the commands, and the filter works"
        <| fun () -> task {
            needsBrowser ()
            use folder = new TestFolder()
            use refusing = gone ()
            let! program, proxy, url = start folder refusing.Port
            use _ = program
            use! browser = Browser.Start()
            do! send proxy "/one"
            let! _ = browser.Call("Emulation.setScriptExecutionDisabled", """{"value":true}""")
            do! untilThere browser (url + "dead") 1

            let! seen =
                browser.Evaluate
                    "[...document.querySelectorAll('button[data-action]')].filter(b => b.offsetParent !== null).length"

            Expect.equal seen "0" "buttons"
            let! said = browser.Evaluate "document.querySelector('noscript').textContent"
            Expect.stringContains said "k8sreq dead replay" "the command"
            let! _ = browser.Evaluate "document.getElementById('clone').value = 'shop/nobody'"
            let! _ = browser.Evaluate "document.querySelector('form button').click()"
            do! browser.Shows("what fits", hasText "letters" "No dead letter matches.")
            do! browser.Shows("what was asked", "document.getElementById('clone')?.value === 'shop/nobody'")
        }

        testCaseTask "light and dark, wide and on a phone"
        <| fun () -> task {
            needsBrowser ()
            use folder = new TestFolder()
            use refusing = gone ()
            let! program, proxy, url = start folder refusing.Port
            use _ = program
            use! browser = Browser.Start()

            for number in 1..4 do
                do! send proxy $"/hooks/{number}?source=shop"

            do! send proxy ("/hooks/" + String('x', 2000))
            do! untilThere browser (url + "dead") 5

            let wide =
                "document.documentElement.scrollWidth <= document.documentElement.clientWidth"

            for width in [ 320; 375; 768; 1024; 1089; 1280; 1439; 1920 ] do
                do! browser.Size(width, 800, width < 500)
                do! browser.Shows($"nothing sticks out at {width}", wide)

            do! browser.Size(1280, 800, false)

            for theme in [ "light"; "dark" ] do
                do! browser.Theme theme
                do! browser.Picture(Path.Combine(pictures, $"dead-{theme}.png"))

            do! browser.Shows("nothing sticks out", wide)
            do! click browser "p button[data-action=drop]"
            do! browser.Shows("it asks", isAsking)
            do! browser.Picture(Path.Combine(pictures, "dead-dialog.png"))
            do! click browser "#cancel"
            do! browser.Theme "light"
            do! browser.Size(390, 844, true)
            do! browser.Shows("nor on a phone", wide)
            do! browser.Picture(Path.Combine(pictures, "dead-phone.png"))
            let! _ = browser.Evaluate "document.getElementById('letters').scrollIntoView()"
            do! browser.Picture(Path.Combine(pictures, "dead-phone-table.png"))

            do! browser.Go url
            let routes = "document.getElementById('routes') !== null"
            do! browser.Shows("the status page with a journal", $"{routes} && {wide}")
            do! browser.Picture(Path.Combine(pictures, "journal-phone.png"))
            do! browser.Size(1280, 1000, false)
            do! browser.Shows("which is wide enough, too", wide)
            do! browser.Picture(Path.Combine(pictures, "journal-light.png"))
            do! browser.Size(1100, 1000, false)
            do! browser.Shows("and so is less", wide)
        }
    ]
