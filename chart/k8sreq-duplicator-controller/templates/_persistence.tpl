{{/*
The name of the Deployment or the StatefulSet. A StatefulSet's is shorter: its pods have a label that is this name, a hyphen
and a hash of ten characters, and a label has 63 at most.
*/}}
{{- define "k8sreq.workloadName" -}}
{{- if .Values.persistence.enabled -}}
{{- include "k8sreq.fullname" . | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- include "k8sreq.fullname" . -}}
{{- end -}}
{{- end -}}

{{- define "k8sreq.headlessName" -}}
{{- printf "%s-headless" (include "k8sreq.fullname" . | trunc 54 | trimSuffix "-") -}}
{{- end -}}

{{/* The pods' security context. A new volume belongs to root: with a group of the volume the program may write to it. */}}
{{- define "k8sreq.podSecurityContext" -}}
{{- $context := .Values.podSecurityContext -}}
{{- if .Values.persistence.enabled -}}
{{- $context = merge (dict) $context (dict "fsGroup" $context.runAsGroup "fsGroupChangePolicy" "OnRootMismatch") -}}
{{- end -}}
{{- toYaml $context -}}
{{- end -}}

{{/* A quantity in bytes, such as 2Gi; empty if it is none. */}}
{{- define "k8sreq.bytes" -}}
{{- $units := dict "" 1 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 "Pi" 1125899906842624 -}}
{{- $number := regexFind "^[0-9]+([.][0-9]+)?" . -}}
{{- $unit := trimPrefix $number . -}}
{{- if and $number (hasKey $units $unit) -}}
{{- mulf $number (get $units $unit) | int64 -}}
{{- end -}}
{{- end -}}

{{/* Refuses values that say twice where the journal is. */}}
{{- define "k8sreq.checkPostgres" -}}
{{- if .Values.journal.postgres.existingSecret -}}
{{- if .Values.persistence.enabled -}}
{{- fail "journal.postgres and persistence.enabled are two journals: choose one of them" -}}
{{- end -}}
{{- if or (hasKey .Values.env "JOURNAL") (hasKey .Values.extraEnvSecrets "JOURNAL") -}}
{{- fail "journal.postgres.existingSecret sets JOURNAL: remove JOURNAL from env and extraEnvSecrets" -}}
{{- end -}}
{{- range .Values.extraArgs -}}
{{- if regexMatch "^--journal(=|$)" . -}}
{{- fail "journal.postgres.existingSecret sets JOURNAL: remove --journal from extraArgs" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Refuses values with which the volumes would not hold what they are for. */}}
{{- define "k8sreq.checkPersistence" -}}
{{- $persistence := .Values.persistence -}}
{{- if or (hasKey .Values.env "JOURNAL") (hasKey .Values.extraEnvSecrets "JOURNAL") -}}
{{- fail "persistence.enabled sets JOURNAL to persistence.mountPath: remove JOURNAL from env and extraEnvSecrets" -}}
{{- end -}}
{{- range .Values.extraArgs -}}
{{- if regexMatch "^--journal(=|$)" . -}}
{{- fail "persistence.enabled sets JOURNAL to persistence.mountPath: remove --journal from extraArgs" -}}
{{- end -}}
{{- end -}}
{{- range .Values.secretMounts -}}
{{- if or (eq .name "journal") (eq .path $persistence.mountPath) -}}
{{- fail "secretMounts: the name journal and the path persistence.mountPath are those of the journal's volume" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.horizontalPodAutoscaler.enabled (eq $persistence.persistentVolumeClaimRetentionPolicy.whenScaled "Delete") -}}
{{- fail "horizontalPodAutoscaler.enabled with persistence.persistentVolumeClaimRetentionPolicy.whenScaled: Delete would delete accepted copies whenever the autoscaler removes a replica: use Retain" -}}
{{- end -}}
{{- $size := include "k8sreq.bytes" (toString $persistence.size) -}}
{{- $limit := include "k8sreq.envText" (default 1073741824 (get .Values.env "JOURNAL_BYTES")) -}}
{{- if and $size (regexMatch "^[0-9]+$" $limit) -}}
{{- $least := addf $limit (divf $limit 4) -}}
{{- if lt (float64 $size) $least -}}
{{- fail (printf "persistence.size (%s) is too small for JOURNAL_BYTES (%s): it has to hold a quarter more, %.0f bytes, and should be twice as large. Set a larger persistence.size or a smaller env.JOURNAL_BYTES" $persistence.size $limit $least) -}}
{{- end -}}
{{- end -}}
{{- end -}}
