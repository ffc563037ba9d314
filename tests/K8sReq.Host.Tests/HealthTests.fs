module K8sReq.Host.Tests.HealthTests

open System
open Expecto
open K8sReq.Core
open K8sReq.Host.Admin.Status
open K8sReq.Host.Tests

let private ask (scene: Scene) =
    let snapshot = StatusSnapshot(Scene.sources scene)
    let summary, overview = snapshot.Summary(), snapshot.Overview()
    Health.verdict summary overview, Health.losses summary overview

let private sentence (scene: Scene) = (fst (ask scene)).Sentence

let tests =
    testList "health" [
        test "all is well" {
            let verdict, losses = ask StatusScenes.well
            Expect.equal verdict.Tone "good" "green"

            Expect.equal verdict.Sentence "All is well: 4 routes deliver, 1 is idle." "the sentence"

            Expect.stringContains losses ", none lost. None lost since the start." "nothing is lost"
        }

        test "all deliver" {
            Expect.equal
                (sentence {
                    StatusScenes.well with
                        Routes = List.truncate 4 StatusScenes.well.Routes
                })
                "All 4 routes deliver."
                "the sentence"
        }

        test "one that delivers, and one that has nothing to deliver" {
            let scene routes = { Scene.empty with Routes = routes }

            Expect.equal
                (sentence (scene [ SceneRoute.delivering "a" "a.example" 1 ]))
                "The only route delivers."
                "one"

            Expect.equal
                (sentence (scene [ SceneRoute.idle "a" "a.example" ]))
                "No copy was sent in the last 10 minutes, and none waits."
                "idle"
        }

        test "what is wrong is counted, the worst first, with what is lost" {
            let verdict, losses = ask StatusScenes.trouble
            Expect.equal verdict.Tone "bad" "red"

            Expect.equal
                verdict.Sentence
                "1 of 10 routes fails, 1 drops copies, 1 is not routed, 1 waits and 1 is slow."
                "the sentence"

            Expect.stringContains losses "Last 10 minutes: 872 copies lost of " "lately"
            Expect.stringContains losses "Since the start: 8,742 lost of " "in all"
        }

        test "slow is not lost: amber" {
            let verdict, _ =
                ask {
                    Scene.empty with
                        Routes = [
                            {
                                SceneRoute.delivering "a" "a.example" 1 with
                                    Took = TimeSpan.FromSeconds 4.0
                            }
                        ]
                }

            Expect.equal
                verdict
                {
                    Tone = "warn"
                    Sentence = "The only route is slow."
                }
                "amber"
        }

        test "before anything is known, without a RequestClone, and not ready" {
            Expect.equal
                (sentence { Scene.empty with IsReady = false })
                "Not ready: the routes are not known yet."
                "unknown"

            Expect.equal
                (sentence Scene.empty)
                "There is no RequestClone: requests are refused with 503."
                "none"
        }

        test "a name in a command is one word of the shell" {
            Expect.equal (Commands.quoted "shop/copy-0") "shop/copy-0" "plain"
            Expect.equal (Commands.quoted "x; rm -rf /") "'x; rm -rf /'" "quoted"
            Expect.equal (Commands.quoted "it's") "'it'\\''s'" "a quote"
            Expect.equal (Commands.quoted "") "''" "nothing"
        }
    ]
