namespace K8sReq.Host.Admin

open K8sReq.Core
open K8sReq.Journal
open K8sReq.Proxy

/// What is measured of a journal.
[<NoEquality; NoComparison>]
type JournalFigures = {
    Store: JournalStore
    /// Bytes.
    Limit: int64
    Sinks: unit -> SinkTotals
}

module JournalMetrics =
    let private number = MetricSample.number
    let private one (value: float) = [ number [] value ]

    let private cloneLabels (clone: ObjectKey) = [ "namespace", clone.Namespace; "name", clone.Name ]

    /// Its families, as they are now; some for each RequestClone.
    let families (clones: CloneDirectory) (figures: JournalFigures) : MetricFamily list =
        let journal, limit, sinks = figures.Store, figures.Limit, figures.Sinks()
        let totals = journal.Totals
        let letters = journal.Letters

        let ofClones (value: ObjectKey -> float) = [
            for entry in clones.All do
                let clone = entry.Statistics.Clone
                number (cloneLabels clone) (value clone)
        ]

        [
            MetricFamily.gauge
                "k8sreq.backlog.items"
                "{copy}"
                "Copies that wait in the journal alone."
                (ofClones (fun clone -> float (journal.Store.Backlog clone).Copies))
            MetricFamily.gauge
                "k8sreq.backlog.oldest"
                "s"
                "Age of the oldest copy that waits in the journal alone."
                (ofClones (fun clone -> (journal.Store.Backlog clone).OldestAge.TotalSeconds))
            MetricFamily.gauge
                "k8sreq.dead_letters.items"
                "{copy}"
                "Copies that failed for good and are kept."
                (ofClones (fun clone -> float (letters.Of clone).Letters))
            MetricFamily.counter
                "k8sreq.dead_letters.added"
                "{copy}"
                "Copies that became dead letters, by cause."
                [
                    for cause in DeadCause.all ->
                        number [ "cause", DeadCause.name cause ] (float (letters.AddedBy cause))
                ]
            MetricFamily.counter
                "k8sreq.dead_letters.removed"
                "{copy}"
                "Dead letters that were removed: aged (kept long enough), full (no room for more) or asked."
                [
                    number [ "reason", "aged" ] (float (letters.LostBy DeadLetterLoss.Aged))
                    number [ "reason", "full" ] (float (letters.LostBy DeadLetterLoss.Full))
                    number [ "reason", "asked" ] (float (letters.LostBy DeadLetterLoss.Asked))
                ]
            MetricFamily.counter
                "k8sreq.dead_letters.sink_attempts"
                "{attempt}"
                "Attempts to send a dead letter to its sink: sent, refused (not tried again) or failed (tried again)."
                [
                    number [ "result", "sent" ] (float sinks.Sent)
                    number [ "result", "refused" ] (float sinks.Refused)
                    number [ "result", "failed" ] (float sinks.Failed)
                ]
            MetricFamily.gauge
                "k8sreq.dead_letters.bytes"
                "By"
                "Bytes of dead letters."
                (one (letters.Kept |> List.sumBy (fun (_, count) -> float count.Bytes)))
            MetricFamily.gauge
                "k8sreq.journal.up"
                ""
                "1 if the journal can be written."
                (one (
                    if journal.IsOpened && journal.Fault.IsNone then
                        1.0
                    else
                        0.0
                ))
            MetricFamily.gauge
                "k8sreq.journal.bytes"
                "By"
                "Bytes of copies in the journal."
                (one (float journal.Usage.Total))
            MetricFamily.gauge
                "k8sreq.journal.limit"
                "By"
                "Bytes of copies that the journal may have (JOURNAL_BYTES)."
                (one (float limit))
            MetricFamily.counter "k8sreq.journal.commits" "{commit}" "Commits of the journal, by result." [
                number [ "result", "written" ] (float totals.Commits)
                number [ "result", "failed" ] (float totals.FailedCommits)
            ]
            MetricFamily.counter
                "k8sreq.journal.commit_time"
                "s"
                "Time spent in commits of the journal, sync included."
                (one totals.CommitTime.TotalSeconds)
        ]
