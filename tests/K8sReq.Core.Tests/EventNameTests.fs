module K8sReq.Core.Tests.EventNameTests

open System
open System.Text.RegularExpressions
open Expecto
open FsCheck
open FsCheck.FSharp
open K8sReq.Core

let private subdomain =
    Regex @"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\z"

let private at = DateTimeOffset(2026, 11, 25, 5, 0, 0, TimeSpan.Zero)

// Names as the API server takes them, long ones among them.
let private names = gen {
    let! parts = Gen.choose (1, 60)

    let! labels =
        Gen.listOfLength parts (Gen.elements [ "a"; "a-b"; "x9"; "a--b"; "0123456789" ])

    let name = String.concat "." labels
    return name.Substring(0, min 253 name.Length).TrimEnd('.', '-')
}

let tests =
    testList "EventName" [
        test "the object's name and the time" {
            Expect.equal (EventName.create "third" at) "third.8df4ab0f54c0800" "as others name theirs"
            Expect.notEqual (EventName.create "third" (at.AddTicks 1L)) (EventName.create "third" at) "unique"
        }

        testProperty "whatever the object is called, the API server takes the name"
        <| Prop.forAll (Arb.fromGen names) (fun name ->
            let event = EventName.create name at

            event.Length <= 253
            && subdomain.IsMatch event
            && event.StartsWith(name.Substring(0, min 200 name.Length).TrimEnd('.', '-')))
    ]
