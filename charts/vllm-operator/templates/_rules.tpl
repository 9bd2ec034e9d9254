{{/*
What the operator may do with servers and their children: the rules of the ClusterRole, or of a Role in each served
namespace. They concern namespaced kinds only, and Namespaces by name.
*/}}
{{- define "vllm-operator.rules" -}}
- apiGroups: [vllm-operator.dev]
  resources: [vllmservers]
  verbs: [get, list, watch]
- apiGroups: [vllm-operator.dev]
  resources: [vllmservers/status]
  verbs: [patch]
# For autoscaling.source: operator, and for servers that scale to zero.
- apiGroups: [vllm-operator.dev]
  resources: [vllmservers/scale]
  verbs: [patch]
# Server-side apply is a patch, and a create where the object is new. A server always has these two.
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch]
# A spec may stop to ask for the others.
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [keda.sh]
  resources: [scaledobjects]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [monitoring.coreos.com]
  resources: [podmonitors, prometheusrules]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, patch{{ if .Values.restartStalled }}, delete{{ end }}]
# Why a container died stands in its log.
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
# By name only: the API keys for probing, and whether what a manifest refers to exists.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
{{- if or (eq .Values.podTemplate "restricted") (eq .Values.secrets "labelled") }}
# By name, the labels that lift a limit for a namespace.
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get]
{{- end }}
# What repeats is counted in the Event that is there. Events of a pod or claim that is stuck are listed by its UID.
- apiGroups: [""]
  resources: [events]
  verbs: [get, list, create, patch]
{{- end }}
