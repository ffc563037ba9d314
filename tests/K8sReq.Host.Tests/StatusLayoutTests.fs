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

// Words that are broken within, in the list of what is failing, in the table of routes, and in the heads of tables.
let private brokenWords =
    """(() => {
        const broken = [];
        for (const element of document.querySelectorAll(".troubles a, .troubles .for, #routes th.route, #routes td, thead th, dt, .badge")) {
            if (element.getBoundingClientRect().left < 0) continue;
            const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
            while (walker.nextNode()) {
                const text = walker.currentNode;
                for (const word of text.textContent.matchAll(/\S+/g)) {
                    if (word[0].length > 24) continue;
                    const range = document.createRange();
                    range.setStart(text, word.index);
                    range.setEnd(text, word.index + word[0].length);
                    const lines = new Set([...range.getClientRects()].filter((box) => box.width > 1).map((box) => Math.round(box.top)));
                    if (lines.size > 1) broken.push(word[0]);
                }
            }
        }
        return broken.slice(0, 5).join("; ");
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

                Expect.stringContains
                    first
                    "Lost: 624 in 10 minutes, 8,494 since the start"
                    "how much is lost"

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

                // From the beginning to the end, which is where the document has the focus again.
                do! browser.Go url
                do! browser.Shows("it is live", isLive)
                let mutable isOver = false
                let mutable reached = 0

                while not isOver do
                    do! browser.Press "Tab"
                    let! isEnd = browser.Evaluate "document.activeElement === document.body"
                    isOver <- isEnd = "True" || reached > 200

                    if not isOver then
                        reached <- reached + 1
                        let! seen = browser.Evaluate focused
                        Expect.isFalse (seen.StartsWith "unseen") $"the focus of {seen}"

                        let! isAfter =
                            browser.Evaluate
                                "(() => { const now = document.activeElement; const is = !window.before?.isConnected || (window.before.compareDocumentPosition(now) & 4) !== 0; window.before = now; return is; })()"

                        Expect.equal isAfter "True" $"{seen} comes after what is before it"

                let! links =
                    browser.Evaluate
                        "document.querySelectorAll('a[href], button:not([hidden]), input, select').length"

                Expect.equal reached (int links) "each once"
                let! _ = browser.Evaluate "document.querySelector('#routes th a').focus()"
                do! browser.Press "Enter"

                do!
                    browser.Shows(
                        "its page",
                        "document.getElementById('route-title')?.textContent === 'shop/orders-to-billing'"
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
                        "document.getElementById('route-state').textContent.includes('Service shop/audit does not exist')"
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

        for name, scene, path, width, height in
            [
                "trouble", StatusScenes.trouble, "", 1280, 800
                "trouble-whole", StatusScenes.trouble, "", 1280, 2200
                "trouble-phone", StatusScenes.trouble, "", 390, 780
                "route", StatusScenes.trouble, "routes/shop/orders-to-billing", 1280, 800
                "route-whole", StatusScenes.trouble, "routes/shop/orders-to-billing", 1280, 2200
                "route-phone", StatusScenes.trouble, "routes/shop/orders-to-billing", 390, 780
                "well", StatusScenes.well, "", 1280, 560
                "long-names", StatusScenes.longNames, "", 1089, 1200
                "empty", StatusScenes.empty, "", 1280, 560
            ] do
            testCaseTask $"picture: {name}"
            <| fun () ->
                inBrowser scene (fun url browser -> task {
                    do! browser.Size(width, height, width < 500)
                    do! browser.Go(url + path)
                    do! browser.Shows("it is live", isLive)

                    for theme in [ "light"; "dark" ] do
                        do! browser.Theme theme
                        do! browser.Picture(Path.Combine(pictures, $"{name}-{theme}.png"))
                })
    ]
