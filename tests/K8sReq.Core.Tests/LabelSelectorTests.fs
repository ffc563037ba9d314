module K8sReq.Core.Tests.LabelSelectorTests

open System
open Expecto
open K8sReq.Core

let tests =
    testList "LabelSelector" [
        for text in
            [
                ""
                " "
                "team=a"
                "team==a"
                "team = a , tier != test"
                "team=a,tier!=test"
                "app in (x, y),tier notin (z)"
                "app in (x,)"
                "app in ()"
                "!canary"
                "! canary"
                "canary"
                "in=a"
                "notin in (in)"
                "example.com/team=a"
                "team="
                "team=,app"
                "weight>5"
                "weight < -5"
                "A_b.c-d=E_f.g-h"
            ] do
            test $"\"{text}\" is one" { Expect.isTrue (LabelSelector.isValid text) "taken" }

        for text in
            [
                ","
                "team=a,"
                ",team=a"
                "team=a,,tier=b"
                "team=a b"
                "team in a"
                "team in (a"
                "team in a)"
                "team in (a b)"
                "team notin"
                "team=a)"
                "team=a=b"
                "team!b"
                "team===a"
                "=a"
                "!"
                "!team=a"
                "-team=a"
                "team=-a"
                "team=a/b"
                "a/b/c=d"
                "/team=a"
                "Example.com/team=a"
                "weight>x"
                "team;tier"
                "team=ä"
                String('a', 64)
                "team=" + String('a', 64)
            ] do
            test $"\"{text}\" is none" { Expect.isFalse (LabelSelector.isValid text) "refused" }
    ]
