{{- define "goheapd.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- /* The release's name, unless it says goheapd already. */}}
{{- define "goheapd.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains (include "goheapd.name" .) .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "goheapd.name" .) | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "goheapd.selectorLabels" -}}
app.kubernetes.io/name: {{ include "goheapd.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "goheapd.labels" -}}
{{ include "goheapd.selectorLabels" . }}
app.kubernetes.io/component: profiler
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "goheapd.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "goheapd.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "goheapd.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{- /* AppArmor has a field from Kubernetes 1.30 on and an annotation before. */}}
{{- define "goheapd.appArmorField" -}}
{{- if semverCompare ">=1.30.0-0" .Capabilities.KubeVersion.Version }}true{{ end }}
{{- end }}

{{- /* Whether names of pods come from the API server, and whether from the kubelet's log files. */}}
{{- define "goheapd.asksApi" -}}
{{- if has .Values.podNames (list "auto" "api") }}true{{ end }}
{{- end }}
{{- define "goheapd.readsLogs" -}}
{{- if has .Values.podNames (list "auto" "logs") }}true{{ end }}
{{- end }}

{{- define "goheapd.securityContext" -}}
runAsUser: 0
runAsGroup: 0
readOnlyRootFilesystem: true
{{- if eq .Values.privilegeMode "privileged" }}
privileged: true
{{- else }}
# Kubernetes gives capabilities to uid 0 only; without DAC_OVERRIDE and the rest it is no root.
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
  add:
    - BPF         # load the programs and their maps
    - PERFMON     # attach them to user space functions
    - SYS_PTRACE  # read executables, memory maps and heap profiles of other users' processes
    {{- if eq .Values.privilegeMode "sysadmin" }}
    - SYS_ADMIN         # perf_event_open of a uprobe, for kernels without uprobe_multi links
    - DAC_READ_SEARCH   # paths that the kernel opens in our name
    - SYS_RESOURCE      # up to 5.10 BPF maps count as locked memory
    {{- end }}
seccompProfile:
  # Some runtimes' default profile refuses perf_event_open whatever the capabilities.
  type: {{ eq .Values.privilegeMode "sysadmin" | ternary "Unconfined" "RuntimeDefault" }}
{{- if include "goheapd.appArmorField" . }}
# The default profile of container runtimes forbids reading other containers' processes.
appArmorProfile:
  type: Unconfined
{{- end }}
{{- end }}
{{- end }}

{{- /* What both monitors say of how to scrape: dict "values" (one monitor's values) "root" $ */}}
{{- define "goheapd.scrape" -}}
port: http
path: /metrics
interval: {{ .values.interval }}
scrapeTimeout: {{ .values.scrapeTimeout }}
{{- if eq .root.Values.probes.scheme "HTTPS" }}
scheme: https
{{- end }}
{{- range $field := list "tlsConfig" "basicAuth" "authorization" }}
{{- with index $.values $field }}
{{ $field }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
# The labels namespace, pod and container of goheapd's series name the profiled program.
honorLabels: true
relabelings:
  # Which else would be goheapd's own in the series of programs that are in no pod.
  - action: labeldrop
    regex: namespace|pod|container
  - sourceLabels: [__meta_kubernetes_pod_node_name]
    targetLabel: node
  - sourceLabels: [__meta_kubernetes_pod_node_name]
    targetLabel: instance
  # By default it would be NAMESPACE/NAME, which the alerts need not recognize.
  - targetLabel: job
    replacement: {{ .root.Values.prometheus.job | quote }}
  {{- with .values.relabelings }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .values.metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
