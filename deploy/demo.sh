#!/bin/sh
# The main job, for real: starts the server with its built-in forge, pushes a sample repository to it, waits for the build, and
# prints what a forge is told. The server stays, so that its pages can be opened. It works a second time.
#
#   demo.sh         runs the demo (PORT=8080)
#   demo.sh stop    stops the server
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
dir=$root/.cache/demo
data=$dir/data
port=${PORT:-8080}
url=http://127.0.0.1:$port
bin=$root/bin/buildsmith

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

running() { [ -f "$dir/pid" ] && kill -0 "$(cat "$dir/pid")" 2>/dev/null && grep -qz serve "/proc/$(cat "$dir/pid")/cmdline" 2>/dev/null; }

stop() {
	running || return 0
	kill -TERM "$(cat "$dir/pid")"
	for _ in $(seq 150); do
		running || break
		sleep 0.1
	done
	rm -f "$dir/pid"
}

if [ "${1:-}" = stop ]; then
	stop
	exit 0
fi

mkdir -p "$data"
stop
if curl -s -o /dev/null "$url/healthz"; then
	echo "demo: something else listens on port $port; name another one: make demo PORT=8081" >&2
	exit 1
fi
printf 'listen: 127.0.0.1:%s\ndata: %s\n' "$port" "$data" >"$dir/config.yml"
say "Starting the server: buildsmith serve --config $dir/config.yml"
setsid "$bin" serve --config "$dir/config.yml" >>"$dir/server.log" 2>&1 </dev/null &
echo $! >"$dir/pid"
for _ in $(seq 100); do
	curl -sf -o /dev/null "$url/healthz" && break
	running || {
		tail -5 "$dir/server.log" >&2
		exit 1
	}
	sleep 0.1
done

say "Pushing a sample repository: git push $url/git/sample.git"
work=$dir/work
if [ ! -d "$work/.git" ]; then
	rm -rf "$work"
	mkdir -p "$work"
	git init -q --initial-branch=main "$work"
fi
cp "$root"/testdata/sample/* "$work"
date >"$work/pushed-at.txt"
git -C "$work" add -A
git -C "$work" -c user.name=demo -c user.email=demo@example.org commit -q -m "Greet the world at $(date +%H:%M:%S)"
git -C "$work" push "$url/git/sample.git" HEAD:main

ask() {
	command=$1
	shift
	"$bin" "$command" --server "$url" --data "$data" "$@"
}
number=$(ask list --project sample --limit 1 --format json | sed -n 's/^ *"number": \([0-9]*\),$/\1/p')
say "The log, as it comes: buildsmith log sample#$number --follow"
ask log "sample#$number" --follow
say "How the build stands, and what the forge is told: buildsmith show sample#$number --checks"
ask show "sample#$number" --checks

page=$(ask show "sample#$number" --format json | sed -n 's/^ *"url": "\(.*\)",$/\1/p')
cat <<TEXT

The build's page:   $page
All builds:         $url/ (log in with the token in $data/admin.token)
Push something:     git push $url/git/<name>.git
Stop the server:    make demo-stop
TEXT
