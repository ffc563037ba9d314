module K8sReq.Core.Tests.StatusQueryTests

open System
open System.Net
open Expecto
open FsCheck.FSharp
open K8sReq.Core

let private ofPairs (pairs: (string * string) list) : StatusQuery =
    let fields = Map.ofList pairs
    StatusQuery.ofFields RouteOrder.Host fields.TryFind

// As a server reads it.
let private ofQueryString (text: string) : StatusQuery =
    text.TrimStart('?').Split('&', StringSplitOptions.RemoveEmptyEntries)
    |> Seq.map (fun field ->
        let equals = field.IndexOf '='
        field.Substring(0, equals), Uri.UnescapeDataString(field.Substring(equals + 1)))
    |> List.ofSeq
    |> ofPairs

let private clone (host: string) (name: string) (service: string) (address: string option) : ResolvedClone =
    let key = ObjectKey.create "shop" name

    match HostName.parse host with
    | Error _ -> {
        Clone = {
            Key = key
            Spec = Error []
            Observed = None
        }
        Resolved = Error(ResolutionError.InvalidSpec [])
      }
    | Ok host -> {
        Clone = {
            Key = key
            Spec =
                Ok {
                    Host = host
                    Matches = []
                    Filters = []
                    ServiceName = service
                    ServicePort = PortRef.Number 80
                    Delivery = DeliveryPolicy.byDefault
                }
            Observed = None
        }
        Resolved =
            match address with
            | None -> Error(ResolutionError.ServiceNotFound(ObjectKey.create "shop" service))
            | Some address ->
                Ok {
                    Clone = key
                    Host = host
                    Service = ObjectKey.create "shop" service
                    Address = IPAddress.Parse address
                    Port = 80
                    Matches = [||]
                    Edit = HeadEdit.none
                    Delivery = DeliveryPolicy.byDefault
                }
      }

let private routed = clone "a.example" "copy" "app" (Some "10.0.0.7")
let private unrouted = clone "b.example" "other" "gone" None
let private invalid = clone "*" "broken" "" None

let private queries =
    gen {
        let! text = Gen.elements [ ""; "a"; "shop/x"; "10.0.0.7:80"; "ä&=+% ?#"; "<b>" ]

        let! state =
            Gen.elements [
                RouteStateFilter.All
                RouteStateFilter.Unrouted
                RouteStateFilter.Failing
                RouteStateFilter.Trouble
            ]

        let! order = Gen.elements [ RouteOrder.Host; RouteOrder.Trouble ]

        let! offset = Gen.elements [ 0; 1; 50; Int32.MaxValue ]
        let! limit = Gen.elements [ 1; StatusQuery.usualLimit; StatusQuery.longestLimit ]

        return {
            Text = text
            State = state
            Order = order
            Offset = offset
            Limit = limit
        }
    }
    |> Arb.fromGen

let tests =
    testList "StatusQuery" [
        test "without fields it is everything" {
            Expect.equal (ofPairs []) StatusQuery.all "all"
            Expect.equal (StatusQuery.toQueryString RouteOrder.Host StatusQuery.all) "" "no query string"
        }

        test "what is not understood counts as not said" {
            Expect.equal
                (ofPairs [ "state", "asleep"; "offset", "many"; "limit", ""; "x", "y" ])
                StatusQuery.all
                "all"
        }

        test "numbers stay within their bounds, and a text within what a name can be" {
            let query =
                ofPairs [ "offset", "-5"; "limit", "1000000"; "q", String('a', 100_000) ]

            Expect.equal query.Offset 0 "offset"
            Expect.equal query.Limit StatusQuery.longestLimit "limit"
            Expect.isLessThan query.Text.Length 300 "text"
        }

        testProperty "a query string says all of it"
        <| Prop.forAll queries (fun query ->
            Expect.equal (ofQueryString (StatusQuery.toQueryString RouteOrder.Host query)) query "the same")

        test "a text is looked for in every name, whatever its case" {
            let finds text clone =
                StatusQuery.matches { StatusQuery.all with Text = text } clone

            for text in [ "A.EX"; "copy"; "shop/copy"; "app"; "10.0.0.7"; ":80"; "" ] do
                Expect.isTrue (finds text routed) $"\"{text}\""

            Expect.isFalse (finds "b.example" routed) "another host"
            Expect.isFalse (finds "10.0" unrouted) "an address that it has not"
            Expect.isTrue (finds "BROKEN" invalid) "one that is not valid"
        }

        test "those that are not routed" {
            let query = {
                StatusQuery.all with
                    State = RouteStateFilter.Unrouted
            }

            Expect.equal
                ([ routed; unrouted; invalid ] |> List.map (StatusQuery.matches query))
                [ false; true; true ]
                "which"
        }

        test "ordered by host, those without one first" {
            Expect.equal
                (StatusQuery.ordered [ unrouted; routed; invalid ])
                [| invalid; routed; unrouted |]
                "the order"
        }
    ]
