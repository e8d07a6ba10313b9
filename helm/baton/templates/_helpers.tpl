{{- define "baton.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 48 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 48 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* As baton.fullname, of another release. Takes (list root release). */}}
{{- define "baton.fullnameOf" -}}
{{- $root := index . 0 -}}
{{- include "baton.fullname" (dict "Chart" $root.Chart "Release" (dict "Name" (index . 1))) -}}
{{- end -}}

{{/* The release whose routers serve this one, and what its objects are called. */}}
{{- define "baton.routersRelease" -}}
{{- .Values.joins | default .Release.Name -}}
{{- end -}}
{{- define "baton.routers" -}}
{{- include "baton.fullnameOf" (list . (include "baton.routersRelease" .)) -}}
{{- end -}}

{{/* Of every object. Takes (list root component). */}}
{{- define "baton.labels" -}}
{{- $root := index . 0 -}}
{{ include "baton.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* What pods are chosen by. Takes (list root component). */}}
{{- define "baton.selector" -}}
{{- $root := index . 0 -}}
{{ include "baton.selectorOf" (list $root $root.Release.Name (index . 1)) }}
{{- end -}}

{{/* The same of another release. Takes (list root release component). */}}
{{- define "baton.selectorOf" -}}
app.kubernetes.io/name: {{ (index . 0).Chart.Name }}
app.kubernetes.io/instance: {{ index . 1 }}
app.kubernetes.io/component: {{ index . 2 }}
{{- end -}}

{{- define "baton.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{- define "baton.modelName" -}}
{{- .Values.model.name | default (eq .Values.model.source "demo" | ternary "baton-demo" "") -}}
{{- end -}}

{{/* The two roles of workers and everything else that has pods. */}}
{{- define "baton.components" -}}
{{ if not .Values.joins }}router {{ end }}prefill decode{{ if .Values.planner.enabled }} planner{{ end }}
{{- end -}}

{{/* Arguments: root, alert. The annotation that leads from an alert to its page, where pages are served. */}}
{{- define "baton.runbook" -}}
{{- with (index . 0).Values.monitoring.rules.runbooks -}}
runbook_url: {{ printf "%s/%s.md" (trimSuffix "/" .) (index $ 1) }}
{{- end -}}
{{- end -}}
