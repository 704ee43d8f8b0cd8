# The server. It builds from any Debian: `make build`, then
#
#   docker build -t buildsmith .
#   docker build -t buildsmith --build-arg BASE=localhost/buildsmith-build:bookworm .
#
# deploy/compose.yml runs it.
ARG BASE=debian:bookworm-slim
FROM ${BASE}
RUN command -v git >/dev/null && command -v curl >/dev/null && command -v iptables >/dev/null && [ -d /etc/ssl/certs ] || { \
	apt-get update && \
	DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends git curl ca-certificates iptables && \
	rm -rf /var/lib/apt/lists/*; }
COPY bin/buildsmith /usr/local/bin/buildsmith
VOLUME /var/lib/buildsmith
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s CMD curl -fsSk "${BUILDSMITH_HEALTH:-http://127.0.0.1:8080}/healthz"
ENTRYPOINT ["buildsmith"]
CMD ["serve"]
