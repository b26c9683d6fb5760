# oyez with its model prepared: starts within seconds, downloads nothing, runs as nobody in particular.
#
#   docker build -t oyez .
#   docker run --init -p 127.0.0.1:8080:8080 -v oyez:/var/lib/oyez --name oyez oyez
#   docker exec oyez oyez keys create NAME     # until then every caller gets 401
#
# deploy/compose.yaml has limits, a volume and a read-only root.

# The digest of the tag's index, for every kind of processor. To renew it:
#   docker buildx imagetools inspect debian:trixie-slim
ARG BASE=debian:trixie-slim@sha256:a29215f6a35e51e22adffa17f89e9d2ef06214e64a2bad10d765c46aea49f11f

FROM ${BASE} AS python
# the upgrade: what was corrected in Debian since the digest
RUN apt-get update \
    && apt-get upgrade -y \
    && apt-get install -y --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/*

FROM python AS build
RUN apt-get update && apt-get install -y --no-install-recommends python3-venv
WORKDIR /src
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY requirements/server.txt requirements/
RUN python3 -m venv /opt/oyez \
    && /opt/oyez/bin/pip install --no-cache-dir --no-deps --require-hashes -r requirements/server.txt
COPY src src
RUN /opt/oyez/bin/pip install --no-cache-dir --no-deps --no-build-isolation . \
    && /opt/oyez/bin/pip check
RUN XDG_CACHE_HOME=/opt/oyez/cache /opt/oyez/bin/oyez models prepare

FROM python
LABEL org.opencontainers.image.title="oyez" \
      org.opencontainers.image.description="Live speech to text over WebSocket" \
      org.opencontainers.image.licenses="Apache-2.0 AND CC-BY-NC-SA-4.0"
RUN useradd --uid 10001 --home-dir /var/lib/oyez --create-home --shell /usr/sbin/nologin oyez
COPY --from=build /opt/oyez /opt/oyez
ENV PATH=/opt/oyez/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    XDG_CACHE_HOME=/opt/oyez/cache \
    XDG_DATA_HOME=/var/lib \
    MALLOC_ARENA_MAX=2 \
    MALLOC_TRIM_THRESHOLD_=131072 \
    OYEZ_HOST=0.0.0.0
USER oyez
VOLUME /var/lib/oyez
EXPOSE 8080
STOPSIGNAL SIGTERM
# it finds the server by the same environment, not by flags of CMD
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s CMD ["oyez", "doctor", "--running"]
ENTRYPOINT ["oyez"]
CMD ["serve"]
