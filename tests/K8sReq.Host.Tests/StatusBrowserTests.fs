/// The status page as its readers have it: in a browser, with and without JavaScript.
module K8sReq.Host.Tests.StatusBrowserTests

open System.IO
open System.Threading.Tasks
open Expecto
open K8sReq.TestKit

// Where pictures of the page are left, for people to look at.
let private pictures =
    Path.Combine(PublishedProgram.Root, "artifacts", "status-page")

let private manifests (good: int) (bad: int) =
    Manifests.route "webhooks.example" [ good; bad ]
    + Manifests.clone "missing" "orders.example" "nobody"
    + Manifests.clone "hostile" "<img src=x onerror=alert(1)>" "<script>alert(2)</script>"

let private send (proxy: TestProxy) (count: int) : Task<unit> = task {
    for _ in 1..count do
        let! answer = TestClient.get proxy.Port "webhooks.example"
        Expect.equal (TestClient.status answer) 202 "accepted"

    do! proxy.Settled()
}

let private inBrowser (test: TestProxy -> Browser -> Task<unit>) : Task<unit> = task {
    if not Browser.IsInstalled then
        skiptest "Chromium is not installed"

    use good = TestTarget.ok ()
    use bad = TestTarget.answering "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"
    use! proxy = TestProxy.Start(manifests good.Port bad.Port)
    use! browser = Browser.Start()
    do! test proxy browser
    Expect.isEmpty browser.Complaints "the console"
}

let private urlOf (proxy: TestProxy) = $"http://localhost:{proxy.StatusPort}/"

let private cell (name: string) (label: string) =
    $"document.getElementById('route/shop/{name}').querySelector('[data-label=\"{label}\"]').firstChild.textContent"

let private isLive = "document.getElementById('live').textContent === 'live'"

let tests =
    testSequenced
    <| testList "the status page in a browser" [
        testCaseTask "it is up to date while requests come, and nobody touches it"
        <| fun () ->
            inBrowser (fun proxy browser -> task {
                do! send proxy 2
                do! browser.Go(urlOf proxy)
                do! browser.Shows("it is live", isLive)
                let delivered = cell "copy-0" "Delivered, 10 min"
                do! browser.Shows("what has been", $"{delivered} === '2'")
                do! send proxy 5
                do! browser.Shows("what came meanwhile", $"{delivered} === '7'")
                do! browser.Shows("and failed", cell "copy-1" "Lost, 10 min" + " === '7'")

                do!
                    browser.Shows(
                        "a failure",
                        "document.getElementById('failures').textContent.includes('answered 503')"
                    )

                // A new RequestClone comes by itself, too.
                proxy.Folder.Write("new.yaml", Manifests.clone "late" "late.example" "nobody")
                do! browser.Shows("a new route", "document.getElementById('route/shop/late') !== null")
            })

        testCaseTask "names from the cluster are text"
        <| fun () ->
            inBrowser (fun proxy browser -> task {
                do! browser.Go(urlOf proxy)
                do! browser.Shows("it is live", isLive)
                let health = "document.getElementById('health')"

                do!
                    browser.Shows(
                        "the name",
                        $"{health}.textContent.includes('<img src=x onerror=alert(1)>')"
                    )

                let! elements =
                    browser.Evaluate "document.querySelectorAll('img, main script').length"

                Expect.equal elements "0" "no element of it"
            })

        testCaseTask "with the keyboard: a filter, a pause, and on"
        <| fun () ->
            inBrowser (fun proxy browser -> task {
                do! browser.Go(urlOf proxy)
                do! browser.Shows("it is live", isLive)
                do! browser.Press "Tab"
                do! browser.Shows("the way past everything", "document.activeElement.className === 'skip'")
                do! browser.Press "/"
                do! browser.Shows("the filter", "document.activeElement.id === 'q'")
                do! browser.Type "orders"
                let rows = "document.querySelectorAll('#routes tbody tr').length"
                do! browser.Shows("one route", $"{rows} === 1")
                do! browser.Shows("which can be kept", "location.search === '?q=orders'")
                do! browser.Press "Escape"
                do! browser.Shows("all routes", $"{rows} === 4")

                let! _ = browser.Evaluate "document.getElementById('pause').focus()"
                do! browser.Press " "
                do! browser.Shows("paused", "document.getElementById('live').textContent === 'paused'")

                do!
                    browser.Shows(
                        "and it says so",
                        "document.getElementById('pause').getAttribute('aria-pressed') === 'true'"
                    )

                do! send proxy 1
                do! browser.Press " "
                do! browser.Shows("it goes on", isLive)
                do! browser.Shows("with what came meanwhile", cell "copy-0" "Delivered, 10 min" + " === '1'")
            })

        testCaseTask "without JavaScript it shows the same, and loads itself again"
        <| fun () ->
            inBrowser (fun proxy browser -> task {
                do! send proxy 3
                // The page cannot be asked then; its markup can.
                let! _ = browser.Call("Emulation.setScriptExecutionDisabled", """{"value":true}""")
                do! browser.Go(urlOf proxy + "?q=webhooks")
                let! rows = browser.Evaluate "document.querySelectorAll('#routes tbody tr').length"
                Expect.equal rows "2" "the filter"
                let! delivered = browser.Evaluate(cell "copy-0" "Delivered, 10 min")
                Expect.equal delivered "3" "the figures"

                let! refreshed =
                    browser.Evaluate "document.querySelector('meta[http-equiv=refresh]').content"

                Expect.equal refreshed "15" "seconds"
            })

        testCaseTask "light and dark, wide and on a phone"
        <| fun () ->
            inBrowser (fun proxy browser -> task {
                do! send proxy 40
                do! browser.Size(1280, 1000, false)
                do! browser.Go(urlOf proxy)
                do! browser.Shows("it is live", isLive)

                let background =
                    "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).reduce((a, b) => a + Number(b), 0)"

                let wide =
                    "document.documentElement.scrollWidth <= document.documentElement.clientWidth"

                for theme, isBright in [ "light", true; "dark", false ] do
                    do! browser.Theme theme
                    let! brightness = browser.Evaluate background
                    Expect.equal (int brightness > 380) isBright theme
                    do! browser.Picture(Path.Combine(pictures, $"{theme}.png"))

                do! browser.Shows("nothing sticks out", wide)
                do! browser.Theme "light"
                do! browser.Size(390, 844, true)
                do! browser.Shows("nor on a phone", wide)

                do!
                    browser.Shows(
                        "where a row is a card",
                        "getComputedStyle(document.getElementById('route/shop/copy-0')).display === 'grid'"
                    )

                let! _ = browser.Evaluate "document.getElementById('filter').scrollIntoView()"
                do! browser.Picture(Path.Combine(pictures, "phone.png"))
            })
    ]
