{{/*
Completes the values by the chart's own, in every template first. With --reuse-values helm takes those of the release as it
is, which an earlier chart has made, in place of values.yaml: what is new since is missing, and what was empty is null.
*/}}
{{- define "k8sreq.complete" -}}
{{- $chart := .Files.Get "files/values.yaml" | fromYaml -}}
{{- range $name, $value := $chart -}}
{{- $given := get $.Values $name -}}
{{- if or (not (hasKey $.Values $name)) (kindIs "invalid" $given) -}}
{{- $_ := set $.Values $name $value -}}
{{- else if and (kindIs "map" $value) (kindIs "map" $given) -}}
{{- range $key, $inner := $value -}}
{{- if not (hasKey $given $key) -}}
{{- $_ := set $given $key $inner -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The container's security context. The restricted profile knows the capability ALL in capitals only. */}}
{{- define "k8sreq.securityContext" -}}
{{- $context := deepCopy .Values.securityContext -}}
{{- $capabilities := get $context "capabilities" -}}
{{- if and $capabilities (get $capabilities "drop") -}}
{{- $drop := list -}}
{{- range get $capabilities "drop" -}}
{{- $drop = append $drop (upper .) -}}
{{- end -}}
{{- $_ := set $capabilities "drop" $drop -}}
{{- end -}}
{{- toYaml $context -}}
{{- end -}}

{{/* The Lease: each release has its own. */}}
{{- define "k8sreq.leaseName" -}}
{{- default (include "k8sreq.fullname" .) (get .Values.env "LEADER_ELECTION_NAME") -}}
{{- end -}}

{{- define "k8sreq.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "k8sreq.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "k8sreq.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "k8sreq.selectorLabels" -}}
app.kubernetes.io/name: {{ include "k8sreq.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "k8sreq.labels" -}}
{{- range $name := list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/managed-by" "app.kubernetes.io/version" "helm.sh/chart" -}}
{{- if hasKey (default (dict) $.Values.commonLabels) $name -}}
{{- fail (printf "commonLabels: %s is a label that the chart sets itself" $name) -}}
{{- end -}}
{{- end -}}
{{ include "k8sreq.selectorLabels" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The labels of an object that has some of its own (.more), which win over commonLabels; of .root. */}}
{{- define "k8sreq.labelsWith" -}}
{{- merge (dict) (default (dict) .more) (include "k8sreq.labels" .root | fromYaml) | toYaml -}}
{{- end -}}

{{/* The labels of the pods: whatever is given, the selector finds them. */}}
{{- define "k8sreq.podLabels" -}}
{{- $selector := include "k8sreq.selectorLabels" . | fromYaml -}}
{{- merge (dict) $selector (default (dict) .Values.podLabels) (default (dict) .Values.commonLabels) | toYaml -}}
{{- end -}}

{{/* The image. None is published, so without a name there is nothing that could run. */}}
{{- define "k8sreq.image" -}}
{{- $tag := default .Chart.AppVersion .Values.image.tag -}}
{{- if not .Values.image.repository -}}
{{- fail (printf `

image.repository is not set, and no image of K8sReq is published. In the program's source folder, build one:

  docker build -t k8sreq:%[1]s .

Then load it into the cluster (kind), or push it to a registry that the cluster can read:

  kind load docker-image k8sreq:%[1]s
  docker tag k8sreq:%[1]s REGISTRY/k8sreq:%[1]s && docker push REGISTRY/k8sreq:%[1]s

and install with --set image.repository=k8sreq, or --set image.repository=REGISTRY/k8sreq
` $tag) -}}
{{- end -}}
{{- printf "%s:%s" .Values.image.repository $tag -}}
{{- with .Values.image.digest }}@{{ . }}{{ end -}}
{{- end -}}

{{/* The Service with the metrics. */}}
{{- define "k8sreq.metricsName" -}}
{{- printf "%s-metrics" (include "k8sreq.fullname" . | trunc 55 | trimSuffix "-") -}}
{{- end -}}

{{/* Labels, and annotations if there are any; for "metadata:" with 2 spaces before each. */}}
{{- define "k8sreq.metadata" -}}
labels:
  {{- include "k8sreq.labels" . | nindent 2 }}
{{- with .Values.annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "k8sreq.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "k8sreq.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* The namespaces that are watched, separated by commas; empty for all. */}}
{{- define "k8sreq.namespaces" -}}
{{- if hasKey .Values.env "NAMESPACES" -}}
{{- .Values.env.NAMESPACES -}}
{{- else if .Values.namespaces -}}
{{- join "," .Values.namespaces -}}
{{- else if not .Values.clusterRBAC.enabled -}}
{{- .Release.Namespace -}}
{{- end -}}
{{- end -}}

{{- define "k8sreq.leaseNamespace" -}}
{{- default .Release.Namespace (get .Values.env "LEADER_ELECTION_NAMESPACE") -}}
{{- end -}}

{{/* The environment as a map: what the chart makes of its values, and over it what users give. */}}
{{- define "k8sreq.env" -}}
{{- $made := dict
  "HTTP_ADDR" (printf ":%v" .Values.httpPort)
  "METRICS_ADDR" (printf ":%v" .Values.metricsPort)
  "PROBE_ADDR" (printf ":%v" .Values.probesPort)
  "SHUTDOWN_DELAY" .Values.shutdownDelay
  "GRACEFUL_SHUTDOWN_TIMEOUT" .Values.gracefulShutdownTimeout
  "ENABLE_LEADER_ELECTION" (toString .Values.leaderElection.enabled)
  "LEADER_ELECTION_NAME" (include "k8sreq.leaseName" .)
  "LEADER_ELECTION_NAMESPACE" (include "k8sreq.leaseNamespace" .)
  "NAMESPACES" (include "k8sreq.namespaces" .)
-}}
{{- with .Values.logLevel -}}
{{- $_ := set $made "LOG_LEVEL" . -}}
{{- end -}}
{{- with .Values.logFormat -}}
{{- $_ := set $made "LOG_FORMAT" . -}}
{{- end -}}
{{- if .Values.persistence.enabled -}}
{{- $_ := set $made "JOURNAL" .Values.persistence.mountPath -}}
{{- end -}}
{{- mergeOverwrite $made .Values.env | toYaml -}}
{{- end -}}

{{/*
What a collector is told of the pod, by OpenTelemetry's conventions for Kubernetes; the variables are those of the pod. What
users give in OTEL_RESOURCE_ATTRIBUTES comes after it, and instead of what has the same name.
*/}}
{{- define "k8sreq.resourceAttributes" -}}
{{- $given := toString (default "" (get .Values.env "OTEL_RESOURCE_ATTRIBUTES")) | trim | trimSuffix "," -}}
{{- $workload := ternary "statefulset" "deployment" .Values.persistence.enabled -}}
{{- $attributes := list -}}
{{- range list
  "k8s.namespace.name=$(POD_NAMESPACE)"
  "k8s.pod.name=$(POD_NAME)"
  "k8s.pod.uid=$(POD_UID)"
  "k8s.node.name=$(NODE_NAME)"
  "k8s.container.name=k8sreq-duplicator-controller"
  (printf "k8s.%s.name=%s" $workload (include "k8sreq.fullname" .))
-}}
{{- if not (regexMatch (printf "(^|,)\\s*%s\\s*=" (regexQuoteMeta (first (splitList "=" .)))) $given) -}}
{{- $attributes = append $attributes . -}}
{{- end -}}
{{- end -}}
{{- with $given -}}
{{- $attributes = append $attributes . -}}
{{- end -}}
{{- join "," $attributes -}}
{{- end -}}

{{/* A variable's value as text. Helm reads numbers as floating point, and writes those of a million and more with an exponent. */}}
{{- define "k8sreq.envText" -}}
{{- if and (kindIs "float64" .) (eq . (floor .)) -}}
{{- printf "%.0f" . -}}
{{- else -}}
{{- toString . -}}
{{- end -}}
{{- end -}}

{{/* The port that is listened on: that of an address in the environment, where one is set. */}}
{{- define "k8sreq.port" -}}
{{- $env := include "k8sreq.env" .root | fromYaml -}}
{{- regexFind "[0-9]+$" (toString (get $env .name)) -}}
{{- end -}}

{{- define "k8sreq.terminationGracePeriodSeconds" -}}
{{- if .Values.terminationGracePeriodSeconds -}}
{{- .Values.terminationGracePeriodSeconds -}}
{{- else -}}
{{- $env := include "k8sreq.env" . | fromYaml -}}
{{- $delay := toString $env.SHUTDOWN_DELAY -}}
{{- $timeout := toString $env.GRACEFUL_SHUTDOWN_TIMEOUT -}}
{{- if not (and (regexMatch "^[0-9]+s$" $delay) (regexMatch "^[0-9]+s$" $timeout)) -}}
{{- fail (printf "terminationGracePeriodSeconds has to be given, because SHUTDOWN_DELAY (%s) and GRACEFUL_SHUTDOWN_TIMEOUT (%s) are not both whole seconds" $delay $timeout) -}}
{{- end -}}
{{- add (trimSuffix "s" $delay | int) (trimSuffix "s" $timeout | int) 10 -}}
{{- end -}}
{{- end -}}

{{/* What has to be allowed where RequestClones are watched: no more than the program does. */}}
{{- define "k8sreq.rules" -}}
- apiGroups: ["proxy.infra.doodle.com"]
  resources: ["requestclones"]
  verbs: ["list", "watch"]
- apiGroups: ["proxy.infra.doodle.com"]
  resources: ["requestclones/status"]
  verbs: ["patch"]
- apiGroups: [""]
  resources: ["services"]
  verbs: ["list", "watch"]
- apiGroups: ["events.k8s.io"]
  resources: ["events"]
  verbs: ["create"]
{{- end -}}
