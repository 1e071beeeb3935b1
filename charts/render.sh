#!/bin/sh
# Renders the chart with its default values to install.yaml. Needs helm, or Go to build it.
#
#   charts/render.sh             write install.yaml
#   charts/render.sh --check     show how install.yaml differs from what the chart renders; fail if it does
#
# HELM names another helm than the pinned one. More arguments go to helm template.
set -eu
cd "$(dirname "$0")/.."
helm=${HELM:-go run helm.sh/helm/v4/cmd/helm@v4.3.1}

check=
if [ "${1:-}" = --check ]; then
  check=yes
  shift
fi

rendered=$(mktemp)
trap 'rm -f "$rendered"' EXIT
{
  cat <<'HEAD'
# Rendered from charts/tidegate with its default values by charts/render.sh. Do not edit.
apiVersion: v1
kind: Namespace
metadata:
  name: tidegate-system
  labels:
    app.kubernetes.io/part-of: tidegate
    pod-security.kubernetes.io/enforce: restricted
HEAD
  # shellcheck disable=SC2086 # two words or more: a command and its arguments
  $helm template tidegate charts/tidegate --namespace tidegate-system "$@"
} >"$rendered"

# What tests install that have the operator look at two namespaces only, and Releases guarded in them.
namespaced=$(mktemp)
trap 'rm -f "$rendered" "$namespaced"' EXIT
{
  echo '# Rendered from charts/tidegate by charts/render.sh. Do not edit.'
  # shellcheck disable=SC2086
  $helm template tidegate charts/tidegate --namespace tidegate-system --set crds.install=false --set 'watchNamespaces={team-a,team-b}' \
    --set policies.guardDelete=true "$@"
} >"$namespaced"

if [ "$check" ]; then
  diff -u install.yaml "$rendered"
  diff -u tests/real/namespaced.yaml "$namespaced"
else
  cat "$rendered" >install.yaml
  cat "$namespaced" >tests/real/namespaced.yaml
fi
