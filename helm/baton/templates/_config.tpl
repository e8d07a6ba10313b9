{{/*
The cluster file of one program: what the chart decides, and `config` of the values. Takes (list root component).
Helm's numbers are floating point: 4194304 would be written as 4.194304e+06, which is no number of tokens.
*/}}
{{- define "baton.config" -}}
{{- if eq (index . 1) "planner" -}}
{{- include "baton.plannerConfig" (index . 0) -}}
{{- else -}}
{{- include "baton.servingConfig" . -}}
{{- end -}}
{{- end -}}

{{/* Bounds are those of the pools that it plans for. */}}
{{- define "baton.plannerConfig" -}}
{{- $routers := printf "%s-router-peers.%s.svc:8000" (include "baton.routers" .) .Release.Namespace -}}
{{- $set := dict "log_level" .Values.log.level "log_format" .Values.log.format
                 "grpc" "0.0.0.0:9600" "http" "0.0.0.0:9601" "routers" $routers -}}
{{- if or .Values.joins .Values.router.alsoServes -}}
{{- $set = merge $set (dict "model" (include "baton.modelName" .)) -}}
{{- end -}}
{{- range $role := list "prefill" "decode" -}}
{{- $own := index $.Values $role -}}
{{- $none := and (eq $role "prefill") (eq $own.autoscaling.by "none") (eq (int $own.replicas) 0) -}}
{{- $_ := set $set (printf "%s_min" $role) ($none | ternary 0 (int $own.autoscaling.minReplicas)) -}}
{{- $_ := set $set (printf "%s_max" $role) ($none | ternary 0 (int $own.autoscaling.maxReplicas)) -}}
{{- $_ := set $set (printf "%s_gpus" $role) (max (int $own.gpus) 1) -}}
{{- end -}}
{{- $set = merge $set (include "baton.securityConfig" (list . "planner") | fromYaml) -}}
planner:
{{- include "baton.options" (merge $set .Values.planner.config) | trim | nindent 2 }}
{{- end -}}

{{- define "baton.servingConfig" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- $own := index $root.Values $component -}}
{{- $set := dict "log_level" $root.Values.log.level "log_format" $root.Values.log.format
                 "drain_timeout" (printf "%ds" (int $own.drainSeconds)) -}}
{{- if eq $component "router" -}}
{{- $set = merge $set (dict "http" "0.0.0.0:8000" "grpc" "0.0.0.0:9000") -}}
{{- range $i, $other := $root.Values.router.alsoServes -}}
{{- $models := merge (get $set "models" | default dict) (dict $other.name (include "baton.pathOfModel" (list $other $i))) -}}
{{- $_ := set $set "models" $models -}}
{{- end -}}
{{- /* A pool that sleeps is woken by requests that wait for it. */ -}}
{{- if and (eq (int $root.Values.decode.autoscaling.minReplicas) 0) (not (hasKey $own.config "queue_without_workers")) -}}
{{- $set = merge $set (dict "queue_without_workers" true) -}}
{{- end -}}
{{- else -}}
{{- $router := printf "%s-router-peers.%s.svc:9000" (include "baton.routers" $root) $root.Release.Namespace -}}
{{- $set = merge $set (dict "grpc" "0.0.0.0:9100" "health" "0.0.0.0:9101" "metrics" "0.0.0.0:9400" "routers" $router
                            "device" (gt (int $own.gpus) 0 | ternary "cuda:0" "cpu")
                            "tensor_parallel_size" (max (int $own.gpus) 1)) -}}
{{- end -}}
{{- $set = merge $set (include "baton.securityConfig" . | fromYaml) -}}
{{- $model := merge (dict "path" (include "baton.pathOfModel" (list $root.Values.model)) "name" (include "baton.modelName" $root)) $root.Values.model.config -}}
model:
{{- include "baton.options" $model | trim | nindent 2 }}
{{ $component }}:
{{- include "baton.options" (merge $set $own.config) | trim | nindent 2 }}
{{- end -}}

{{- define "baton.options" -}}
{{- range $key := keys . | sortAlpha }}
{{- $value := index $ $key }}
{{- if kindIs "map" $value }}
{{ $key }}:
  {{- include "baton.options" $value | trim | nindent 2 }}
{{- else }}
{{ $key }}: {{ include "baton.scalar" $value }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "baton.scalar" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) -}}{{ int64 . }}
{{- else if kindIs "string" . -}}{{ quote . }}
{{- else -}}{{ . }}{{- end -}}
{{- end -}}
