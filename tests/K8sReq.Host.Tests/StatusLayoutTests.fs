/// How the status page and the page of a route look, in states of our choice: at every width, in both themes, by keyboard and
/// without script. Leaves pictures of them.
module K8sReq.Host.Tests.StatusLayoutTests

open System.IO
open System.Threading.Tasks
open Expecto
open K8sReq.TestKit

// Where pictures of the page are left: `build.fsx screenshots` takes those of the documents from here.
let private pictures =
    Path.Combine(PublishedProgram.Root, "artifacts", "status-page")

let private scenes = [
    "well", StatusScenes.well
    "trouble", StatusScenes.trouble
    "long names", StatusScenes.longNames
    "empty", StatusScenes.empty
]

// The page itself, and pages of routes.
let private pagesOf (scene: Scene) : string list =
    "" :: [ for route in scene.Routes -> $"routes/shop/{route.Name}" ]

let private inBrowser (scene: Scene) (test: string -> Browser -> Task<unit>) : Task<unit> = task {
    if not Browser.IsInstalled then
        skiptest "Chromium is not installed"

    use! server = SceneServer.Start scene
    use! browser = Browser.Start()
    do! test server.Url browser
    Expect.isEmpty browser.Complaints "the console"
}

let private isLive = "document.getElementById('live').textContent === 'live'"

let private widths = [ 320; 375; 768; 1024; 1089; 1280; 1439; 1440; 1920 ]

// What is wider than the window or than its own box, in words; empty if nothing is.
let private sticksOut =
    """(() => {
        const width = document.documentElement.clientWidth;
        const seen = [...document.querySelectorAll("body *")].filter((element) => !element.closest(".skip, table.rows thead"));
        const name = (element) => element.tagName + "." + (element.getAttribute("class") ?? "") + " " + element.textContent.slice(0, 40);
        const out = seen.filter((element) => {
            const box = element.getBoundingClientRect();
            return box.width > 0 && (box.right > width + 0.5 || box.left < -0.5);
        });
        const overfull = seen.filter((element) =>
            getComputedStyle(element).display !== "inline" && element.scrollWidth > element.clientWidth + 1 && element.clientWidth > 0
            && !(element instanceof SVGElement) && !element.matches("input, select"));
        const wide = document.documentElement.scrollWidth > width ? ["the page is " + document.documentElement.scrollWidth] : [];
        return [...wide, ...out.map((e) => "out: " + name(e)), ...overfull.map((e) => "overfull: " + name(e))].slice(0, 5).join("; ");
    })()"""

// Words of names that are broken within, in the table of routes and in the list of what is failing.
let private brokenWords =
    """(() => {
        const texts = [];
        for (const element of document.querySelectorAll(".troubles a, .troubles .for, #routes th.route")) {
            const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
            while (walker.nextNode()) texts.push(walker.currentNode);
        }
        return texts.filter((text) => {
            if (text.textContent.trim().includes(" ") || text.textContent.length > 24) return false;
            const range = document.createRange();
            range.selectNodeContents(text);
            return new Set([...range.getClientRects()].filter((box) => box.width > 1).map((box) => Math.round(box.top))).size > 1;
        }).map((text) => text.textContent).join("; ");
    })()"""

// Texts with less contrast than 4.5 to what is behind them, and bars with less than 3; empty if there are none.
let private faint =
    """(() => {
        const numbers = (color) => (color.match(/[\d.]+/g) ?? []).map(Number);
        const linear = (value) => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
        const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
        const contrast = (one, other) => {
            const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
            return (high + 0.05) / (low + 0.05);
        };
        const behind = (element) => {
            for (let e = element; e; e = e.parentElement) {
                const color = numbers(getComputedStyle(e).backgroundColor);
                if (color.length === 3 || color[3] === 1) return color;
            }
            return [255, 255, 255];
        };
        const bad = [];
        for (const element of document.querySelectorAll("body *")) {
            const hasText = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim() !== "");
            const style = getComputedStyle(element);
            const check = (color, least, what) => {
                const found = contrast(numbers(color), behind(element));
                if (found < least) bad.push(what + " " + element.tagName + "." + element.getAttribute("class") + " " + found.toFixed(2));
            };
            if (hasText && !(element instanceof SVGElement)) check(style.color, 4.5, element.textContent.slice(0, 20));
            if (element.matches("input")) check(getComputedStyle(element, "::placeholder").color, 4.5, "placeholder");
            if (element.matches("path.delivered, path.failed, path.dropped")) check(style.fill, 3, "bar");
        }
        return bad.slice(0, 5).join("; ");
    })()"""

let private none (browser: Browser) (what: string) (question: string) : Task<unit> = task {
    let! found = browser.Evaluate question
    Expect.equal found "" what
}

// The element with the focus, and whether that is to be seen.
let private focused =
    """(() => {
        const element = document.activeElement;
        const style = getComputedStyle(element);
        const isSeen = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
        return (isSeen ? "" : "unseen ") + (element.id || element.textContent.trim().slice(0, 30) || element.tagName);
    })()"""

// For the pictures: a window, a theme, a place.
let private picture
    (browser: Browser)
    (name: string)
    (width: int)
    (height: int)
    (theme: string)
    : Task<unit> = task {
    do! browser.Size(width, height, width < 500)
    do! browser.Theme theme
    do! browser.Picture(Path.Combine(pictures, $"{name}.png"))
}

let tests =
    testSequenced
    <| testList "how the status page looks" [
        for name, scene in scenes do
            testCaseTask $"{name}: nothing sticks out at any width, and no word of a name is broken"
            <| fun () ->
                inBrowser scene (fun url browser -> task {
                    for path in List.truncate 3 (pagesOf scene) do
                        do! browser.Go(url + path)
                        do! browser.Shows("it is live", isLive)

                        for width in widths do
                            do! browser.Size(width, 900, width < 500)
                            do! none browser $"/{path} at {width}" sticksOut
                            do! none browser $"/{path} at {width}, words" brokenWords
                })

            testCaseTask $"{name}: every text has contrast in both themes"
            <| fun () ->
                inBrowser scene (fun url browser -> task {
                    for path in pagesOf scene do
                        do! browser.Go(url + path)
                        do! browser.Shows("it is live", isLive)

                        for theme in [ "light"; "dark" ] do
                            do! browser.Theme theme
                            do! none browser $"/{path}, {theme}" faint
                })

        testCaseTask "what is failing is the first thing on a phone"
        <| fun () ->
            inBrowser StatusScenes.trouble (fun url browser -> task {
                do! browser.Size(375, 667, true)
                do! browser.Go url

                let place =
                    "document.querySelector('.troubles li').getBoundingClientRect().bottom < 667"

                do! browser.Shows("the first in the list", place)
                let! first = browser.Evaluate "document.querySelector('.troubles li').textContent"
                Expect.stringContains first "orders-to-billing" "which"
                Expect.stringContains first "answered 503" "why"
                Expect.stringContains first "Since 13:57 UTC" "since when"
                Expect.stringContains first "624 in 10 minutes, 8,494 since the start" "how much is lost"

                let! states =
                    browser.Evaluate
                        "[...document.querySelectorAll('#routes .badge')].map((badge) => badge.textContent).join()"

                Expect.equal
                    states
                    "Failing,Dropping,Not routed,Waiting,Slow,Delivering,Delivering,Delivering,Delivering,Idle"
                    "the worst first"
            })

        testCaseTask
            "by the keyboard: past everything, to each thing in its order, and to the page of a route and back"
        <| fun () ->
            inBrowser StatusScenes.trouble (fun url browser -> task {
                do! browser.Size(1280, 900, false)
                do! browser.Go url
                do! browser.Shows("it is live", isLive)
                do! browser.Press "Tab"
                do! browser.Press "Enter"
                do! browser.Shows("past the header", "document.activeElement.id === 'content'")
                do! browser.Press "Tab"
                let! first = browser.Evaluate focused
                Expect.equal first "shop/orders-to-billing" "what is failing"

                let! _ = browser.Evaluate "document.activeElement.blur(); window.before = null"

                let! count =
                    browser.Evaluate "document.querySelectorAll('a, button, input, select').length"

                for _ in 1 .. int count - 1 do
                    do! browser.Press "Tab"
                    let! seen = browser.Evaluate focused
                    Expect.isFalse (seen.StartsWith "unseen") $"the focus of {seen}"

                    let! isAfter =
                        browser.Evaluate
                            "(() => { const now = document.activeElement; const is = !window.before || (window.before.compareDocumentPosition(now) & 4) !== 0 || now.className === 'skip' || now === document.body; window.before = now; return is; })()"

                    Expect.equal isAfter "True" $"{seen} comes after what is before it"

                let! _ = browser.Evaluate "document.querySelector('#routes th a').focus()"
                do! browser.Press "Enter"

                do!
                    browser.Shows(
                        "its page",
                        "document.getElementById('state-title')?.textContent === 'shop/orders-to-billing'"
                    )

                do! browser.Shows("which is live", isLive)
                let! _ = browser.Evaluate "document.querySelector('nav a').focus()"
                do! browser.Press "Enter"
                do! browser.Shows("all routes", "document.getElementById('routes') !== null")
            })

        testCaseTask "without script all of it is there to be read"
        <| fun () ->
            inBrowser StatusScenes.trouble (fun url browser -> task {
                let! _ = browser.Call("Emulation.setScriptExecutionDisabled", """{"value":true}""")
                do! browser.Go url
                let! text = browser.Evaluate "document.getElementById('content').innerText"

                for words in
                    [
                        "1 of 10 routes fails, 1 drops copies, 1 is not routed, 1 waits and 1 is slow."
                        "Service shop/audit does not exist"
                        "webhook.acme.example"
                    ] do
                    Expect.stringContains text words words

                do! browser.Go(url + "routes/shop/orders-to-billing")
                let! text = browser.Evaluate "document.getElementById('content').innerText"

                for words in
                    [
                        "100 % of copies failed in the last minute: answered 503."
                        "3, exponential backoff from 200ms to 30s"
                        "kubectl --namespace shop describe requestclones orders-to-billing"
                        "8,494"
                    ] do
                    Expect.stringContains text words words

                let! bars =
                    browser.Evaluate
                        "document.querySelector('.plot path.failed').getAttribute('d').split('M').length - 1"

                Expect.equal bars "26" "the chart: as many bars as ten seconds failed"

                let! buttons =
                    browser.Evaluate
                        "[...document.querySelectorAll('button')].filter((button) => button.offsetParent !== null).length"

                Expect.equal buttons "0" "no button that does nothing"
                let! _ = browser.Evaluate "document.querySelector('summary').click()"

                let! minutes =
                    browser.Evaluate "document.querySelectorAll('#as-table tbody tr').length"

                Expect.equal minutes "10" "and the same as numbers"
            })

        testCaseTask "a line is copied, and what was opened stays open"
        <| fun () ->
            inBrowser StatusScenes.trouble (fun url browser -> task {
                do! browser.Go(url + "routes/shop/audit")
                do! browser.Shows("it is live", isLive)

                do!
                    browser.Shows(
                        "why it is not routed",
                        "document.getElementById('state').textContent.includes('Service shop/audit does not exist')"
                    )

                let! _ =
                    browser.Evaluate
                        "navigator.clipboard.writeText = (text) => { window.copied = text; return Promise.resolve(); }; document.querySelector('button[data-copy]').click()"

                do!
                    browser.Shows(
                        "copied",
                        "window.copied === 'kubectl --namespace shop describe requestclones audit'"
                    )

                do!
                    browser.Shows(
                        "which it tells",
                        "document.querySelector('button[data-copy]').textContent === 'Copied'"
                    )
            })

        testCaseTask "pictures of each state"
        <| fun () ->
            inBrowser StatusScenes.trouble (fun url browser -> task {
                do! browser.Go url
                do! browser.Shows("it is live", isLive)
                do! picture browser "trouble-light" 1280 1000 "light"
                do! picture browser "trouble-dark" 1280 1000 "dark"
                do! picture browser "trouble-phone" 390 844 "light"
                do! picture browser "trouble-long" 1280 2400 "light"
                do! picture browser "trouble-phone-long" 390 4000 "light"
                do! browser.Go(url + "routes/shop/orders-to-billing")
                do! browser.Shows("it is live", isLive)
                do! picture browser "route-light" 1280 1000 "light"
                do! picture browser "route-dark" 1280 1000 "dark"
                do! picture browser "route-long" 1280 2400 "light"
                do! picture browser "route-phone" 390 844 "light"
                use! well = SceneServer.Start StatusScenes.well
                do! browser.Go well.Url
                do! browser.Shows("it is live", isLive)
                do! picture browser "well-light" 1280 760 "light"
                use! named = SceneServer.Start StatusScenes.longNames
                do! browser.Go named.Url
                do! browser.Shows("it is live", isLive)
                do! picture browser "long-names" 1089 1200 "light"
                use! empty = SceneServer.Start StatusScenes.empty
                do! browser.Go empty.Url
                do! browser.Shows("it is live", isLive)
                do! picture browser "empty-light" 1280 760 "light"
            })
    ]
