{{/* The pods, of the Deployment or the StatefulSet: for "template:", with 4 spaces before each line. */}}
{{- define "k8sreq.pod" -}}
metadata:
  labels:
    {{- include "k8sreq.podLabels" . | nindent 4 }}
  {{- with .Values.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "k8sreq.serviceAccountName" . }}
  automountServiceAccountToken: true
  terminationGracePeriodSeconds: {{ include "k8sreq.terminationGracePeriodSeconds" . }}
  {{- with include "k8sreq.podSecurityContext" . | fromYaml }}
  securityContext:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: k8sreq-duplicator-controller
      image: {{ include "k8sreq.image" . | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      {{- with .Values.extraArgs }}
      args:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      env:
        {{- $env := include "k8sreq.env" . | fromYaml }}
        {{- range $name, $field := dict "POD_NAME" "metadata.name" "POD_NAMESPACE" "metadata.namespace" "POD_UID" "metadata.uid" "NODE_NAME" "spec.nodeName" }}
        {{- if not (or (hasKey $env $name) (hasKey $.Values.extraEnvSecrets $name)) }}
        - name: {{ $name }}
          valueFrom:
            fieldRef:
              fieldPath: {{ $field }}
        {{- end }}
        {{- end }}
        {{- range $name, $value := omit $env "OTEL_RESOURCE_ATTRIBUTES" }}
        {{- if not (hasKey $.Values.extraEnvSecrets $name) }}
        - name: {{ $name }}
          value: {{ include "k8sreq.envText" $value | quote }}
        {{- end }}
        {{- end }}
        {{- range $name, $source := .Values.extraEnvSecrets }}
        - name: {{ $name }}
          valueFrom:
            secretKeyRef:
              name: {{ required "extraEnvSecrets: each needs a secret" $source.secret }}
              key: {{ required "extraEnvSecrets: each needs a key" $source.key }}
        {{- end }}
        {{- /* After those that it refers to. */}}
        {{- if not (hasKey .Values.extraEnvSecrets "OTEL_RESOURCE_ATTRIBUTES") }}
        - name: OTEL_RESOURCE_ATTRIBUTES
          value: {{ include "k8sreq.resourceAttributes" . | quote }}
        {{- end }}
        {{- with .Values.journal.postgres }}
        {{- if .existingSecret }}
        - name: JOURNAL
          valueFrom:
            secretKeyRef:
              name: {{ .existingSecret }}
              key: {{ .uriKey }}
        {{- end }}
        {{- end }}
      {{- with .Values.envFromSecret }}
      envFrom:
        - secretRef:
            name: {{ . }}
      {{- end }}
      ports:
        - name: http
          containerPort: {{ include "k8sreq.port" (dict "root" . "name" "HTTP_ADDR") }}
          protocol: TCP
        - name: metrics
          containerPort: {{ include "k8sreq.port" (dict "root" . "name" "METRICS_ADDR") }}
          protocol: TCP
        - name: probes
          containerPort: {{ include "k8sreq.port" (dict "root" . "name" "PROBE_ADDR") }}
          protocol: TCP
      {{- with .Values.startupProbe }}
      startupProbe:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      livenessProbe:
        {{- toYaml .Values.livenessProbe | nindent 8 }}
      readinessProbe:
        {{- toYaml .Values.readinessProbe | nindent 8 }}
      {{- with .Values.resources }}
      resources:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- if .Values.securityContext }}
      securityContext:
        {{- include "k8sreq.securityContext" . | nindent 8 }}
      {{- end }}
      {{- if or .Values.persistence.enabled .Values.secretMounts .Values.extraVolumeMounts }}
      volumeMounts:
        {{- if .Values.persistence.enabled }}
        - name: journal
          mountPath: {{ .Values.persistence.mountPath }}
        {{- end }}
        {{- range .Values.secretMounts }}
        - name: {{ .name }}
          mountPath: {{ .path }}
          readOnly: true
          {{- with .subPath }}
          subPath: {{ . }}
          {{- end }}
        {{- end }}
        {{- with .Values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- end }}
    {{- with .Values.extraContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- if or .Values.secretMounts .Values.extraVolumes }}
  volumes:
    {{- range .Values.secretMounts }}
    - name: {{ .name }}
      secret:
        secretName: {{ .secretName }}
    {{- end }}
    {{- with .Values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  topologySpreadConstraints:
    {{- if .Values.topologySpreadConstraints }}
    {{- toYaml .Values.topologySpreadConstraints | nindent 4 }}
    {{- else }}
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "k8sreq.selectorLabels" . | nindent 10 }}
    {{- end }}
{{- end -}}
