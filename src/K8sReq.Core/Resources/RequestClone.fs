namespace K8sReq.Core

open System
open FsToolkit.ErrorHandling

/// What a RequestClone asks for: a copy of every request to `Host` that one of `Matches` means, sent to this port of this Service in
/// its own namespace.
type CloneSpec = {
    Host: HostName
    /// Every request where there are none.
    Matches: RequestMatch list
    /// In their order.
    Filters: CopyFilter list
    ServiceName: string
    ServicePort: PortRef
    Delivery: DeliveryPolicy
}

/// The custom resource. One that is not valid is kept with all its faults: it is not routed, and it is reported.
type RequestClone = {
    Key: ObjectKey
    Spec: Result<CloneSpec, FieldFault list>
    /// None where the object comes from a manifest: nobody reads a status there.
    Observed: ObservedObject option
}

module CloneSpec =
    open Decoder

    /// A spec without the optional fields.
    let create (host: HostName) (serviceName: string) (servicePort: PortRef) : CloneSpec = {
        Host = host
        Matches = []
        Filters = []
        ServiceName = serviceName
        ServicePort = servicePort
        Delivery = DeliveryPolicy.byDefault
    }

    let private accepting (accepted: string) (tryParse: 'A -> 'B option) : Decoder<'A> -> Decoder<'B> =
        refine (fun path given ->
            tryParse given
            |> Result.requireSome (FieldFault.BadValue(path, string given, accepted)))

    let private host: Decoder<HostName> =
        text
        |> refine (fun path given ->
            HostName.parse given
            |> Result.mapError (fun error -> FieldFault.BadValue(path, given, HostName.describeError error)))

    let private serviceName: Decoder<string> =
        text
        |> accepting
            "the name of a Service: at most 63 lower-case letters, digits and '-', not at an end"
            (fun given -> if KubernetesName.isLabel given then Some given else None)

    let private servicePort: Decoder<PortRef> =
        textOrInteger
        |> accepting
            "the name of a port (at most 15 lower-case letters, digits and '-'), its number from 1 to 65535, or nothing for the port without a name"
            PortRef.tryParse

    let private durationWithin (shortest: TimeSpan) (longest: TimeSpan) (accepted: string) =
        text
        |> accepting
            accepted
            (GatewayDuration.tryParse
             >> Option.filter (fun time -> time >= shortest && time <= longest))

    let private duration: Decoder<TimeSpan> =
        durationWithin
            (TimeSpan.FromMilliseconds 1.0)
            (TimeSpan.FromDays 1.0)
            "a duration from 1ms to 24h, such as 500ms or 1m30s"

    let private durationOrZero: Decoder<TimeSpan> =
        durationWithin TimeSpan.Zero (TimeSpan.FromDays 1.0) "a duration from 0s to 24h, such as 1m30s"

    let private expiry: Decoder<TimeSpan> =
        durationWithin
            (TimeSpan.FromMilliseconds 1.0)
            (TimeSpan.FromDays 365.0)
            "a duration from 1ms to 8760h, such as 24h or 1m30s"

    let private keep: Decoder<TimeSpan> =
        durationWithin
            TimeSpan.Zero
            (TimeSpan.FromDays 365.0)
            "a duration from 0s to 8760h, such as 168h or 1m30s"

    let private retries: Decoder<int> =
        integer
        |> accepting "a number of attempts from 0 to 100" (fun given ->
            if given >= 0L && given <= 100L then
                Some(int given)
            else
                None)

    let private backoff: Decoder<BackoffPolicy> =
        text
        |> accepting "linear or exponential" (fun given ->
            match given with
            | "linear" -> Some BackoffPolicy.Linear
            | "exponential" -> Some BackoffPolicy.Exponential
            | _ -> None)

    let private backend: Decoder<string * PortRef> =
        object (
            fields {
                let! name = required "serviceName" serviceName
                and! port = required "servicePort" servicePort
                return name, port
            }
        )

    let private timeouts: Decoder<TimeSpan option> =
        object (optional "backendRequest" duration)

    let private durability: Decoder<Durability> =
        text
        |> accepting "Memory or Journal" (fun given ->
            match given with
            | "Memory" -> Some Durability.Memory
            | "Journal" -> Some Durability.Journal
            | _ -> None)

    let private whenFull: Decoder<FullPolicy> =
        text
        |> accepting "Drop or Refuse" (fun given ->
            match given with
            | "Drop" -> Some FullPolicy.Drop
            | "Refuse" -> Some FullPolicy.Refuse
            | _ -> None)

    let private deadLetter: Decoder<TimeSpan option> = object (optional "keep" keep)

    // What becomes of copies that come to no end by themselves.
    let private ends: FieldsDecoder<FullPolicy * TimeSpan option * bool * TimeSpan option> = fields {
        let! whenFull = orDefault FullPolicy.Drop "whenFull" whenFull
        and! expireAfter = optional "expireAfter" expiry
        and! isIdentified = orDefault false "identify" boolean
        and! keep = orDefault None "deadLetter" deadLetter
        return whenFull, expireAfter, isIdentified, keep
    }

    let private backoffTimes: FieldsDecoder<RetryPolicy> =
        let byDefault = DeliveryPolicy.byDefault.Retry

        fields {
            let! retries = orDefault byDefault.Retries "retry" retries
            and! backoff = orDefault byDefault.Backoff "backoffPolicy" backoff
            and! delay = orDefault byDefault.Delay "backoffDelay" duration
            and! longest = orDefault byDefault.Longest "backoffMax" duration

            return {
                Retries = retries
                Backoff = backoff
                Delay = delay
                Longest = longest
                LongestAsked = None
            }
        }

    let private sink: Decoder<DeadLetterSink> =
        object (
            fields {
                let! name = required "serviceName" serviceName
                and! port = required "servicePort" servicePort

                return {
                    ServiceName = name
                    ServicePort = port
                }
            }
        )

    // A dead letter is kept while it is sent: that takes a journal.
    let private sinkOf (path: string) (durability: Durability option, sink: DeadLetterSink option) =
        match durability, sink with
        | Some Durability.Memory, Some _ ->
            Error(
                FieldFault.BadValue($"{path}.durability", "Memory", "Journal where there is a deadLetterSink")
            )
        | _ -> Ok(durability, sink)

    let private keeping: FieldsDecoder<Durability option * DeadLetterSink option> =
        fields {
            let! durability = optional "durability" durability
            and! sink = optional "deadLetterSink" sink
            return durability, sink
        }
        |> refineFields sinkOf

    let private retry: FieldsDecoder<RetryPolicy> = fields {
        let! policy = backoffTimes
        and! longestAsked = optional "retryAfterMax" durationOrZero

        return {
            policy with
                LongestAsked = longestAsked
        }
    }

    let private delivery: Decoder<DeliveryPolicy> =
        object (
            fields {
                let! retry = retry
                and! durability, sink = keeping
                and! whenFull, expireAfter, isIdentified, keep = ends

                return {
                    AttemptTimeout = None
                    Retry = retry
                    Durability = durability
                    WhenFull = whenFull
                    ExpireAfter = expireAfter
                    IsIdentified = isIdentified
                    DeadLetterKeep = keep
                    DeadLetterSink = sink
                }
            }
        )

    // Which requests are copied, and what their copies are. What a prefix is replaced by needs one.
    let private selection: FieldsDecoder<HostName * RequestMatch list * CopyFilter list> =
        fields {
            let! host = required "host" host
            and! matches = orDefault [] "matches" MatchFields.matches
            and! filters = orDefault [] "filters" FilterFields.filters
            return host, matches, filters
        }
        |> refineFields (fun path (host, matches, filters) ->
            FilterFields.checkPrefix path matches filters
            |> Result.map (fun () -> host, matches, filters))

    /// `spec` of a RequestClone, with every fault at once.
    let decoder: Decoder<CloneSpec> =
        object (
            fields {
                let! host, matches, filters = selection
                and! name, port = required "backend" backend
                and! timeout = orDefault None "timeouts" timeouts
                and! delivery = orDefault DeliveryPolicy.byDefault "delivery" delivery

                return {
                    Host = host
                    Matches = matches
                    Filters = filters
                    ServiceName = name
                    ServicePort = port
                    Delivery = {
                        delivery with
                            AttemptTimeout = timeout
                    }
                }
            }
        )

module RequestClone =
    /// The custom resource as the API server knows it.
    let kind: Kind<RequestClone> = {
        Name = {
            Group = "proxy.infra.doodle.com"
            Version = "v1beta1"
            Kind = "RequestClone"
            Plural = "requestclones"
        }
        IsSelected = true
        Read =
            fun origin key manifest -> {
                Key = key
                Spec = Kind.readSpec CloneSpec.decoder origin manifest
                Observed =
                    match origin with
                    | ObjectOrigin.Cluster -> Some(ObservedObject.ofJson manifest)
                    | ObjectOrigin.Manifest -> None
            }
        KeyOf = _.Key
        Faults =
            fun clone ->
                match clone.Spec with
                | Ok _ -> []
                | Error faults -> faults
    }
