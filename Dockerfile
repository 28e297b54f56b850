# r1env with every package, for the CPU:
#
#   docker build -t r1env .
#   docker run --rm -it -v "$PWD/runs:/home/r1env/runs" r1env train r1-zero --preset tiny-cpu
#
# Build arguments: BASE, an image of Debian with Python 3.11 or newer; PIP_ARGS, further arguments for pip. Plain torch may be a
# CUDA build of several gigabytes, and --build-arg PIP_ARGS="--index-url …" takes another build.
#
# The reward `code` needs a Docker engine, which this image does not hold. Its sandbox uses the engine of the host with
# -v /var/run/docker.sock:/var/run/docker.sock, but then every program in the container controls that engine: see docs/security.md.
ARG BASE=python:3.11-slim

# What is needed to work on a checkout: .devcontainer/devcontainer.json stops here. The compiler is for pycosat, a dependency of
# reasoning-gym that has no wheel.
FROM ${BASE} AS base
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates gcc git libc6-dev make \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 --shell /bin/bash r1env

FROM base AS build
ARG PIP_ARGS=
ENV PIP_NO_CACHE_DIR=1
# torch is most of the image. Its layer is kept until constraints.txt changes.
COPY constraints.txt /opt/r1env/
RUN python3 -m venv /opt/venv \
    && /opt/venv/bin/python -m pip install --quiet --constraint /opt/r1env/constraints.txt $PIP_ARGS torch
COPY . /opt/r1env
RUN make -C /opt/r1env setup VENV=/opt/venv PIP_ARGS="$PIP_ARGS"

FROM ${BASE} AS r1env
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1
COPY --from=build /opt/r1env /opt/r1env
COPY --from=build /opt/venv /opt/venv
# `runs` belongs to the user, so that a volume mounted there does too.
RUN useradd --create-home --uid 1000 --shell /bin/bash r1env \
    && mkdir /home/r1env/runs \
    && chown r1env: /home/r1env/runs
USER r1env
WORKDIR /home/r1env
ENTRYPOINT ["r1env"]
CMD ["--help"]
