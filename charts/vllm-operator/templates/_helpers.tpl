{{/*
Give values that are missing their defaults. `helm upgrade --reuse-values` lacks the values that only the newer chart has,
and a value that is null is missing, too. Each template starts with it.
*/}}
{{- define "vllm-operator.defaults" -}}
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
Name of Deployment, Service and ServiceAccount.
*/}}
{{- define "vllm-operator.fullname" -}}
{{- $name := .Values.nameOverride | default .Chart.Name }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- $length := max 1 (sub 62 (len $name)) | int }}
{{- printf "%s-%s" (.Release.Name | trunc $length | trimSuffix "-") $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/*
Name of what exists once in its namespace, or once in the cluster: a second release that wants it is refused.
It is also the name of the Lease.
*/}}
{{- define "vllm-operator.singleton" -}}
vllm-operator
{{- end }}

{{- define "vllm-operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- .Values.serviceAccount.name | default (include "vllm-operator.fullname" .) }}
{{- else }}
{{- required "serviceAccount.name: name the ServiceAccount that exists, or set serviceAccount.create to true" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/*
Labels by which Deployment, Service and policies select the pods. They are the same without Helm, so that a release can
take over what `kubectl apply` installed.
*/}}
{{- define "vllm-operator.selectorLabels" -}}
app.kubernetes.io/name: vllm-operator
app.kubernetes.io/component: controller
{{- end }}

{{- define "vllm-operator.labels" -}}
{{ include "vllm-operator.selectorLabels" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/*
The metadata of an object. Arguments: root, name, and where it has them namespace, labels, annotations.
*/}}
{{- define "vllm-operator.metadata" -}}
name: {{ .name }}
{{- with .namespace }}
namespace: {{ . }}
{{- end }}
labels:
{{- merge (dict) (.labels | default dict) (include "vllm-operator.labels" .root | fromYaml) .root.Values.commonLabels | toYaml | nindent 2 }}
{{- with merge (dict) (.annotations | default dict) .root.Values.commonAnnotations }}
annotations:
{{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "vllm-operator.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}
{{- end }}
{{- end }}

{{/*
The metrics API is one for the whole cluster.
*/}}
{{- define "vllm-operator.servesMetrics" -}}
{{- if and .Values.metricsAPI.enabled (not .Values.servedNamespaces) }}true{{ end }}
{{- end }}

{{- define "vllm-operator.leaseNamespace" -}}
{{- .Values.leaderElection.namespace | default .Release.Namespace }}
{{- end }}

{{/*
Security context of a pod: without user and group IDs where OpenShift chooses them.
*/}}
{{- define "vllm-operator.podSecurityContext" -}}
{{- $context := .Values.podSecurityContext }}
{{- $onOpenShift := eq (toString .Values.openshift) "true" }}
{{- if eq (toString .Values.openshift) "auto" }}
{{- $onOpenShift = .Capabilities.APIVersions.Has "security.openshift.io/v1" }}
{{- end }}
{{- if $onOpenShift }}
{{- $context = omit $context "runAsUser" "runAsGroup" "fsGroup" }}
{{- end }}
{{- toYaml $context }}
{{- end }}

{{/*
A selector of namespaces by their names; of all where there are none.
*/}}
{{- define "vllm-operator.namespaceSelector" -}}
{{- if . -}}
matchExpressions:
  - key: kubernetes.io/metadata.name
    operator: In
    values: {{ toJson . }}
{{- else -}}
{}
{{- end }}
{{- end }}

{{/*
Name of the admission policy. Each operator of some namespaces has its own, so that it can be uninstalled alone.
*/}}
{{- define "vllm-operator.policyName" -}}
{{- $name := printf "%s-pod-template" (include "vllm-operator.singleton" .) }}
{{- if .Values.servedNamespaces }}
{{- $name = printf "%s-%s" $name .Release.Namespace }}
{{- end }}
{{- $name }}
{{- end }}

{{- define "vllm-operator.hasPolicy" -}}
{{- if and (eq .Values.podTemplate "restricted") .Values.admissionPolicy.enabled }}true{{ end }}
{{- end }}
