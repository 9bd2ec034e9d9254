{{/*
Give values that are missing their defaults. `helm upgrade --reuse-values` lacks the values that only the newer chart has,
and a value that is null is missing, too. Each template starts with it.
*/}}
{{- define "vllm-server.defaults" -}}
{{- range .Files.Get "files/defaults.yaml" | fromYamlArray }}
{{- $group := $.Values }}
{{- range initial .path }}
{{- if not (kindIs "map" (get $group .)) }}
{{- $_ := set $group . dict }}
{{- end }}
{{- $group = get $group . }}
{{- end }}
{{- if not (hasKey $group (last .path)) }}
{{- $_ := set $group (last .path) .default }}
{{- end }}
{{- end }}
{{- end }}

{{/*
The spec of a server: its own fields over the shared ones, and the variables of proxy and certificates where it sets none
of the same name. Arguments: root, server.
*/}}
{{- define "vllm-server.spec" -}}
{{- $spec := mustMergeOverwrite (deepCopy .root.Values.defaults) (deepCopy (.server.spec | default dict)) }}
{{- $engine := $spec.engine | default dict }}
{{- $env := $engine.env | default list }}
{{- $names := list }}
{{- range $env }}{{ $names = append $names .name }}{{ end }}
{{- range (include "vllm-server.variables" .root | fromYamlArray) }}
{{- if not (has .name $names) }}{{ $env = append $env . }}{{ end }}
{{- end }}
{{- if $env }}
{{- $_ := set $spec "engine" (merge (dict "env" $env) $engine) }}
{{- end }}
{{- if .root.Values.ca.configMap }}
{{- include "vllm-server.mountCertificates" (dict "root" .root "spec" $spec) }}
{{- end }}
{{- toYaml $spec }}
{{- end }}

{{- define "vllm-server.variables" -}}
{{- with .Values.proxy }}
{{- with .http }}
- {name: HTTP_PROXY, value: {{ . | quote }}}
- {name: http_proxy, value: {{ . | quote }}}
{{- end }}
{{- with .https }}
- {name: HTTPS_PROXY, value: {{ . | quote }}}
- {name: https_proxy, value: {{ . | quote }}}
{{- end }}
{{- if or .http .https }}
- {name: NO_PROXY, value: {{ join "," .exclude | quote }}}
- {name: no_proxy, value: {{ join "," .exclude | quote }}}
{{- end }}
{{- end }}
{{- if .Values.ca.configMap }}
- {name: SSL_CERT_FILE, value: "/etc/vllm-server-ca/{{ .Values.ca.key }}"}
- {name: REQUESTS_CA_BUNDLE, value: "/etc/vllm-server-ca/{{ .Values.ca.key }}"}
- {name: CURL_CA_BUNDLE, value: "/etc/vllm-server-ca/{{ .Values.ca.key }}"}
{{- end }}
{{- end }}

{{/*
Add the volume of the certificates to the pod template of a spec, and its mount to the container that runs vLLM.
*/}}
{{- define "vllm-server.mountCertificates" -}}
{{- $template := .spec.podTemplate | default dict }}
{{- $pod := $template.spec | default dict }}
{{- $mount := dict "name" "vllm-server-ca" "mountPath" "/etc/vllm-server-ca" "readOnly" true }}
{{- $containers := list }}
{{- $found := false }}
{{- range ($pod.containers | default list) }}
{{- if eq .name "vllm" }}
{{- $found = true }}
{{- $containers = append $containers (merge (dict "volumeMounts" (append (.volumeMounts | default list) $mount)) .) }}
{{- else }}
{{- $containers = append $containers . }}
{{- end }}
{{- end }}
{{- if not $found }}
{{- $containers = append $containers (dict "name" "vllm" "volumeMounts" (list $mount)) }}
{{- end }}
{{- $volume := dict "name" "vllm-server-ca" "configMap" (dict "name" .root.Values.ca.configMap) }}
{{- $volumes := append ($pod.volumes | default list) $volume }}
{{- $_ := set .spec "podTemplate" (merge (dict "spec" (merge (dict "containers" $containers "volumes" $volumes) $pod)) $template) }}
{{- end }}
