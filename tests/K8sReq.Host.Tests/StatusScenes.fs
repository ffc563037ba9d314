/// The states that the page is looked at in.
module K8sReq.Host.Tests.StatusScenes

open System
open System.Net
open K8sReq.Core
open K8sReq.Host.Admin.Status

let private nothing (_: int) = 0

let private healthy = [
    SceneRoute.delivering "github-to-ci" "webhooks.acme.example" 42
    SceneRoute.delivering "github-to-chat" "webhooks.acme.example" 42
    SceneRoute.delivering "payments-to-ledger" "payments.acme.example" 180
    SceneRoute.delivering "payments-to-staging" "payments.acme.example" 9
    SceneRoute.idle "newsletter" "mail.acme.example"
]

/// Nothing is wrong.
let well: Scene = {
    Scene.empty with
        Routes = healthy
        Replicas = Some 2
}

let private retrying = {
    DeliveryPolicy.byDefault with
        Retry = {
            DeliveryPolicy.byDefault.Retry with
                Retries = 3
        }
        ExpireAfter = Some(TimeSpan.FromHours 24.0)
        Durability = Some Durability.Journal
        DeadLetterKeep = Some(TimeSpan.FromDays 7.0)
}

/// One route in each state.
let trouble: Scene = {
    Scene.empty with
        Routes =
            healthy
            @ [
                {
                    SceneRoute.failing "orders-to-billing" "orders.acme.example" 24 34 with
                        Delivery = retrying
                        LostBefore = 7_870L
                        Took = TimeSpan.FromMilliseconds 640.0
                        Stored = {
                            Backlog = 0L
                            OldestAge = TimeSpan.Zero
                            DeadLetters = 8_494L
                        }
                }
                {
                    SceneRoute.delivering "orders-to-search" "orders.acme.example" 24 with
                        Dropped = fun slot -> if slot < 52 then 0 else 31
                        Queued = 940
                }
                {
                    SceneRoute.idle "orders-to-warehouse" "orders.acme.example" with
                        Delivery = retrying
                        Stored = {
                            Backlog = 1_312L
                            OldestAge = TimeSpan.FromMinutes 23.0
                            DeadLetters = 0L
                        }
                }
                {
                    SceneRoute.delivering "crm" "crm.acme.example" 5 with
                        Took = TimeSpan.FromSeconds 3.4
                }
                {
                    SceneRoute.idle "audit" "audit.acme.example" with
                        Address = None
                }
            ]
        UnknownHosts = [ "webhook.acme.example", 61; "payments.acme.exmaple", 12; "10.42.0.17", 2 ]
        HasJournal = true
        Replicas = Some 3
}

// Sixty characters, as people name things; and the longest host that there is.
let private longName (letter: char) : string =
    $"customer-notification-preferences-synchronisation-service-{letter}x"

let private longHost (first: string) : string =
    let label = String('a', 63)
    ($"{first}-{label}".Substring(0, 63)) + $".{label}.{label}." + String('b', 61)

/// Names as long as they can be.
let longNames: Scene = {
    Scene.empty with
        Routes = [
            {
                SceneRoute.failing (longName 'a') (longHost "first") 240_000 30 with
                    Delivered = nothing
                    Failed = fun slot -> if slot > 40 then 1 else 0
                    LostBefore = 123_456_789_012L
                    Outcome = TargetOutcome.ConnectFailed(String('e', 300))
                    Address = Some(IPAddress.Parse "fd00:1234:5678:9abc:def0:1234:5678:9abc")
                    Stored = {
                        Backlog = 123_456_789L
                        OldestAge = TimeSpan.FromDays 40.0
                        DeadLetters = 123_456_789L
                    }
            }
            {
                SceneRoute.idle (longName 'b') (longHost "second") with
                    Address = None
            }
            SceneRoute.delivering
                (longName 'c')
                "customer-notification-preferences.synchronisation.acme.example"
                3
        ]
        UnknownHosts = [ longHost "unknown", 3; "an.unknown.host.example", 1 ]
        HasJournal = true
}

/// Before anything is there.
let empty: Scene = Scene.empty
