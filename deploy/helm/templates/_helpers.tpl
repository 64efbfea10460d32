{{- define "touchpoint.selector" -}}
app.kubernetes.io/name: touchpoint
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "touchpoint.labels" -}}
{{ include "touchpoint.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- /* Where a secret's files are seen, by name: the secret, and which of its keys. */}}
{{- define "touchpoint.secrets" -}}
{{- $found := dict }}
{{- with .Values.kafka.password }}{{ if .secret }}{{ $_ := set $found "kafka-password" (list .secret .key) }}{{ end }}{{ end }}
{{- with .Values.kafka.ca }}{{ if .secret }}{{ $_ := set $found "kafka-ca" (list .secret .key) }}{{ end }}{{ end }}
{{- with .Values.kafka.clientCertificate }}{{ if .secret }}{{ $_ := set $found "kafka-client" (list .secret .cert .key) }}{{ end }}{{ end }}
{{- with .Values.http.token }}{{ if .secret }}{{ $_ := set $found "http-token" (list .secret .key) }}{{ end }}{{ end }}
{{- toYaml $found }}
{{- end }}

{{- /* The topics of the journey file, each with its number of partitions, as JSON. */}}
{{- define "touchpoint.topics" -}}
{{- $own := dict }}
{{- $topics := (.Files.Get "files/topics.yaml" | fromYaml).topics }}
{{- range $topics }}
{{- $default := ternary $.Values.topics.partitions $.Values.topics.journeyPartitions (hasKey . "stage") }}
{{- $_ := set $own .name (.partitions | default $default | int) }}
{{- end }}
{{- range $topics }}{{ $_ := set . "partitions" (get $own (.partitions_as | default .name)) }}{{ end }}
{{- dict "topics" $topics | toJson }}
{{- end }}
