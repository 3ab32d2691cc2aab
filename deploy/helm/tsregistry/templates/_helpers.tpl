{{- define "tsregistry.labels" -}}
app.kubernetes.io/name: tsregistry
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}
{{- define "tsregistry.name" -}}
{{ printf "%s-tsregistry" .Release.Name | trunc 63 | trimSuffix "-" }}
{{- end -}}
