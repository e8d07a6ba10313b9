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

{{/* Where the programs find the model. */}}
{{- define "baton.modelPath" -}}
{{- eq .Values.model.source "demo" | ternary "/opt/baton/models/baton-demo" "/model" -}}
{{- end -}}

{{- define "baton.modelVolume" -}}
{{- $model := .Values.model -}}
{{- if eq $model.source "claim" }}
- name: model
  persistentVolumeClaim:
    claimName: {{ $model.claim.name }}
    readOnly: true
{{- else if eq $model.source "hostPath" }}
- name: model
  hostPath:
    path: {{ $model.hostPath.path }}
    type: Directory
{{- else if eq $model.source "download" }}
- name: model
  emptyDir:
    sizeLimit: {{ $model.download.sizeLimit }}
{{- end }}
{{- end -}}

{{- define "baton.modelMount" -}}
{{- if ne .Values.model.source "demo" }}
- name: model
  mountPath: /model
  readOnly: true
  {{- if and (eq .Values.model.source "claim") .Values.model.claim.subPath }}
  subPath: {{ .Values.model.claim.subPath }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* Takes (list root component). */}}
{{- define "baton.downloader" -}}
{{- $root := index . 0 -}}
{{- $download := $root.Values.model.download -}}
{{- if eq $root.Values.model.source "download" }}
- name: download
  image: {{ $download.image }}
  imagePullPolicy: {{ $root.Values.image.pullPolicy }}
  command: {{ toJson $download.command }}
  env:
    - name: MODEL_DIR
      value: /model
    - name: BATON_COMPONENT
      value: {{ index . 1 }}
    - name: HOME
      value: /tmp
    {{- with include "baton.env" $download.env }}{{ . | trim | nindent 4 }}{{ end }}
  {{- with $download.envFromSecret }}
  envFrom:
    - secretRef:
        name: {{ . }}
  {{- end }}
  securityContext:
    {{- include "baton.containerSecurity" (list) | nindent 4 }}
  terminationMessagePolicy: FallbackToLogsOnError
  volumeMounts:
    - name: model
      mountPath: /model
    - name: tmp
      mountPath: /tmp
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
