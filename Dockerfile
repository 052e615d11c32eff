# The service with its libraries and the bundled model; runs as an unprivileged user on a read-only root file system.
# `slim` serves prepared models (`ait export --format serving`) and holds no torch; `full` serves any checkpoint, prepares
# it itself, and explains answers.
#
#   docker build --target slim -t ait:slim .
#   docker build -t ait .
#   docker run --rm --read-only -p 8000:8000 ait
#
# BASE_IMAGE        an image with Python 3.11 or newer and its venv module
# TORCH_INDEX_URL   a package index to take torch and torchvision from, such as one with builds for CPUs alone
# PIP_INDEX_URL     the package index for everything else; a secret with id `pip` is used as pip's configuration
# EXTRAS            further extras of the package to install, separated by commas
ARG BASE_IMAGE=python:3.13-slim

FROM ${BASE_IMAGE} AS slim-libraries
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
WORKDIR /build
COPY pyproject.toml README.md LICENSE ./
# Of OpenVINO only what runs ONNX files on processors is left, and neither pip nor what counts OpenVINO's users.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python3 -m venv /opt/ait \
    && /opt/ait/bin/pip install --no-cache-dir ".[serve]" \
    && /opt/ait/bin/pip uninstall --yes associative-transformer openvino-telemetry \
    && cd /opt/ait/lib/python3*/site-packages \
    && rm -rf openvino/include openvino/cmake openvino/libs/cache.json openvino/libs/*_gpu_plugin* \
        openvino/libs/*_npu_* openvino/libs/*_tensorflow*_frontend* openvino/libs/*_paddle_frontend* \
        openvino/libs/*_pytorch_frontend* openvino/libs/*_jax_frontend* openvino/libs/*_gguf_frontend* \
        openvino/libs/*_auto_plugin* openvino/libs/*_auto_batch_plugin* openvino/libs/*_hetero_plugin* \
    && find . -name tests -type d -prune -exec rm -rf {} + \
    && /opt/ait/bin/pip uninstall --yes pip

FROM ${BASE_IMAGE} AS libraries
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG TORCH_INDEX_URL
ARG EXTRAS
WORKDIR /build
COPY pyproject.toml README.md LICENSE ./
# Without the packages beside it, installing the project installs what it needs: a layer that code does not change.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python3 -m venv /opt/ait \
    && if [ -n "$TORCH_INDEX_URL" ]; then \
           /opt/ait/bin/pip install --no-cache-dir --index-url "$TORCH_INDEX_URL" torch torchvision; \
       fi \
    && /opt/ait/bin/pip install --no-cache-dir ".[all${EXTRAS:+,$EXTRAS}]" \
    && /opt/ait/bin/pip uninstall --yes associative-transformer

FROM libraries AS package
COPY ait ait
COPY ait_cli ait_cli
COPY ait_lite ait_lite
COPY service service
COPY training training
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    /opt/ait/bin/pip install --no-cache-dir --no-deps --target /opt/app .

# The bundled model's graph stands in its folder; its weights are of use to torch alone, as is the rest of `ait`.
FROM ${BASE_IMAGE} AS slim-package
WORKDIR /build
COPY pyproject.toml README.md LICENSE ./
COPY ait ait
COPY ait_cli ait_cli
COPY ait_lite ait_lite
COPY service service
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python3 -m venv /opt/pip \
    && /opt/pip/bin/pip install --no-cache-dir --no-deps --target /opt/app . \
    && cd /opt/app \
    && find ait -mindepth 1 -maxdepth 1 ! -name pretrained -exec rm -rf {} + \
    && rm -rf service/benchmark ait/pretrained/*/model.safetensors ait/pretrained/*/*.png ait/pretrained/*/*.csv

FROM ${BASE_IMAGE} AS base
RUN groupadd --gid 10001 ait \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin ait
ENV PATH=/opt/ait/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONPATH=/opt/app \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOST=0.0.0.0 \
    PORT=8000
WORKDIR /opt/app
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 CMD ["python", "-m", "service.healthcheck"]
ENTRYPOINT ["python", "-m", "service"]

FROM base AS slim
COPY --from=slim-libraries /opt/ait /opt/ait
COPY --from=slim-package /opt/app /opt/app

FROM base AS full
COPY --from=libraries /opt/ait /opt/ait
COPY --from=package /opt/app /opt/app
# Importing torch asks for a folder for compiled kernels, and fails where there is no place for temporary files. It only
# has to exist: nothing is compiled here.
ENV TORCHINDUCTOR_CACHE_DIR=/tmp
