/// The settings of the proxy as a table.
module K8sReq.Docs.Tests.SettingsReference

open K8sReq.Core

let render () : string =
    MarkdownTable.render [ "flag"; "variable"; "default"; "accepted"; "" ] [
        for spec in KnownSettings.specs ->
            [
                MarkdownTable.code (SettingSpec.flag spec)
                MarkdownTable.code (SettingSpec.variable spec)
                MarkdownTable.code spec.Default
                MarkdownTable.cell spec.Accepted
                MarkdownTable.cell (MarkdownTable.sentence spec.Help)
            ]
    ]
