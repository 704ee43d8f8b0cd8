#!/bin/sh
# Installs what is missing on a Debian machine, and starts Docker if it does not run.
#
#   setup.sh docker   what builds need: git and the Docker engine
#   setup.sh tests    what the tests need besides
set -eu

say() { printf '%s\n' "$*" >&2; }

as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		say "setup: this needs root, and there is no sudo: $*"
		exit 1
	fi
}

# install COMMAND PACKAGE...: installs packages unless the command is there.
install() {
	command=$1
	shift
	PATH=$PATH:/usr/sbin:/sbin command -v "$command" >/dev/null && return
	command -v apt-get >/dev/null || {
		say "setup: $command is missing, and this is no Debian: install it ($*)"
		exit 1
	}
	say "setup: installing $*"
	if [ -z "${updated:-}" ]; then
		as_root apt-get update -qq
		updated=1
	fi
	as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

docker_answers() { docker version >/dev/null 2>&1 || as_root docker version >/dev/null 2>&1; }

start_docker() {
	docker_answers && return
	say "setup: starting Docker"
	if [ -d /run/systemd/system ]; then
		as_root systemctl start docker
	else
		# Detached, so that nobody waits for it.
		as_root sh -c 'PATH=$PATH:/usr/sbin:/sbin setsid dockerd >/var/log/dockerd.log 2>&1 </dev/null &'
	fi
	for _ in $(seq 60); do
		docker_answers && break
		sleep 0.5
	done
	docker_answers || {
		say "setup: Docker does not answer; /var/log/dockerd.log or journalctl -u docker tells why"
		exit 1
	}
	docker version >/dev/null 2>&1 || {
		say "setup: Docker runs, but not for this user: sudo usermod -aG docker $(id -un), and log in again"
		exit 1
	}
}

case "${1:-docker}" in
docker | tests)
	install git git
	install dockerd docker.io iptables
	install docker docker.io
	install iptables iptables
	install curl curl
	start_docker
	;;
*)
	say "usage: setup.sh docker|tests"
	exit 2
	;;
esac

if [ "${1:-}" = tests ]; then
	install gcc gcc libc6-dev
	install busybox busybox-static
	install chromium chromium
	install npm npm
	install systemd-analyze systemd
	install openssl openssl
	install jq jq
	install unzip unzip
	install zstd zstd
	install ip iproute2
	docker compose version >/dev/null 2>&1 || install docker-compose docker-compose
	here=$(cd "$(dirname "$0")/.." && pwd)
	if ! cmp -s "$here/testdata/contracts/package-lock.json" "$here/testdata/contracts/node_modules/.installed"; then
		say "setup: fetching the forges' descriptions"
		npm ci --silent --no-fund --no-audit --prefix "$here/testdata/contracts"
		cp "$here/testdata/contracts/package-lock.json" "$here/testdata/contracts/node_modules/.installed"
	fi
fi
