{{/* One name for all objects: the release's, with the chart's where that says more. 63 is the limit of a label. */}}
{{- define "streaming.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "streaming.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "streaming.labels" -}}
{{ include "streaming.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/*
How a pod ends, in seconds, as JSON. All of it follows from streaming.drainSeconds and preStopSeconds:
preStop   it serves on, while the edge learns that it is going; without, if 0, which Kubernetes takes from 1.33 on alone;
graceful  gunicorn's timeout after SIGTERM: the drain, and the two seconds before its end in which the app breaks off what is left;
grace     what Kubernetes grants for all of it, with three seconds for the processes to end.
*/}}
{{- define "streaming.stop" -}}
{{- $drain := int64 .Values.streaming.drainSeconds -}}
{{- $preStop := int64 .Values.streaming.preStopSeconds -}}
{{- dict "preStop" $preStop "graceful" (add $drain 2) "grace" (add $preStop $drain 5) | toJson -}}
{{- end -}}

{{/* What streaming.* means to ingress-nginx, as YAML. */}}
{{- define "streaming.annotations" -}}
{{- $timeout := .Values.streaming.readTimeout | int64 | toString -}}
{{/* YAML reads off without quotes as false. */ -}}
nginx.ingress.kubernetes.io/proxy-buffering: {{ has .Values.streaming.buffering (list "on" true) | ternary "on" "off" | quote }}
# Over HTTP/1.0 the app can't send chunks, and a response that breaks off looks complete.
nginx.ingress.kubernetes.io/proxy-http-version: "1.1"
nginx.ingress.kubernetes.io/proxy-read-timeout: {{ $timeout | quote }}
# Between two writes to the app: of use to uploads alone, and set so that no other number is in force.
nginx.ingress.kubernetes.io/proxy-send-timeout: {{ $timeout | quote }}
{{- end -}}

{{/* The same, with the user's, which win. One by one: `merge` takes the empty text for none. */}}
{{- define "streaming.ingressAnnotations" -}}
{{- $annotations := include "streaming.annotations" . | fromYaml -}}
{{- range $key, $value := .Values.ingress.annotations -}}
{{- $_ := set $annotations $key $value -}}
{{- end -}}
{{- toYaml $annotations -}}
{{- end -}}

{{/* The app's image: by its digest, if there is one, and then with a tag only if it is given. */}}
{{- define "streaming.image" -}}
{{- $image := .Values.image -}}
{{- $tag := $image.tag | default ($image.digest | empty | ternary .Chart.AppVersion "") -}}
{{ $image.repository }}{{ with $tag }}:{{ . }}{{ end }}{{ with $image.digest }}@{{ . }}{{ end }}
{{- end -}}

{{/* Of the pods of `helm test`: another name than the app's pods have, or the Service would send them streams. */}}
{{- define "streaming.testSelector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}-test
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Under which host `helm test` asks: that of the Ingress or HTTPRoute, else the first that the app answers to; empty if to any. */}}
{{- define "streaming.testHost" -}}
{{- $host := first (splitList "," .Values.django.allowedHosts) | trim -}}
{{- if and .Values.ingress.enabled .Values.ingress.host -}}
{{- $host = .Values.ingress.host -}}
{{- else if and .Values.httpRoute.enabled .Values.httpRoute.hostnames -}}
{{- $host = first .Values.httpRoute.hostnames -}}
{{- end -}}
{{- if ne $host "*" -}}
{{- $host | replace "*." "test." | trimPrefix "." -}}
{{- end -}}
{{- end -}}
