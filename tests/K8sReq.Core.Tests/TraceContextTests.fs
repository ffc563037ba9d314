module K8sReq.Core.Tests.TraceContextTests

open Expecto
open K8sReq.Core

let private traceId = "0af7651916cd43dd8448eb211c80319c"
let private spanId = "b7ad6b7169203331"
let private all = [ TraceForm.W3C; TraceForm.B3Single; TraceForm.B3Multi ]

let private context sampled = {
    TraceId = traceId
    SpanId = spanId
    Sampled = sampled
    IsDebug = false
    State = ""
}

// As a head is read: whatever the case of the names, several lines of one as one.
let private lookup (lines: (string * string) list) : FieldLookup =
    fun name ->
        match
            lines
            |> List.filter (fun (other, _) -> name.Equals(other, System.StringComparison.OrdinalIgnoreCase))
        with
        | [] -> null
        | found -> found |> List.map snd |> String.concat ","

let private extract (lines: (string * string) list) = TraceContext.extract all (lookup lines)

let private reads name lines expected = test name { Expect.equal (extract lines) expected "what is read" }

let private nothing: struct (TraceContext voption * TraceForm list) =
    struct (ValueNone, [])

let private found form sampled =
    struct (ValueSome(context sampled), [ form ])

let tests =
    testList "TraceContext" [
        reads "traceparent" [ "Traceparent", $"00-{traceId}-{spanId}-01" ] (found TraceForm.W3C (Some true))

        reads
            "a later version says more"
            [ "traceparent", $"01-{traceId}-{spanId}-00-what" ]
            (found TraceForm.W3C (Some false))

        reads
            "tracestate goes with it, lines in their order"
            [
                "tracestate", "a=1"
                "traceparent", $"00-{traceId}-{spanId}-01"
                "tracestate", "b=2"
            ]
            (struct (ValueSome {
                         context (Some true) with
                             State = "a=1,b=2"
                     },
                     [ TraceForm.W3C ]))

        for wrong in
            [
                ""
                "00"
                $"ff-{traceId}-{spanId}-01"
                $"00-{traceId}-{spanId}-01-more"
                $"00-{traceId.ToUpperInvariant()}-{spanId}-01"
                $"00-{System.String('0', 32)}-{spanId}-01"
                $"00-{traceId}-{System.String('0', 16)}-01"
                $"00-{traceId}-{spanId}-zz"
            ] do
            reads $"no traceparent: {wrong}" [ "traceparent", wrong ] nothing

        reads "b3 in one field" [ "b3", $"{traceId}-{spanId}-1" ] (found TraceForm.B3Single (Some true))
        reads "b3 that leaves it open" [ "b3", $"{traceId}-{spanId}" ] (found TraceForm.B3Single None)

        reads
            "b3 with a parent, and a short trace id"
            [ "b3", $"8448eb211c80319c-{spanId}-0-05e3ac9a4f6e3b90" ]
            (struct (ValueSome {
                         context (Some false) with
                             TraceId = "00000000000000008448eb211c80319c"
                     },
                     [ TraceForm.B3Single ]))

        reads "b3 that only says no" [ "b3", "0" ] nothing

        reads
            "two of what there can be one of are none"
            [
                "traceparent", $"00-{traceId}-{spanId}-01"
                "traceparent", $"00-{traceId}-{spanId}-01"
            ]
            nothing

        reads
            "b3 for debugging, in one field"
            [ "b3", $"{traceId}-{spanId}-d" ]
            (struct (ValueSome {
                         context (Some true) with
                             IsDebug = true
                     },
                     [ TraceForm.B3Single ]))

        reads
            "b3 in several fields"
            [ "x-b3-traceid", traceId; "X-B3-SpanId", spanId; "X-B3-Flags", "1" ]
            (struct (ValueSome {
                         context (Some true) with
                             IsDebug = true
                     },
                     [ TraceForm.B3Multi ]))

        reads
            "of several forms the first counts, and all are known"
            [ "b3", $"{traceId}-{spanId}-0"; "traceparent", $"00-{traceId}-{spanId}-01" ]
            (struct (ValueSome(context (Some true)), [ TraceForm.W3C; TraceForm.B3Single ]))

        for form in all do
            testProperty
                $"what is written in the form {form} is read again, and known for its own"
                (fun (sampled: bool) (isDebug: bool) ->
                    let isDebug = isDebug && form <> TraceForm.W3C

                    let written = {
                        context (Some(sampled || isDebug)) with
                            IsDebug = isDebug
                    }

                    let lines =
                        TraceContext.render form written
                        |> List.map (fun (struct (name, value)) -> name, value)

                    lines
                    |> List.forall (fun (name, _) ->
                        all |> List.filter (fun other -> TraceContext.isFieldOf other name) = [ form ])
                    && TraceContext.extract [ form ] (lookup lines) = struct (ValueSome written, [ form ]))

        testProperty "whatever is there, reading it does not fail" (fun (value: string | null) ->
            let value = string value

            extract [
                "traceparent", value
                "b3", value
                "X-B3-TraceId", value
                "X-B3-SpanId", value
            ]
            |> ignore)
    ]
