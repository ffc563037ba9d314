{{/* The labels and annotations that every alert has. Of .name, .alert (its values) and .root. */}}
{{- define "k8sreq.alertLabels" -}}
severity: {{ .alert.severity }}
{{- with .root.Values.prometheusRule.alerts.labels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Where an alert's paragraph is: by its file, and as an address to open where there is one. For "annotations:". */}}
{{- define "k8sreq.runbook" -}}
{{- $alerts := .root.Values.prometheusRule.alerts -}}
runbook: {{ $alerts.runbook }}#{{ lower .name }}
{{- with $alerts.runbookUrl }}
runbook_url: {{ printf "%s#%s" (tpl . $.root) (lower $.name) | quote }}
{{- end }}
{{- end -}}

{{/* The series of this release: those of its PodMonitor or ServiceMonitor, unless others are said. */}}
{{- define "k8sreq.matchers" -}}
{{- if .Values.prometheusRule.alerts.matchers -}}
{{- tpl .Values.prometheusRule.alerts.matchers . -}}
{{- else if .Values.serviceMonitor.enabled -}}
job="{{ include "k8sreq.metricsName" . }}"
{{- else -}}
job="{{ default .Release.Namespace .Values.podMonitor.namespace }}/{{ include "k8sreq.fullname" . }}"
{{- end -}}
{{- end -}}

{{/* The chart's alerts as rules. docs/operations.md has a paragraph for each of them. */}}
{{- define "k8sreq.alerts" -}}
{{- $root := . -}}
{{- $alerts := .Values.prometheusRule.alerts -}}
{{- $series := include "k8sreq.matchers" . -}}
{{- $env := include "k8sreq.env" . | fromYaml -}}
{{/* Where the labels of a scrape are not honoured, the RequestClone's namespace is exported_namespace. */}}
{{- $byClone := "by (namespace, exported_namespace, name)" -}}
{{- $clone := "{{ or $labels.exported_namespace $labels.namespace }}/{{ $labels.name }}" -}}
{{- $replica := "{{ or $labels.pod $labels.instance }}" -}}
{{- with $alerts.copiesFailing }}
{{- if .enabled }}
- alert: K8sReqCopiesFailing
  expr: |
    (
      sum {{ $byClone }} (rate(k8sreq_copies_total{ {{- $series }},outcome="failed"}[{{ .window }}]))
      /
      sum {{ $byClone }} (rate(k8sreq_copies_total{ {{- $series }}}[{{ .window }}]))
      > {{ .ratio }}
    )
    and
    sum {{ $byClone }} (increase(k8sreq_copies_total{ {{- $series }}}[{{ .window }}])) >= {{ .copies }}
  for: {{ .for }}
  labels:
    {{- include "k8sreq.alertLabels" (dict "alert" . "root" $root) | nindent 4 }}
  annotations:
    summary: "Copies for RequestClone {{ $clone }} fail"
    description: "{{ "{{ $value | humanizePercentage }}" }} of its copies have failed in {{ .window }}, retries included."
    {{- include "k8sreq.runbook" (dict "name" "K8sReqCopiesFailing" "root" $root) | nindent 4 }}
{{- end }}
{{- end }}
{{- with $alerts.copiesDropped }}
{{- if .enabled }}
- alert: K8sReqCopiesDropped
  expr: |
    sum {{ $byClone }} (increase(k8sreq_copies_total{ {{- $series }},outcome="dropped"}[{{ .window }}])) > {{ .copies }}
  for: {{ .for }}
  labels:
    {{- include "k8sreq.alertLabels" (dict "alert" . "root" $root) | nindent 4 }}
  annotations:
    summary: "Copies for RequestClone {{ $clone }} are dropped"
    description: "About {{ "{{ $value | humanize }}" }} copies were dropped in {{ .window }}: the queue was full, or they were given up."
    {{- include "k8sreq.runbook" (dict "name" "K8sReqCopiesDropped" "root" $root) | nindent 4 }}
{{- end }}
{{- end }}
{{- with $alerts.routesOutOfDate }}
{{- if .enabled }}
- alert: K8sReqRoutesOutOfDate
  expr: |
    time() - (k8sreq_last_sync_timestamp_seconds{ {{- $series }}} > 0) > {{ .seconds }}
  for: {{ .for }}
  labels:
    {{- include "k8sreq.alertLabels" (dict "alert" . "root" $root) | nindent 4 }}
  annotations:
    summary: "The routes of {{ $replica }} are out of date"
    description: "It has not heard from the cluster for {{ "{{ $value | humanizeDuration }}" }}, and keeps using the routes it has."
    {{- include "k8sreq.runbook" (dict "name" "K8sReqRoutesOutOfDate" "root" $root) | nindent 4 }}
{{- end }}
{{- end }}
{{- with $alerts.noReplicaReady }}
{{- if .enabled }}
- alert: K8sReqNoReplicaReady
  expr: |
    absent(k8sreq_ready{ {{- $series }}} == 1)
  for: {{ .for }}
  labels:
    {{- include "k8sreq.alertLabels" (dict "alert" . "root" $root) | nindent 4 }}
  annotations:
    summary: "No replica of {{ include "k8sreq.fullname" $root }} in {{ $root.Release.Namespace }} is ready"
    description: "No requests are accepted, or Prometheus cannot reach any replica."
    {{- include "k8sreq.runbook" (dict "name" "K8sReqNoReplicaReady" "root" $root) | nindent 4 }}
{{- end }}
{{- end }}
{{- with $alerts.replicaNotReady }}
{{- if .enabled }}
- alert: K8sReqReplicaNotReady
  expr: |
    k8sreq_ready{ {{- $series }}} == 0 or up{ {{- $series }}} == 0
  for: {{ .for }}
  labels:
    {{- include "k8sreq.alertLabels" (dict "alert" . "root" $root) | nindent 4 }}
  annotations:
    summary: "{{ $replica }} is not ready"
    description: "It does not know its routes, or Prometheus cannot reach it. The other replicas take its requests."
    {{- include "k8sreq.runbook" (dict "name" "K8sReqReplicaNotReady" "root" $root) | nindent 4 }}
{{- end }}
{{- end }}
{{- with $alerts.noLeader }}
{{- if and .enabled (has (lower (toString $env.ENABLE_LEADER_ELECTION)) (list "true" "t" "1")) }}
- alert: K8sReqNoLeader
  expr: |
    max by (job) (k8sreq_leader{ {{- $series }}}) == 0
  for: {{ .for }}
  labels:
    {{- include "k8sreq.alertLabels" (dict "alert" . "root" $root) | nindent 4 }}
  annotations:
    summary: "No replica of {{ include "k8sreq.fullname" $root }} in {{ $root.Release.Namespace }} leads"
    description: "Requests are copied, but no replica writes statuses and events of RequestClones."
    {{- include "k8sreq.runbook" (dict "name" "K8sReqNoLeader" "root" $root) | nindent 4 }}
{{- end }}
{{- end }}
{{- with $alerts.memoryBudgetNearlySpent }}
{{- if .enabled }}
- alert: K8sReqMemoryBudgetNearlySpent
  expr: |
    k8sreq_buffer_bytes{ {{- $series }}} / k8sreq_buffer_limit_bytes{ {{- $series }}} > {{ .ratio }}
  for: {{ .for }}
  labels:
    {{- include "k8sreq.alertLabels" (dict "alert" . "root" $root) | nindent 4 }}
  annotations:
    summary: "Request memory of {{ $replica }} is almost used up"
    description: "{{ "{{ $value | humanizePercentage }}" }} of BUFFER_BYTES is in use. Above the limit, requests are answered 503."
    {{- include "k8sreq.runbook" (dict "name" "K8sReqMemoryBudgetNearlySpent" "root" $root) | nindent 4 }}
{{- end }}
{{- end }}
{{- with $alerts.requestsWithoutRoute }}
{{- if .enabled }}
- alert: K8sReqRequestsWithoutRoute
  expr: |
    sum(increase(k8sreq_requests_total{ {{- $series }},reason="no_route"}[{{ .window }}])) > {{ .requests }}
  for: {{ .for }}
  labels:
    {{- include "k8sreq.alertLabels" (dict "alert" . "root" $root) | nindent 4 }}
  annotations:
    summary: "Requests for hosts without a route reach {{ include "k8sreq.fullname" $root }} in {{ $root.Release.Namespace }}"
    description: "{{ "{{ $value | humanize }}" }} requests in {{ .window }} were answered 503: no RequestClone is routed for their host. The log and /api/unknown-hosts name the hosts."
    {{- include "k8sreq.runbook" (dict "name" "K8sReqRequestsWithoutRoute" "root" $root) | nindent 4 }}
{{- end }}
{{- end }}
{{- with $alerts.backlogOld }}
{{- if .enabled }}
- alert: K8sReqBacklogOld
  expr: |
    max {{ $byClone }} (k8sreq_backlog_oldest_seconds{ {{- $series }}}) > {{ .seconds }}
  for: {{ .for }}
  labels:
    {{- include "k8sreq.alertLabels" (dict "alert" . "root" $root) | nindent 4 }}
  annotations:
    summary: "Copies for RequestClone {{ $clone }} wait on disk"
    description: "The oldest has waited for {{ "{{ $value | humanizeDuration }}" }}: its target is away, or slower than its requests come."
    {{- include "k8sreq.runbook" (dict "name" "K8sReqBacklogOld" "root" $root) | nindent 4 }}
{{- end }}
{{- end }}
{{- with $alerts.journalNearlyFull }}
{{- if .enabled }}
- alert: K8sReqJournalNearlyFull
  expr: |
    k8sreq_journal_bytes{ {{- $series }}} / k8sreq_journal_limit_bytes{ {{- $series }}} > {{ .ratio }}
  for: {{ .for }}
  labels:
    {{- include "k8sreq.alertLabels" (dict "alert" . "root" $root) | nindent 4 }}
  annotations:
    summary: "The journal of {{ $replica }} is almost full"
    description: "{{ "{{ $value | humanizePercentage }}" }} of JOURNAL_BYTES is in use. Above the limit, copies are dropped or their requests refused."
    {{- include "k8sreq.runbook" (dict "name" "K8sReqJournalNearlyFull" "root" $root) | nindent 4 }}
{{- end }}
{{- end }}
{{- with $alerts.journalFailing }}
{{- if .enabled }}
- alert: K8sReqJournalFailing
  expr: |
    k8sreq_journal_up{ {{- $series }}} == 0
  for: {{ .for }}
  labels:
    {{- include "k8sreq.alertLabels" (dict "alert" . "root" $root) | nindent 4 }}
  annotations:
    summary: "The journal of {{ $replica }} cannot be written"
    description: "Requests with durable copies are answered 503. The log says why."
    {{- include "k8sreq.runbook" (dict "name" "K8sReqJournalFailing" "root" $root) | nindent 4 }}
{{- end }}
{{- end }}
{{- with $alerts.deadLettersGrowing }}
{{- if .enabled }}
- alert: K8sReqDeadLettersGrowing
  expr: |
    sum {{ $byClone }} (delta(k8sreq_dead_letters_items{ {{- $series }}}[{{ .window }}])) > {{ .copies }}
  for: {{ .for }}
  labels:
    {{- include "k8sreq.alertLabels" (dict "alert" . "root" $root) | nindent 4 }}
  annotations:
    summary: "Copies for RequestClone {{ $clone }} become dead letters"
    description: "About {{ "{{ $value | humanize }}" }} more than {{ .window }} ago have failed for good and are kept."
    {{- include "k8sreq.runbook" (dict "name" "K8sReqDeadLettersGrowing" "root" $root) | nindent 4 }}
{{- end }}
{{- end }}
{{- end -}}
