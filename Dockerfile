# The image of the operator. The base needs Python 3.11 or later with its venv module, and a C library as old as Debian's.
# Python 3.12 does not work: its JSON decoder fails on objects of 1,500 levels, which the API server accepts.
# A tag can move: a release passes it with its digest, python:3.13-slim@sha256:..., and so can you.
ARG BASE_IMAGE=python:3.13-slim

FROM ${BASE_IMAGE} AS builder
# For builds behind a proxy, a mirror or a private certificate authority; none of them reaches the final image.
ARG SSL_CERT_FILE
ARG PIP_CERT
ARG PIP_INDEX_URL
ARG UV_DEFAULT_INDEX
ENV UV_SYSTEM_CERTS=1 \
    UV_LINK_MODE=copy \
    UV_COMPILE_BYTECODE=1 \
    UV_PYTHON_DOWNLOADS=never \
    UV_PROJECT_ENVIRONMENT=/opt/vllm-operator/venv \
    UV_CACHE_DIR=/var/cache/uv
WORKDIR /src
# Tools and dependencies change seldom: their layers are reused when only the sources change. Both are pinned by hash.
COPY build-requirements.txt ./
RUN python3 -m venv /opt/build \
    && /opt/build/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r build-requirements.txt
COPY pyproject.toml uv.lock ./
# Extras of pyproject.toml that the image shall hold, such as EXTRAS=otlp for spans.
ARG EXTRAS=""
RUN /opt/build/bin/uv sync --frozen --no-dev --no-install-project \
    $(for extra in ${EXTRAS}; do echo "--extra ${extra}"; done)
COPY . .
RUN /opt/build/bin/uv pip install --python /opt/build/bin/python --no-build-isolation --no-deps \
    --target /opt/vllm-operator/app .

FROM ${BASE_IMAGE}
LABEL org.opencontainers.image.title="vllm-operator" \
      org.opencontainers.image.description="A Kubernetes operator for vLLM" \
      org.opencontainers.image.licenses="Apache-2.0"
# Nothing is written at run time: the root file system may be read-only. USER is set for any user id, since kopf reads
# the user's name.
ENV USER=vllm-operator \
    PATH=/opt/vllm-operator/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONPATH=/opt/vllm-operator/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /opt/vllm-operator
USER 65532:65532
ENTRYPOINT ["python", "-m", "vllm_operator"]
CMD ["run"]
# The application changes most and comes last: all layers before it stay cached.
COPY --from=builder /opt/vllm-operator/venv /opt/vllm-operator/venv
COPY --from=builder /opt/vllm-operator/app /opt/vllm-operator/app
