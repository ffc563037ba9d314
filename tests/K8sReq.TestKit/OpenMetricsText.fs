/// The rules of OpenMetrics 1.0 that Prometheus lets pass when they are broken, and other readers do not.
module K8sReq.TestKit.OpenMetricsText

open System
open System.Collections.Generic
open System.Globalization
open System.Text.RegularExpressions

let private suffixes (kind: string) =
    match kind with
    | "counter" -> [ "_total" ]
    | "histogram" -> [ "_bucket"; "_sum"; "_count" ]
    | "gauge" -> [ "" ]
    | _ -> []

let private sampleLine =
    Regex
        @"^(?<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?<labels>[a-zA-Z_][a-zA-Z0-9_]*=""([^""\\\n]|\\[\\n""])*""(,[a-zA-Z_][a-zA-Z0-9_]*=""([^""\\\n]|\\[\\n""])*"")*)\})? (?<value>[-+]?([0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?|Inf)|NaN)$"

let private label = Regex @"([a-zA-Z_][a-zA-Z0-9_]*)=""((?:[^""\\]|\\.)*)"""

/// A line of a sample.
type Sample = {
    Name: string
    Labels: (string * string) list
    Value: float
}

let private number (text: string) =
    match text with
    | "+Inf" -> infinity
    | "-Inf" -> -infinity
    | text -> Double.Parse(text, CultureInfo.InvariantCulture)

/// What a family's name, type, unit and samples are, in their order.
type Family = {
    Name: string
    Kind: string
    Unit: string
    Samples: Sample list
}

let private parseSample (line: string) =
    let found = sampleLine.Match line

    if found.Success then
        Some {
            Name = found.Groups["name"].Value
            Labels = [
                for label in label.Matches found.Groups["labels"].Value ->
                    label.Groups[1].Value, label.Groups[2].Value
            ]
            Value = number found.Groups["value"].Value
        }
    else
        None

/// The families of a text, or what is wrong with its lines.
let private families (text: string) : Family list * string list =
    let families = List<Family>()
    let wrong = List<string>()
    let last () = families[families.Count - 1]

    for line in text.TrimEnd('\n').Split '\n' |> Seq.filter ((<>) "# EOF") do
        match line.Split(' ', 4) with
        | [| "#"; "HELP"; name; _ |] ->
            families.Add {
                Name = name
                Kind = ""
                Unit = ""
                Samples = []
            }
        | [| "#"; "TYPE"; name; kind |] when
            families.Count > 0 && last().Name = name && last().Samples.IsEmpty
            ->
            families[families.Count - 1] <- { last () with Kind = kind }
        | [| "#"; "UNIT"; name; unit |] when
            families.Count > 0 && last().Name = name && last().Samples.IsEmpty
            ->
            families[families.Count - 1] <- { last () with Unit = unit }
        | _ ->
            match parseSample line with
            | Some sample when families.Count > 0 ->
                families[families.Count - 1] <- {
                    last () with
                        Samples = sample :: last().Samples
                }
            | _ -> wrong.Add $"no line of this format: {line}"

    [
        for family in families ->
            {
                family with
                    Samples = List.rev family.Samples
            }
    ],
    List.ofSeq wrong

let private ofHistogram (family: Family) =
    let series =
        family.Samples
        |> List.groupBy (fun sample -> sample.Labels |> List.filter (fun (name, _) -> name <> "le"))

    [
        for labels, samples in series do
            let called suffix =
                samples |> List.filter (fun sample -> sample.Name = family.Name + suffix)

            let buckets = called "_bucket"

            let bounds = buckets |> List.map (fun bucket -> List.last bucket.Labels |> snd)

            for bound in bounds do
                if bound <> "+Inf" && not (Regex.IsMatch(bound, @"^[0-9]+\.[0-9]+$|e")) then
                    $"{family.Name}: the bound {bound} is not written canonically"

            let values = bounds |> List.map number

            if values <> List.sort values || List.tryLast bounds <> Some "+Inf" then
                $"{family.Name}: bounds {bounds}"

            let counts = buckets |> List.map _.Value

            if counts <> List.sort counts then
                $"{family.Name}: buckets {counts} are not cumulative"

            match called "_count", called "_sum" with
            | [ count ], [ _ ] when Some count.Value = List.tryLast counts -> ()
            | _ -> $"{family.Name}: sum and count of {labels}"
    ]

/// The families of a text, and all that is wrong with it.
let read (text: string) : Family list * string list =
    let families, wrongLines = families text

    let reserved =
        set [
            for family in families do
                for suffix in suffixes family.Kind -> family.Name + suffix
        ]

    families,
    [
        yield! wrongLines

        if not (text.EndsWith("\n# EOF\n", StringComparison.Ordinal)) then
            "the end is missing"

        for name, same in families |> List.countBy _.Name do
            if same > 1 then
                $"{name} comes {same} times"

        for family in families do
            if suffixes family.Kind = [] then
                $"{family.Name} has the type {family.Kind}"

            if
                family.Unit <> ""
                && not (family.Name.EndsWith("_" + family.Unit, StringComparison.Ordinal))
            then
                $"{family.Name} does not end with its unit {family.Unit}"

            for ending in [ "_total"; "_count"; "_sum"; "_bucket"; "_created"; "_info" ] do
                let isInfo = ending = "_info" && family.Kind = "gauge"

                if family.Name.EndsWith(ending, StringComparison.Ordinal) && not isInfo then
                    $"{family.Name} ends with {ending}, which is kept for samples"

            if family.Kind = "counter" && reserved.Contains family.Name then
                $"{family.Name} is the name of another family's samples"

            for sample in family.Samples do
                if
                    not (
                        suffixes family.Kind
                        |> List.exists (fun suffix -> sample.Name = family.Name + suffix)
                    )
                then
                    $"{sample.Name} is no sample of the {family.Kind} {family.Name}"

                if family.Kind <> "gauge" && not (sample.Value >= 0.0) then
                    $"{sample.Name} is {sample.Value}"

            for series, same in family.Samples |> List.countBy (fun sample -> sample.Name, set sample.Labels) do
                if same > 1 then
                    $"{series} comes {same} times"

            if family.Kind = "histogram" then
                yield! ofHistogram family
    ]
