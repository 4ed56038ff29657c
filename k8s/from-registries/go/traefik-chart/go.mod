// Traefik's chart: no Go, but the module proxies carry the folder. Not to be tidied: nothing imports it.
module django-streaming-kubernetes/traefik-chart

go 1.26.0

require github.com/traefik/traefik-helm-chart v41.6.0+incompatible
