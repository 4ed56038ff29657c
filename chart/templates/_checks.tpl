{{/* Stops the rendering with a sentence for each value that cannot be used and that values.schema.json cannot explain. */}}
{{- define "streaming.check" -}}
{{- $values := .Values -}}
{{- $wrong := list -}}

{{- if not (regexMatch `^[a-z]([-a-z0-9]*[a-z0-9])?$` .Release.Name) -}}
{{- $wrong = append $wrong (printf "the release is named %q, but the name of its Service begins with a letter and has no dot: install it under a name of letters, digits and hyphens" .Release.Name) -}}
{{- end -}}

{{- range $path, $image := dict "image" $values.image "test.image" $values.test.image -}}
{{- if not (regexMatch `^([A-Za-z0-9.-]+(:[0-9]+)?/)?[a-z0-9]+([._/-]+[a-z0-9]+)*$` $image.repository) -}}
{{- $wrong = append $wrong (printf "%s.repository is %q, but must be the name of an image without scheme, tag or digest; the tag goes into %s.tag" $path $image.repository $path) -}}
{{- end -}}
{{- if not (regexMatch `^([A-Za-z0-9_][A-Za-z0-9_.-]*)?$` $image.tag) -}}
{{- $wrong = append $wrong (printf "%s.tag is %q, but must be a tag alone, such as 1.2.3; the name goes into %s.repository" $path $image.tag $path) -}}
{{- end -}}
{{- end -}}

{{- with $values.streaming.perWorker -}}
{{- if and (eq $values.gunicorn.workerClass "gthread") (ge (int64 .) (int64 $values.gunicorn.threads)) -}}
{{- $wrong = append $wrong (printf "streaming.perWorker is %d, but must be less than gunicorn.threads (%d): one thread is for the probes" (int64 .) (int64 $values.gunicorn.threads)) -}}
{{- end -}}
{{- end -}}

{{- $host := $values.ingress.host -}}
{{- $hosts := dict "httpRoute.hostnames" $values.httpRoute.hostnames "ingress.host" (compact (list $host)) -}}
{{- $name := `[a-z0-9]([-a-z0-9]*[a-z0-9])?` -}}
{{- range $path, $each := $hosts -}}
{{- range $each -}}
{{- if or (not (regexMatch (printf `^(\*\.)?%s(\.%s)*$` $name $name) .)) (regexMatch `^[0-9.]+$` .) -}}
{{- $wrong = append $wrong (printf "%s is %q, but must be a host name in lower case, without scheme, port or path, and no address" $path .) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- if and $values.httpRoute.enabled (not $values.httpRoute.parentRefs) -}}
{{- $wrong = append $wrong "httpRoute.enabled is true, but httpRoute.parentRefs is empty: name the Gateway that the route is for" -}}
{{- end -}}

{{- if and $values.ingress.tls.secretName (not $host) -}}
{{- $wrong = append $wrong (printf "ingress.tls.secretName is %q, but there is no ingress.host: a certificate is for a host" $values.ingress.tls.secretName) -}}
{{- end -}}
{{- if not (regexMatch (printf `^%s(\.%s)*(:[0-9]+)?$` $name $name) $values.test.edge) -}}
{{- $wrong = append $wrong (printf "test.edge is %q, but must be a host name in lower case, with a colon and a port or without, and without scheme or path" $values.test.edge) -}}
{{- end -}}

{{- range splitList "," $values.django.allowedHosts -}}
{{- if not (regexMatch `^(\*|\.?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*|\[[0-9A-Fa-f:.]+\])$` (trim .)) -}}
{{- $wrong = append $wrong (printf "django.allowedHosts contains %q, but must be host names separated by commas, without scheme, port or path, or \"*\" for any" (trim .)) -}}
{{- end -}}
{{- end -}}
{{- if not $wrong -}}
{{- range $path, $each := $hosts -}}
{{- range $host := $each -}}
{{- $answered := false -}}
{{- range splitList "," $values.django.allowedHosts -}}
{{- $allowed := trim . | lower -}}
{{- if or (has $allowed (list "*" $host)) (and (hasPrefix "." $allowed) (hasSuffix $allowed (printf ".%s" $host))) -}}
{{- $answered = true -}}
{{- end -}}
{{- end -}}
{{- if not $answered -}}
{{- $wrong = append $wrong (printf "%s is %q, but django.allowedHosts (%q) does not have it: every request would be answered by 400" $path $host $values.django.allowedHosts) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- range splitList "," $values.trustedEdges -}}
{{- if not (or (eq $values.trustedEdges "*") (regexMatch `^([0-9]{1,3}(\.[0-9]{1,3}){3}|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*)(/[0-9]{1,3})?$` (trim .))) -}}
{{- $wrong = append $wrong (printf "trustedEdges contains %q, but must be addresses and networks such as 10.244.0.0/16, separated by commas, or \"*\" for any" (trim .)) -}}
{{- end -}}
{{- end -}}

{{- if gt (int64 $values.autoscaling.minReplicas) (int64 $values.autoscaling.maxReplicas) -}}
{{- $wrong = append $wrong (printf "autoscaling.minReplicas is %d, but must not be more than autoscaling.maxReplicas (%d)" (int64 $values.autoscaling.minReplicas) (int64 $values.autoscaling.maxReplicas)) -}}
{{- end -}}

{{- $set := dict "DJANGO_ALLOWED_HOSTS" "django.allowedHosts" "DJANGO_SECRET_KEY" "django.existingSecret" "FORWARDED_ALLOW_IPS" "trustedEdges" "LOG_FORMAT" "logFormat" "STREAM_SECONDS" "streaming.maxDuration" "STREAMS_PER_WORKER" "streaming.perWorker" "WORKER_CLASS" "gunicorn.workerClass" -}}
{{- range $values.extraEnv -}}
{{- if hasKey $set .name -}}
{{- $wrong = append $wrong (printf "extraEnv sets %s: set %s instead" .name (get $set .name)) -}}
{{- else if has .name (list "METRICS_FOLDER" "METRICS_PORT") -}}
{{- $wrong = append $wrong (printf "extraEnv sets %s: leave it out, as the chart's volume and Service for metrics need theirs" .name) -}}
{{- end -}}
{{- end -}}

{{- range $key, $_ := $values.podLabels -}}
{{- if has $key (list "app.kubernetes.io/name" "app.kubernetes.io/instance") -}}
{{- $wrong = append $wrong (printf "podLabels sets %s: leave it out, as the Service finds the pods by the chart's" $key) -}}
{{- end -}}
{{- end -}}

{{- with $wrong -}}
{{- fail (printf "\n\n%s\n" (join "\n" .)) -}}
{{- end -}}
{{- end -}}

{{/* What can be used but has a consequence that one should know, as a JSON list of sentences. */}}
{{- define "streaming.warnings" -}}
{{- $longest := int64 .Values.streaming.maxDuration -}}
{{- $drain := int64 .Values.streaming.drainSeconds -}}
{{- $warnings := list -}}
{{- if gt $longest $drain -}}
{{- $warnings = append $warnings (printf "streaming.maxDuration is %d and streaming.drainSeconds %d: a stream that has more than %d s to go when its pod is replaced is broken off. Raise the one or lower the other." $longest $drain $drain) -}}
{{- end -}}
{{- $grace := int64 (include "streaming.stop" . | fromJson).grace -}}
{{- if gt $grace 600 -}}
{{- $warnings = append $warnings (printf "a pod gets %d s to end: cluster-autoscaler, which takes nodes away, waits for 600 s unless its --max-graceful-termination-sec says otherwise." $grace) -}}
{{- end -}}
{{- if .Values.ingress.enabled -}}
{{- /* Not looked up: Helm's lookup fails the whole install for those who may not read the edge's namespace. */ -}}
{{- if gt $longest 240 -}}
{{- $warnings = append $warnings (printf "streaming.maxDuration is %d: when ingress-nginx reloads, which any new Ingress makes it do, it breaks off streams after its worker-shutdown-timeout, 240s unless its ConfigMap says otherwise. See that it says %ds or more, and that its pods' terminationGracePeriodSeconds is longer still:\n    kubectl --namespace ingress-nginx get configmap ingress-nginx-controller -o jsonpath='{.data.worker-shutdown-timeout}'" $longest $longest) -}}
{{- end -}}
{{- $own := include "streaming.annotations" . | fromYaml -}}
{{- range $key, $value := .Values.ingress.annotations -}}
{{- if and (hasKey $own $key) (ne $value (get $own $key)) -}}
{{- $warnings = append $warnings (printf "ingress.annotations sets %s to %q, and the chart would set it to %q: yours is in force." $key $value (get $own $key)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and .Values.httpRoute.enabled (has .Values.streaming.buffering (list "on" true)) -}}
{{- $warnings = append $warnings "streaming.buffering is on, and no HTTPRoute can say so: through it, a slow client goes on holding the app back." -}}
{{- end -}}
{{- toJson $warnings -}}
{{- end -}}
