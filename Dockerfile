# The image of a Django project, whose folder is the context: `docker build --file Dockerfile app` makes the demo's. Nothing
# in here is about the demo. Builds with the legacy builder and with BuildKit, with a network and without.
#
# The folder holds requirements.txt, and in wheels/ what no package index has: django-streamproof's wheel, by `make wheels`.
#
# By digest, so that it is the same on every machine: that of the index, for all architectures. Python 3.13.15.
ARG BASE=python:3.13-slim@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b
# Where pip runs. By default it comes with the base, and fetches what requirements.txt lists from the package index. A build
# without a network takes an image with the same Python and all wheels, pip's among them, in /wheels: k8s/from-registries
# makes one.
ARG BUILDER=${BASE}

FROM ${BUILDER} AS build
COPY requirements.txt wheels* /project/
# Into a folder of its own: that works for a Python in /usr/local and in /usr, and leaves nothing else to be copied.
RUN set -eu; \
    if ls /wheels/*.whl > /dev/null 2>&1; \
    then pip="$(echo /wheels/pip-*.whl)/pip"; from="--no-index --find-links /wheels"; \
    else pip="-m pip"; from="--no-cache-dir"; \
    fi; \
    install="python3 $pip install --disable-pip-version-check --root-user-action ignore --no-compile"; \
    $install $from --requirement /project/requirements.txt --target /srv/site-packages; \
    # By itself: beside hashes pip takes nothing that has none. What it depends on must be among the requirements.
    if ls /project/*.whl > /dev/null 2>&1; \
    then $install --no-index --no-deps /project/*.whl --target /srv/site-packages; \
    fi; \
    PYTHONPATH=/srv/site-packages python3 $pip check --disable-pip-version-check
COPY . /srv/app
# Bytecode is made here, as the running container writes none. Unchecked, as copying may change what a check compares. A
# package may hold a file that this Python cannot read: that is no reason to stop.
RUN rm -rf /srv/app/wheels; python3 -m compileall -q --invalidation-mode unchecked-hash /srv || true

FROM ${BASE}
COPY --from=build /srv /srv
WORKDIR /srv/app
ENV PYTHONPATH=/srv/site-packages \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
# By number, so that Kubernetes can tell that it isn't root (runAsNonRoot).
USER 10001:10001
EXPOSE 8000
CMD ["python3", "-m", "gunicorn"]
