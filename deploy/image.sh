#!/bin/sh
# Makes the build image: Debian with git, curl and certificates. The base is pulled; where nothing can be pulled, it is made of
# the distribution's packages.
#
#   image.sh [NAME]   does nothing if the image is there; REBUILD=1 makes it anew
set -eu

name=${1:-localhost/buildsmith-build:bookworm}
base=debian:bookworm-slim
packages="git ca-certificates curl"

say() { printf '%s\n' "$*" >&2; }

if [ -z "${REBUILD:-}" ] && docker image inspect "$name" >/dev/null 2>&1; then
	exit 0
fi

from_base() {
	container=buildsmith-image-$$
	trap 'docker rm -f $container >/dev/null 2>&1' EXIT
	docker run --name "$container" "$base" sh -ec "
		apt-get update -qq
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages
		rm -rf /var/lib/apt/lists/*" >/dev/null
	docker commit --change 'CMD ["/bin/sh"]' "$container" "$name" >/dev/null
}

from_packages() {
	as_root=
	if [ "$(id -u)" != 0 ]; then
		as_root=sudo
	fi
	PATH=$PATH:/usr/sbin:/sbin
	if ! command -v debootstrap >/dev/null; then
		say "image: installing debootstrap"
		$as_root apt-get update -qq
		$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends debootstrap >/dev/null
	fi
	dir=$($as_root mktemp -d)
	trap '$as_root rm -rf "$dir"' EXIT
	$as_root debootstrap --variant=minbase --include="$(echo $packages | tr ' ' ,)" bookworm "$dir" >/dev/null
	$as_root tar -C "$dir" -c . | docker import --change 'CMD ["/bin/sh"]' - "$name" >/dev/null
}

if timeout 300 docker pull -q "$base" >/dev/null 2>&1; then
	say "image: making $name of $base"
	from_base
else
	say "image: $base cannot be pulled; making $name of the distribution's packages"
	from_packages
fi
