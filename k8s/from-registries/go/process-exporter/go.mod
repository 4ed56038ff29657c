// Stands in for github.com/ncabatoff/process-exporter, which the ingress-nginx controller needs to compile and which no
// module proxy carries. The controller's health check uses the /proc reader; its nginx_process_* metrics stay empty.
module github.com/ncabatoff/process-exporter

go 1.25.0

require github.com/prometheus/procfs v0.15.1

require golang.org/x/sys v0.20.0 // indirect
