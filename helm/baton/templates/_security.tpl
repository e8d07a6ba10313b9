{{/* Names and places of certificates and keys. Takes (list root role), role router, worker or planner. */}}
{{- define "baton.tlsSecret" -}}
{{- $root := index . 0 -}}
{{- $role := index . 1 -}}
{{- if eq $root.Values.tls.source "secret" -}}
{{- index $root.Values.tls.secret $role -}}
{{- else -}}
{{- include "baton.fullname" $root }}-{{ $role }}-tls
{{- end -}}
{{- end -}}

{{/* Options of a program. Takes (list root component). */}}
{{- define "baton.securityConfig" -}}
{{- $values := (index . 0).Values -}}
{{- $component := index . 1 -}}
{{- if $values.tls.enabled }}
tls_certificate: /etc/baton-tls/tls.crt
tls_key: /etc/baton-tls/tls.key
tls_ca: /etc/baton-tls/ca.crt
{{- end }}
{{- if $values.router.httpTlsSecret }}
{{- if eq $component "router" }}
http_tls_certificate: /etc/baton-https/tls.crt
http_tls_key: /etc/baton-https/tls.key
{{- else if eq $component "planner" }}
http_tls_ca: /etc/baton-https/tls.crt
http_tls_name: {{ $values.planner.httpsName }}
{{- end }}
{{- end }}
{{- if $values.apiKeys.secret }}
{{- if eq $component "router" }}
api_keys_file: /etc/baton-keys/{{ $values.apiKeys.file }}
{{- else if eq $component "planner" }}
api_key_file: /etc/baton-keys/{{ $values.apiKeys.plannerKey }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Takes (list root component). */}}
{{- define "baton.securityMounts" -}}
{{- $values := (index . 0).Values -}}
{{- $asksByHttp := has (index . 1) (list "router" "planner") -}}
{{- if $values.tls.enabled }}
- {name: tls, mountPath: /etc/baton-tls, readOnly: true}
{{- end }}
{{- if and $asksByHttp $values.router.httpTlsSecret }}
- {name: https, mountPath: /etc/baton-https, readOnly: true}
{{- end }}
{{- if and $asksByHttp $values.apiKeys.secret }}
- {name: keys, mountPath: /etc/baton-keys, readOnly: true}
{{- end }}
{{- end -}}

{{/* Takes (list root component). A planner has of the routers' Secrets what it needs: a certificate, one key. */}}
{{- define "baton.securityVolumes" -}}
{{- $root := index . 0 -}}
{{- $values := $root.Values -}}
{{- $component := index . 1 -}}
{{- $role := has $component (list "router" "planner") | ternary $component "worker" -}}
{{- if $values.tls.enabled }}
- name: tls
  secret:
    secretName: {{ include "baton.tlsSecret" (list $root $role) }}
{{- end }}
{{- if and (ne $role "worker") $values.router.httpTlsSecret }}
- name: https
  secret:
    secretName: {{ $values.router.httpTlsSecret }}
    {{- if eq $role "planner" }}
    items:
      - {key: tls.crt, path: tls.crt}
    {{- end }}
{{- end }}
{{- if and (ne $role "worker") $values.apiKeys.secret }}
{{- $file := eq $role "planner" | ternary $values.apiKeys.plannerKey $values.apiKeys.file }}
- name: keys
  secret:
    secretName: {{ $values.apiKeys.secret }}
    items:
      - {key: {{ $file }}, path: {{ $file }}}
{{- end }}
{{- end -}}
