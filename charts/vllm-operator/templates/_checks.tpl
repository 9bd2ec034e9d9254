{{/*
Refuse values that contradict each other, and releases that would work against another one. What the cluster holds is
known to install and upgrade alone: `helm template` finds nothing there.
*/}}
{{- define "vllm-operator.checks" -}}
{{- if and (gt (int .Values.replicas) 1) (not .Values.leaderElection.enabled) }}
{{- fail (printf "replicas: %d operators need leaderElection.enabled: true, because one of them must lead" (int .Values.replicas)) }}
{{- end }}
{{- if and .Values.rbac.create .Values.leaderElection.enabled }}
{{- include "vllm-operator.checkOwner" (dict "root" . "apiVersion" "rbac.authorization.k8s.io/v1" "kind" "Role" "namespace" (include "vllm-operator.leaseNamespace" .) "name" (include "vllm-operator.singleton" .) "what" "an operator runs already in this namespace" "remedy" "serve its namespaces and yours by one release (servedNamespaces), or install this one into another namespace") }}
{{- end }}
{{- if .Values.rbac.create }}
{{- $clusterRole := dict "root" . "apiVersion" "rbac.authorization.k8s.io/v1" "kind" "ClusterRole" "name" (include "vllm-operator.singleton" .) "what" "another operator serves all namespaces already" "remedy" "set servedNamespaces, or uninstall the other operator" }}
{{- if .Values.servedNamespaces }}
{{- range .Values.servedNamespaces }}
{{- include "vllm-operator.checkOwner" (dict "root" $ "apiVersion" "rbac.authorization.k8s.io/v1" "kind" "Role" "namespace" . "name" "vllm-operator-servers" "what" (printf "another operator serves the namespace %s already" .) "remedy" "remove the namespace from servedNamespaces, or uninstall the other operator") }}
{{- end }}
{{- if or .Values.crds.enabled (include "vllm-operator.hasPolicy" .) }}
{{- /* Only who may write cluster-wide objects can be expected to read them. */}}
{{- include "vllm-operator.checkOwner" (merge (dict "remedy" "uninstall it, or let it serve these namespaces, too") $clusterRole) }}
{{- end }}
{{- else }}
{{- include "vllm-operator.checkOwner" $clusterRole }}
{{- range (lookup "rbac.authorization.k8s.io/v1" "Role" "" "").items }}
{{- $owner := .metadata.annotations | default dict }}
{{- if and (eq .metadata.name "vllm-operator-servers") (or (ne (get $owner "meta.helm.sh/release-namespace") $.Release.Namespace) (ne (get $owner "meta.helm.sh/release-name") $.Release.Name)) }}
{{- fail (printf "servedNamespaces: another operator serves the namespace %s already, so this one cannot serve all namespaces. Either name the namespaces to serve, or uninstall the other operator" .metadata.namespace) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- if .Values.crds.enabled }}
{{- include "vllm-operator.checkCrd" . }}
{{- end }}
{{- end }}

{{/*
Refuse an object that belongs to another release. Arguments: root, apiVersion, kind, namespace, name, what, remedy.
Helm itself refuses one that belongs to no release, unless --take-ownership is set.
*/}}
{{- define "vllm-operator.checkOwner" -}}
{{- $found := lookup .apiVersion .kind (.namespace | default "") .name }}
{{- if $found }}
{{- $owner := $found.metadata.annotations | default dict }}
{{- $release := get $owner "meta.helm.sh/release-name" }}
{{- $namespace := get $owner "meta.helm.sh/release-namespace" }}
{{- if and $release (or (ne $release .root.Release.Name) (ne $namespace .root.Release.Namespace)) }}
{{- fail (printf "%s: its %s %s belongs to release %s in namespace %s. Either %s" .what .kind .name $release $namespace .remedy) }}
{{- end }}
{{- end }}
{{- end }}

{{/*
Refuse to replace the CRD of a newer operator. A CRD that was not installed by Helm names no version.
*/}}
{{- define "vllm-operator.checkCrd" -}}
{{- $name := "vllmservers.vllm-operator.dev" }}
{{- $crd := lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" $name }}
{{- if $crd }}
{{- $version := get ($crd.metadata.labels | default dict) "app.kubernetes.io/version" }}
{{- if and $version (regexMatch "^[0-9]+\\.[0-9]+\\.[0-9]+" $version) (not .Values.crds.allowDowngrade) }}
{{- if semverCompare (printf "<%s" $version) .Chart.AppVersion }}
{{- fail (printf "crds.enabled: the CRD %s is that of the newer operator %s, and this chart has that of %s: servers would lose the fields that only the newer one knows. Install a chart of version %s or later, set crds.enabled to false to leave the CRD as it is, or set crds.allowDowngrade to true" $name $version .Chart.AppVersion $version) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
