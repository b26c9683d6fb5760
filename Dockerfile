# oyez with its model prepared: starts within seconds, downloads nothing, runs as nobody in particular.
#
#   docker build -t oyez .
#   docker run --init -p 127.0.0.1:8080:8080 -v oyez:/var/lib/oyez --name oyez oyez
#   docker exec oyez oyez keys create NAME     # until then every caller gets 401
#
# deploy/compose.yaml has limits, a volume and a read-only root.

FROM debian:trixie-slim AS python
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/*

FROM python AS build
RUN apt-get update && apt-get install -y --no-install-recommends python3-venv
WORKDIR /src
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY src src
RUN python3 -m venv /opt/oyez \
    && /opt/oyez/bin/pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . \
    && /opt/oyez/bin/pip install --no-cache-dir "oyez[postgres] @ file://$(echo /wheels/oyez-*.whl)"
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
    OYEZ_HOST=0.0.0.0
USER oyez
VOLUME /var/lib/oyez
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s CMD ["python3", "-c", \
    "from urllib.request import urlopen; urlopen('http://127.0.0.1:8080/healthz', timeout=2)"]
ENTRYPOINT ["oyez"]
CMD ["serve"]
