{{- define "st8d.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "st8d.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains (include "st8d.name" .) .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "st8d.name" .) | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "st8d.selectorLabels" -}}
app.kubernetes.io/name: {{ include "st8d.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "st8d.labels" -}}
{{ include "st8d.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "st8d.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "st8d.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "st8d.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{- define "st8d.tokenSecret" -}}
{{- if .Values.auth.token.existingSecret }}
{{- .Values.auth.token.existingSecret }}
{{- else if .Values.auth.token.value }}
{{- printf "%s-token" (include "st8d.fullname" .) }}
{{- end }}
{{- end }}

{{- define "st8d.policySecret" -}}
{{- if .Values.auth.policy.existingSecret }}
{{- .Values.auth.policy.existingSecret }}
{{- else if .Values.auth.policy.config }}
{{- printf "%s-policy" (include "st8d.fullname" .) }}
{{- end }}
{{- end }}

{{- define "st8d.claim" -}}
{{- default (include "st8d.fullname" .) .Values.persistence.existingClaim }}
{{- end }}

{{/* Not empty where the state is in a store that the daemons share. */}}
{{- define "st8d.hasStore" -}}
{{- if or .Values.store.url .Values.store.existingSecret }}yes{{ end }}
{{- end }}

{{- define "st8d.scheme" -}}
{{- ternary "https" "http" .Values.tls.enabled }}
{{- end }}

{{/* The kubelet has no certificate to show: where one is asked for, st8d is asked from within. */}}
{{- define "st8d.probe" -}}
{{- $values := .root.Values }}
{{- if and $values.tls.enabled $values.tls.clientCA.existingSecret (eq $values.tls.clientCA.auth "required") }}
exec:
  command: [python, /opt/st8/healthcheck.py]
{{- else }}
httpGet:
  path: {{ .path }}
  port: http
  scheme: {{ include "st8d.scheme" .root | upper }}
{{- end }}
{{ toYaml .settings }}
{{- end }}

{{- define "st8d.check" -}}
{{- if and .Values.store.url .Values.store.existingSecret }}
{{- fail "store.url and store.existingSecret are both given; leave one of them out" }}
{{- end }}
{{- if regexMatch "^[^/]*//[^/@]*:[^/@]*@|[?&]password=" .Values.store.url }}
{{- fail "store.url has a password, which everybody could read; put the URL into a Secret and name that in store.existingSecret" }}
{{- end }}
{{- if not (include "st8d.hasStore" .) }}
{{- if ne (int .Values.replicaCount) 1 }}
{{- fail (printf "replicaCount is %v, and one daemon holds a state directory: leave it at 1, or have them share a PostgreSQL, with store.existingSecret" .Values.replicaCount) }}
{{- end }}
{{- else if .Values.persistence.existingClaim }}
{{- fail "store and persistence.existingClaim are both given, and the state is in one place; leave one of them out" }}
{{- end }}
{{- if and .Values.tls.enabled (not .Values.tls.existingSecret) }}
{{- fail "tls.enabled needs tls.existingSecret, the name of a Secret of type kubernetes.io/tls" }}
{{- end }}
{{- if and .Values.tls.clientCA.existingSecret (not .Values.tls.enabled) }}
{{- fail "tls.clientCA.existingSecret needs tls.enabled: certificates are shown over TLS only" }}
{{- end }}
{{- if and .Values.metrics.serviceMonitor.enabled .Values.tls.clientCA.existingSecret (eq .Values.tls.clientCA.auth "required") (not .Values.metrics.serviceMonitor.tlsConfig.cert) }}
{{- fail "metrics.serviceMonitor.tlsConfig needs cert and keySecret where tls.clientCA.auth is required: Prometheus has to show a certificate too" }}
{{- end }}
{{- if and .Values.auth.token.value .Values.auth.token.existingSecret }}
{{- fail "auth.token.value and auth.token.existingSecret are both given; leave one of them out" }}
{{- end }}
{{- if and .Values.auth.policy.config .Values.auth.policy.existingSecret }}
{{- fail "auth.policy.config and auth.policy.existingSecret are both given; leave one of them out" }}
{{- end }}
{{- end }}
