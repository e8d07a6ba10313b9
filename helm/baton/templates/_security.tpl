{{/* Names and places of certificates and keys. Takes (list root role), role router or worker. */}}
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
{{- $router := eq (index . 1) "router" -}}
{{- if $values.tls.enabled }}
tls_certificate: /etc/baton-tls/tls.crt
tls_key: /etc/baton-tls/tls.key
tls_ca: /etc/baton-tls/ca.crt
{{- if not $router }}
health: 0.0.0.0:9101
{{- end }}
{{- end }}
{{- if and $router $values.router.httpTlsSecret }}
http_tls_certificate: /etc/baton-https/tls.crt
http_tls_key: /etc/baton-https/tls.key
{{- end }}
{{- if and $router $values.apiKeys.secret }}
api_keys_file: /etc/baton-keys/{{ $values.apiKeys.file }}
{{- end }}
{{- end -}}

{{/* Takes (list root component). */}}
{{- define "baton.securityMounts" -}}
{{- $values := (index . 0).Values -}}
{{- $router := eq (index . 1) "router" -}}
{{- if $values.tls.enabled }}
- {name: tls, mountPath: /etc/baton-tls, readOnly: true}
{{- end }}
{{- if and $router $values.router.httpTlsSecret }}
- {name: https, mountPath: /etc/baton-https, readOnly: true}
{{- end }}
{{- if and $router $values.apiKeys.secret }}
- {name: keys, mountPath: /etc/baton-keys, readOnly: true}
{{- end }}
{{- end -}}

{{/* Takes (list root component). */}}
{{- define "baton.securityVolumes" -}}
{{- $root := index . 0 -}}
{{- $values := $root.Values -}}
{{- $router := eq (index . 1) "router" -}}
{{- if $values.tls.enabled }}
- name: tls
  secret:
    secretName: {{ include "baton.tlsSecret" (list $root ($router | ternary "router" "worker")) }}
{{- end }}
{{- if and $router $values.router.httpTlsSecret }}
- name: https
  secret:
    secretName: {{ $values.router.httpTlsSecret }}
{{- end }}
{{- if and $router $values.apiKeys.secret }}
- name: keys
  secret:
    secretName: {{ $values.apiKeys.secret }}
    items:
      - {key: {{ $values.apiKeys.file }}, path: {{ $values.apiKeys.file }}}
{{- end }}
{{- end -}}
