/// Everything that `/metrics` shows, as a table.
module K8sReq.Docs.Tests.MetricsReference

open K8sReq.Core
open K8sReq.TestKit

let private labels (family: MetricFamily) =
    family.Samples
    // Series come in no order.
    |> Seq.sortBy _.Labels
    |> Seq.collect (fun sample -> sample.Labels |> Seq.map fst)
    |> Seq.distinct
    |> Seq.map (fun name -> MarkdownTable.code (name.Replace('.', '_')))
    |> String.concat ", "

let render () : string =
    MarkdownTable.render [ "metric"; "type"; "unit"; "labels"; "meaning"; "name over OTLP" ] [
        for family in ExposedMetrics.families () ->
            [
                MarkdownTable.code (ExposedMetrics.name family)
                ExposedMetrics.kindName family
                ExposedMetrics.unitName family
                labels family
                MarkdownTable.cell family.Help
                MarkdownTable.code family.Name
            ]
    ]
