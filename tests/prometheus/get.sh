#!/usr/bin/env bash
# Prints the path of a Prometheus, the only thing on standard output: the one in PATH, else Debian's package, unpacked into the
# cache without being installed. Needs no root. Several at the same time wait for each other.
set -euo pipefail

if command -v prometheus; then
    exit
fi

directory=${TIDEGATE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tidegate}/prometheus
binary=$directory/usr/bin/prometheus

if [ -x "$binary" ]; then
    echo "$binary"
    exit
fi

missing() {
    echo "stories that measure need prometheus, and $1: install it (apt-get install prometheus, or the" \
        "project's own binary) so that it is in the PATH" >&2
    exit 1
}
for tool in apt-get dpkg; do
    command -v "$tool" >/dev/null || missing "there is no $tool to fetch Debian's package with"
done

mkdir -p "$directory"
exec 9>"$directory/lock"
flock 9
if [ -x "$binary" ]; then
    echo "$binary"
    exit
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
cd "$work"

# apt-get with lists and downloads of its own: those of the machine are root's, and may be empty.
own=(-o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache" -o APT::Sandbox::User= -o Debug::NoLocking=true)

echo "fetching Debian's prometheus into $directory" >&2
if ! apt-get -o APT::Sandbox::User= download prometheus >"$work/said" 2>&1 9>&-; then
    mkdir -p lists/partial cache/archives/partial
    if ! { apt-get "${own[@]}" update && apt-get "${own[@]}" download prometheus; } >"$work/said" 2>&1 9>&-; then
        tail -n 10 "$work/said" >&2
        missing "Debian's package cannot be fetched"
    fi
fi
dpkg -x prometheus_*.deb unpacked
"$work/unpacked/usr/bin/prometheus" --version >/dev/null || missing "Debian's does not run on this machine"
mkdir -p "$(dirname "$binary")"
mv unpacked/usr/bin/prometheus "$binary"
echo "$binary"
