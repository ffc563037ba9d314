namespace K8sReq.Core

open System
open System.Globalization

/// Durations as Go's `time.ParseDuration` spells them: `30s`, `1m30s`, `1.5h`, `500ms`.
module GoDuration =
    let private nanosecondsPer =
        // Longer units first: "ms" must not be read as "m".
        [
            "ns", 1m
            "us", 1_000m
            "µs", 1_000m
            "μs", 1_000m
            "ms", 1_000_000m
            "s", 1_000_000_000m
            "m", 60_000_000_000m
            "h", 3_600_000_000_000m
        ]

    let private isNumberCharacter c = Char.IsAsciiDigit c || c = '.'

    // The bound keeps the products below within what a decimal holds.
    let private tryNumber (text: string) =
        match Decimal.TryParse(text, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture) with
        | true, number when number <= 1e15m -> Some number
        | _ -> None

    let rec private sum (total: decimal) (text: string) =
        if text = "" then
            Some total
        else
            let number = text |> Seq.takeWhile isNumberCharacter |> Seq.length
            let rest = text.Substring number
            let unitLength = rest |> Seq.takeWhile (isNumberCharacter >> not) |> Seq.length
            let unitName = rest.Substring(0, unitLength)

            match
                tryNumber (text.Substring(0, number)), List.tryFind (fst >> (=) unitName) nanosecondsPer
            with
            | Some count, Some(_, nanoseconds) ->
                sum (total + count * nanoseconds) (rest.Substring unitLength)
            | _ -> None

    /// Reads a duration of at least 0 and at most about 290 years (as Go has it), to a tenth of a microsecond.
    let tryParse (text: string) : TimeSpan option =
        match text with
        | "" -> None
        | "0"
        | "+0" -> Some TimeSpan.Zero
        | _ ->
            sum 0m (if text.StartsWith '+' then text.Substring 1 else text)
            |> Option.filter (fun nanoseconds -> text <> "+" && nanoseconds <= decimal Int64.MaxValue)
            |> Option.map (fun nanoseconds -> TimeSpan.FromTicks(int64 (nanoseconds / 100m)))

    /// The shortest usual spelling, to the millisecond: `1m30s`, `500ms`, `0s`.
    let render (duration: TimeSpan) : string =
        let part amount unitName =
            if amount > 0L then $"{amount}{unitName}" else ""

        let text =
            part (int64 duration.TotalHours) "h"
            + part (int64 duration.Minutes) "m"
            + part (int64 duration.Seconds) "s"
            + part (int64 duration.Milliseconds) "ms"

        if text = "" then "0s" else text
