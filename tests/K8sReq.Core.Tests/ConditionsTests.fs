module K8sReq.Core.Tests.ConditionsTests

open System
open System.Net
open Expecto
open K8sReq.Core
open K8sReq.Core.Tests.Generators

let private now = DateTimeOffset(2030, 1, 1, 12, 0, 0, TimeSpan.Zero)
let private earlier = now.AddHours -1.0
let private key = ObjectKey.create "shop" "copy"
let private service = ObjectKey.create "shop" "app"

let private target: Target = {
    Clone = key
    Host = host "a.example"
    Service = service
    Address = IPAddress.Parse "10.0.0.7"
    Port = 80
    Matches = [||]
    Edit = HeadEdit.none
    Delivery = DeliveryPolicy.byDefault
}

let private cloneWith ready : RequestClone = {
    Key = key
    Spec = Error []
    Observed =
        Some {
            Uid = "u-1"
            Generation = 3L
            StatusGeneration = ready |> Option.bind _.ObservedGeneration
            Ready = ready
        }
}

let private plan ready resolved =
    Conditions.plan now {
        Clone = cloneWith ready
        Resolved = resolved
    }

let private saying (patch: StatusPatch) : ReadyCondition = {
    IsReady = Some patch.Readiness.IsReady
    Reason = patch.Readiness.Reason
    Message = patch.Readiness.Message
    ObservedGeneration = Some patch.ObservedGeneration
    LastTransition = Some patch.LastTransition
}

let private planned ready resolved =
    match plan ready resolved with
    | Some patch -> patch
    | None -> failtest "nothing is written"

let private resolutions = [
    Ok target
    Ok { target with Port = 81 }
    Error(ResolutionError.InvalidSpec [ FieldFault.Missing "spec.host" ])
    Error(ResolutionError.ServiceNotFound service)
    Error(ResolutionError.ServiceUnreadable(service, [ FieldFault.Missing "spec" ]))
    Error(ResolutionError.ServiceHeadless service)
    Error(ResolutionError.ServiceExternalName(service, "x.example"))
    Error(ResolutionError.ServiceWithoutAddress service)
    Error(ResolutionError.ServicePortNotFound(service, PortRef.Named "http", []))
    Error(
        ResolutionError.ServicePortNotTcp(
            service,
            {
                Name = None
                Number = 53
                Protocol = "UDP"
                AppProtocol = None
            }
        )
    )
    Error(
        ResolutionError.ServicePortProtocolUnsupported(
            service,
            {
                Name = None
                Number = 443
                Protocol = "TCP"
                AppProtocol = Some "https"
            }
        )
    )
]

let tests =
    testList "Conditions" [
        test "the reasons are those that users know, and one for each other case" {
            Expect.equal
                (resolutions |> List.map (fun resolved -> (Conditions.wanted resolved).Reason))
                [
                    "ServiceBackendReady"
                    "ServiceBackendReady"
                    "InvalidSpec"
                    "ServiceNotFound"
                    "ServiceUnreadable"
                    "ServiceHeadless"
                    "ServiceExternalName"
                    "ServiceAddressMissing"
                    "ServicePortNotFound"
                    "ServicePortNotTcp"
                    "ServicePortProtocolUnsupported"
                ]
                "reasons"

            for resolved in resolutions do
                let wanted = Conditions.wanted resolved
                Expect.equal wanted.IsReady (Result.isOk resolved) "ready if it is routed"
                Expect.isNotEmpty wanted.Message "with a line for people"
        }

        test "an object without a condition gets one, which is a transition" {
            let patch = planned None (Ok target)
            Expect.equal (patch.Uid, patch.ObservedGeneration) ("u-1", 3L) "of this object as it is"
            Expect.equal patch.LastTransition now "from now on"
            Expect.isTrue patch.IsTransition "worth an event"
        }

        test "what has been written is not written again" {
            for resolved in resolutions do
                let patch = planned None resolved
                Expect.isNone (plan (Some(saying patch)) resolved) "nothing differs"
        }

        test "the time moves only when the status flips; an event comes with another reason, too" {
            let changes = [
                for before in resolutions do
                    for after in resolutions do
                        let said = {
                            saying (planned None before) with
                                LastTransition = Some earlier
                        }

                        match plan (Some said) after with
                        | Some patch -> before, after, said, patch
                        | None -> Expect.equal after before "the same"
            ]

            Expect.hasLength changes (11 * 10) "all that differ are written"

            for before, after, said, patch in changes do
                let isFlip = Result.isOk before <> Result.isOk after
                Expect.equal patch.LastTransition (if isFlip then now else earlier) "the time"

                Expect.equal patch.IsTransition (isFlip || said.Reason <> patch.Readiness.Reason) "an event"
        }

        test "another generation is written although nothing else differs" {
            let said = {
                saying (planned None (Ok target)) with
                    ObservedGeneration = Some 2L
                    LastTransition = Some earlier
            }

            let patch = planned (Some said) (Ok target)
            Expect.equal (patch.ObservedGeneration, patch.LastTransition) (3L, earlier) "the generation"
            Expect.isFalse patch.IsTransition "no event"
        }

        test "a status that does not say which generation it is about gets that, without an event" {
            let clone = cloneWith (Some(saying (planned None (Ok target))))

            let observed = {
                clone.Observed.Value with
                    StatusGeneration = None
            }

            let patch =
                Conditions.plan now {
                    Clone = { clone with Observed = Some observed }
                    Resolved = Ok target
                }

            match patch with
            | Some patch -> Expect.isFalse patch.IsTransition "no event"
            | None -> failtest "nothing is written"
        }

        test "a condition without generation, time or a known status is completed" {
            let said = {
                saying (planned None (Ok target)) with
                    ObservedGeneration = None
                    LastTransition = None
            }

            Expect.equal (planned (Some said) (Ok target)).LastTransition now "the time"
            let unknown = { said with IsReady = None }
            Expect.isTrue (planned (Some unknown) (Ok target)).IsTransition "it was unknown"
        }

        test "one that is not selected any more says so; the time moves if it was ready" {
            let said result = {
                saying (planned None result) with
                    LastTransition = Some earlier
            }

            let notSelected ready =
                Conditions.notSelected now "team=a" {
                    Clone = cloneWith ready
                    Resolved = Ok target
                }

            for ready, expected in
                [
                    Some(said (Ok target)), now
                    Some(said (Error(ResolutionError.ServiceNotFound service))), earlier
                    None, now
                ] do
                match notSelected ready with
                | Some patch ->
                    Expect.equal
                        (patch.Readiness.IsReady, patch.Readiness.Reason)
                        (false, "NotSelected")
                        "what it says"

                    Expect.stringContains patch.Readiness.Message "team=a" "and why"
                    Expect.equal (patch.LastTransition, patch.IsTransition) (expected, false) "since when"
                | None -> failtest "nothing is said"
        }

        test "an object from a manifest has no status" {
            let clone = { cloneWith None with Observed = None }

            Expect.isNone (Conditions.plan now { Clone = clone; Resolved = Ok target }) "nothing to write"
        }

        test "a message is no longer than the API server takes" {
            let faults = [ for n in 1..5000 -> FieldFault.Missing $"spec.field{n}" ]
            let wanted = Conditions.wanted (Error(ResolutionError.InvalidSpec faults))
            Expect.equal wanted.Message.Length 32768 "cut"
        }
    ]
