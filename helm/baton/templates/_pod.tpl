{{/* Nobody in these pods is root, writes to the image or has capabilities. */}}
{{- define "baton.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* Takes a list of capabilities to add. */}}
{{- define "baton.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
  {{- with . }}
  add: {{ toJson . }}
  {{- end }}
{{- end -}}

{{/*
A model's folder, volume and what fetches it. A model is `model` of the values, or one of `router.alsoServes`, which has
a number. Take (list model), (list model number); what fetches: (list root component model), (list … number).
*/}}
{{- define "baton.pathOfModel" -}}
{{- $place := gt (len .) 1 | ternary (printf "/models/%v" (last .)) "/model" -}}
{{- eq (first .).source "demo" | ternary "/opt/baton/models/baton-demo" $place -}}
{{- end -}}

{{- define "baton.volumeNameOfModel" -}}
{{- gt (len .) 1 | ternary (printf "model-%v" (last .)) "model" -}}
{{- end -}}

{{- define "baton.volumeOfModel" -}}
{{- $model := first . -}}
{{- $name := include "baton.volumeNameOfModel" . -}}
{{- if eq $model.source "claim" }}
- name: {{ $name }}
  persistentVolumeClaim:
    claimName: {{ dig "claim" "name" "" $model }}
    readOnly: true
{{- else if eq $model.source "hostPath" }}
- name: {{ $name }}
  hostPath:
    path: {{ dig "hostPath" "path" "" $model }}
    type: Directory
{{- else if eq $model.source "download" }}
- name: {{ $name }}
  emptyDir:
    sizeLimit: {{ dig "download" "sizeLimit" "1Gi" $model }}
{{- end }}
{{- end -}}

{{- define "baton.mountOfModel" -}}
{{- $model := first . -}}
{{- if ne $model.source "demo" }}
- name: {{ include "baton.volumeNameOfModel" . }}
  mountPath: {{ include "baton.pathOfModel" . }}
  readOnly: true
  {{- with and (eq $model.source "claim") (dig "claim" "subPath" "" $model) }}
  subPath: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "baton.downloaderOfModel" -}}
{{- $root := index . 0 -}}
{{- $model := index . 2 -}}
{{- $which := slice . 2 -}}
{{- $download := $model.download | default dict -}}
{{- if eq $model.source "download" }}
- name: {{ gt (len $which) 1 | ternary (printf "download-%v" (last $which)) "download" }}
  image: {{ $download.image }}
  imagePullPolicy: {{ $root.Values.image.pullPolicy }}
  command: {{ $download.command | default list | toJson }}
  env:
    - name: MODEL_DIR
      value: {{ include "baton.pathOfModel" $which }}
    - name: BATON_COMPONENT
      value: {{ index . 1 }}
    - name: HOME
      value: /tmp
    {{- with include "baton.env" ($download.env | default dict) }}{{ . | trim | nindent 4 }}{{ end }}
  {{- with $download.envFromSecret }}
  envFrom:
    - secretRef:
        name: {{ . }}
  {{- end }}
  securityContext:
    {{- include "baton.containerSecurity" (list) | nindent 4 }}
  terminationMessagePolicy: FallbackToLogsOnError
  volumeMounts:
    - name: {{ include "baton.volumeNameOfModel" $which }}
      mountPath: {{ include "baton.pathOfModel" $which }}
    - name: tmp
      mountPath: /tmp
{{- end }}
{{- end -}}

{{/* Of a pod: its own model, and a router's others. Take (list root component). */}}
{{- define "baton.modelVolumes" -}}
{{- $values := (index . 0).Values -}}
{{- include "baton.volumeOfModel" (list $values.model) }}
{{- if eq (index . 1) "router" }}
{{- range $i, $other := $values.router.alsoServes }}
{{- include "baton.volumeOfModel" (list $other $i) }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "baton.modelMounts" -}}
{{- $values := (index . 0).Values -}}
{{- include "baton.mountOfModel" (list $values.model) }}
{{- if eq (index . 1) "router" }}
{{- range $i, $other := $values.router.alsoServes }}
{{- include "baton.mountOfModel" (list $other $i) }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "baton.downloaders" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- include "baton.downloaderOfModel" (list $root $component $root.Values.model) }}
{{- if eq $component "router" }}
{{- range $i, $other := $root.Values.router.alsoServes }}
{{- include "baton.downloaderOfModel" (list $root $component $other $i) }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "baton.env" -}}
{{- range $name := keys . | sortAlpha }}
- name: {{ $name }}
  value: {{ index $ $name | toString | quote }}
{{- end }}
{{- end -}}

{{/*
How many threads: what the pod has of the node, which the programs cannot see. Nothing when `config` says so.
Takes (list component option values).
*/}}
{{- define "baton.threadsEnv" -}}
{{- $component := index . 0 -}}
{{- $option := index . 1 -}}
{{- $own := index . 2 -}}
{{- $limits := $own.resources.limits | default dict -}}
{{- $requests := $own.resources.requests | default dict -}}
{{- if not (hasKey $own.config $option) }}
{{- if or (hasKey $limits "cpu") (hasKey $requests "cpu") }}
- name: BATON_{{ upper $component }}_{{ upper $option }}
  valueFrom:
    resourceFieldRef:
      containerName: {{ $component }}
      resource: {{ hasKey $limits "cpu" | ternary "limits.cpu" "requests.cpu" }}
      divisor: "1"
{{- end }}
{{- end }}
{{- end -}}

{{/* What the pod templates of router and workers have in common before their containers. Takes (list root component). */}}
{{- define "baton.podSpecHead" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- $own := index $root.Values $component -}}
serviceAccountName: {{ include "baton.fullname" $root }}-{{ $component }}
automountServiceAccountToken: false
# Service links would be variables that begin as the programs' own do: BATON_ROUTER_…
enableServiceLinks: false
{{- with $root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with $own.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
securityContext:
  {{- include "baton.podSecurity" $root | nindent 2 }}
nodeSelector:
  {{- merge (dict) $own.nodeSelector (dict "kubernetes.io/arch" "amd64" "kubernetes.io/os" "linux") | toYaml | nindent 2 }}
{{- with $own.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
  - topologyKey: {{ $root.Values.placement.spreadOver }}
    maxSkew: 1
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "baton.selector" . | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
{{- end -}}

{{/* Takes (list root component). */}}
{{- define "baton.podAnnotations" -}}
{{- $root := index . 0 -}}
checksum/config: {{ include "baton.config" . | sha256sum }}
{{- with (index $root.Values (index . 1)).podAnnotations }}
{{ toYaml . }}
{{- end }}
{{- end -}}
