# Skuld in an image that holds one static program and an empty /data.
#
#   docker build -t skuld .
#   docker run --rm -p 6379:6379 -v skuld-data:/data skuld
#   docker run --rm -p 6379:6379 -e SKULD_CONF_MAXMEMORY=1gb skuld --maxmemory-policy allkeys-lru
#   docker run --rm -p 6379:6379 -v "$PWD/my.conf:/my.conf:ro" skuld valkey-server /my.conf
#
# docker/try.sh reads the instructions of the last stage from here and tests them without a container engine.

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN docker/build.sh /image

FROM scratch
COPY --from=build /image/ /
# COPY keeps modes but not owners.
COPY --from=build --chown=10001:0 /image/data /data
ENV PATH=/usr/local/bin
# Every peer of a container comes from another address: what is published decides who may connect. Set a password
# (SKULD_CONF_REQUIREPASS_FILE=/run/secrets/...) where that is not enough.
ENV SKULD_CONF_PROTECTED_MODE=no
USER 10001:0
WORKDIR /data
VOLUME /data
EXPOSE 6379
STOPSIGNAL SIGTERM
# `--healthcheck` asks whether the process lives, `--healthcheck=ready` whether it has its data as well (for orchestrators).
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["/skuld-server", "--healthcheck"]
# There is no shell. The program itself takes `valkey-server ...`, flags, or the path of a configuration file, and what
# VALKEY_EXTRA_FLAGS adds.
ENTRYPOINT ["/skuld-server"]
