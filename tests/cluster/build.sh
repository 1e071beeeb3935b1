#!/usr/bin/env bash
# Builds tidegate-cluster once into the cache and prints the path of the binary, the only thing on standard output.
# The directory's name is a hash of everything the binary is made of, so a cached one is never stale. Next to the
# binary stands a link "kubectl". Builds at the same time wait for each other.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

command -v go >/dev/null || { echo "go is not installed: install Go as go.mod names it, or newer" >&2; exit 1; }

sources=$({ find . -name '*.go' ! -name '*_test.go'; echo ./go.mod; echo ./go.sum; } | LC_ALL=C sort)
# shellcheck disable=SC2086 # one word for each file
hash=$({ go version; echo "$sources"; cat $sources build.sh; } | sha256sum | cut -c1-16)
cache=${TIDEGATE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tidegate}
directory=$cache/cluster-$hash
binary=$directory/tidegate-cluster

if [ -x "$binary" ]; then
    echo "$binary"
    exit
fi

mkdir -p "$directory"
exec 9>"$directory/lock"
if ! flock -n 9; then
    echo "another build of the same is under way: waiting for it" >&2
    flock 9
fi
if [ -x "$binary" ]; then
    echo "$binary"
    exit
fi

compiled=$directory/compiled
: >"$compiled"
began=$SECONDS

# Says how far the build is: on one line of a terminal, otherwise in a line of its own every ten seconds.
progress() {
    local total=$1 done say
    while sleep "$2"; do
        done=$(wc -l <"$compiled")
        say="building tidegate-cluster: $done of up to $total packages, $((SECONDS - began)) s"
        if [ -t 2 ]; then printf '\r\033[K%s' "$say" >&2; else echo "$say" >&2; fi
    done
}

echo "building tidegate-cluster into $directory: minutes when nothing is cached, seconds otherwise" >&2
go mod download >&2
total=$(go list -deps . | wc -l)
progress "$total" "$([ -t 2 ] && echo 2 || echo 10)" 9>&- &
reporter=$!
# shellcheck disable=SC2064 # expanded now, while the number is known
trap "kill $reporter 2>/dev/null || true" EXIT

version=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
major=${version#v}
minor=${major#*.}
package=k8s.io/component-base/version
flags="-s -w -X $package.gitVersion=$version -X $package.gitMajor=${major%%.*} -X $package.gitMinor=${minor%%.*}"
if ! go build -v -buildvcs=false -ldflags "$flags" -o "$binary.new" . 2>"$compiled" 9>&-; then
    [ -t 2 ] && echo >&2
    tail -n 30 "$compiled" >&2
    echo "the build failed: see the lines above" >&2
    exit 1
fi
kill "$reporter" 2>/dev/null || true
[ -t 2 ] && printf '\r\033[K' >&2
ln -sf tidegate-cluster "$directory/kubectl"
mv "$binary.new" "$binary"
echo "built in $((SECONDS - began)) s" >&2
echo "$binary"
