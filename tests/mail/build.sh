#!/usr/bin/env bash
# Builds tidegate-mail, a real SMTP server for stories, once into the cache and prints the path of the binary, the only thing on standard output.
# Builds at the same time wait for each other.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

command -v go >/dev/null || { echo "go is not installed: install Go as go.mod names it, or newer" >&2; exit 1; }

hash=$({ go version; cat main.go go.mod go.sum build.sh; } | sha256sum | cut -c1-16)
directory=${TIDEGATE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tidegate}/mail-$hash
binary=$directory/tidegate-mail

mkdir -p "$directory"
exec 9>"$directory/lock"
flock 9
if [ ! -x "$binary" ]; then
    go build -buildvcs=false -ldflags "-s -w" -o "$binary.new" . >&2 9>&-
    mv "$binary.new" "$binary"
fi
echo "$binary"
