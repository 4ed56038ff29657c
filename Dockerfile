# Two images: the demo's, which is built by default, and with `--target streamcheck` the verifier's, for `helm test`.
# Builds with the legacy builder and with BuildKit, with a network and without.
#
# With a network, as it stands: `docker build .` takes pip out of the base image and wheels from the package index.
# Without, two things are handed in: any base that has python3 3.11 or later (pip is not needed), and the wheels of
# requirements/app.txt and requirements/streamcheck.txt together with one of pip, in build/wheels/. k8s/from-registries
# does that, with a base made from Debian packages.
#
# By digest, so that it is the same on every machine: that of the index, for all architectures. Python 3.13.15.
ARG BASE=python:3.13-slim@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b

FROM ${BASE} AS build
# The brackets make a pattern of the last source, and a pattern may match nothing. They stand in its first part, as
# BuildKit wants the folders before a pattern to exist. Of a folder that matches, the content is copied.
COPY requirements/app.txt requirements/streamcheck.txt buil[d]/wheels /wheels/
# Into folders of their own: that works for a Python in /usr/local and in /usr, and leaves nothing else to be copied.
RUN set -eu; \
    if ls /wheels/*.whl > /dev/null 2>&1; \
    then pip="$(echo /wheels/pip-*.whl)/pip"; from="--no-index --find-links /wheels"; \
    else pip="-m pip"; from="--no-cache-dir"; \
    fi; \
    for image in app streamcheck; do \
        python3 $pip install $from --disable-pip-version-check --root-user-action ignore --no-compile \
            --require-hashes --requirement /wheels/$image.txt --target /$image/site-packages; \
    done
COPY app /app/app
COPY scripts/streamcheck/streamcheck /streamcheck/site-packages/streamcheck
# Bytecode is made here, as the running container writes none. Unchecked, as copying may change what a check compares.
RUN python3 -m compileall -q --invalidation-mode unchecked-hash /app /streamcheck

FROM ${BASE} AS streamcheck
ARG VERSION=0
LABEL org.opencontainers.image.title="streamcheck" \
      org.opencontainers.image.description="Tells whether an HTTP stream survives the path from app to client" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=build /streamcheck /srv
ENV PYTHONPATH=/srv/site-packages \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
ENTRYPOINT ["python3", "-m", "streamcheck"]

FROM ${BASE}
ARG VERSION=0
LABEL org.opencontainers.image.title="django-streaming-kubernetes" \
      org.opencontainers.image.description="Django responses that stream, behind a Kubernetes edge" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=build /app /srv
WORKDIR /srv/app
ENV PYTHONPATH=/srv/site-packages \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
# By number, so that Kubernetes can tell that it isn't root (runAsNonRoot).
USER 10001:10001
EXPOSE 8000
CMD ["python3", "-m", "gunicorn"]
