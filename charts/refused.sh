#!/bin/sh
# Values that the chart refuses: each would give the operator rights over what nobody should be able to reach through a Release.
# Needs what render.sh needs.
set -eu
cd "$(dirname "$0")/.."

# refuses <words> <value>: the chart is not rendered with that value, and says so.
refuses() {
  said=$(charts/render.sh --check --set-json "$2" 2>&1) || true
  case $said in
  *"$1"*) ;;
  *)
    printf '%s\n' "not refused with '$1': $2" >&2
    exit 1
    ;;
  esac
}

# takes <value>: it is rendered.
takes() {
  said=$(charts/render.sh --check --set-json "$1" 2>&1) || true
  case $said in
  *"+  - {apiGroups: [\"velero.io\"], resources: [\"backups\"], verbs: "*) ;;
  *)
    printf '%s\n' "not rendered: $1" "$said" >&2
    exit 1
    ;;
  esac
}

rule() {
  printf '[{"apiGroups": ["%s"], "resources": ["%s"]}]' "$1" "$2"
}

for pair in ' secrets' ' *' '* backups' '* *'; do
  refuses 'Secrets are not read by object checks' "objectChecks=$(rule "${pair% *}" "${pair#* }")"
done
refuses 'Secrets are not read by object checks' 'objectChecks=[{"apiGroups": [""], "resources": ["configmaps", "secrets"]}]'
refuses 'Secrets are not read by object checks' \
  'objectChecks=[{"apiGroups": ["velero.io"], "resources": ["backups"]}, {"apiGroups": [""], "resources": ["secrets"]}]'

for group in '*' apps batch tidegate.dev rbac.authorization.k8s.io; do
  refuses 'hookPatches: name groups' "hookPatches=$(rule "$group" things)"
done
for resource in '*' '*/scale' pods pods/ephemeralcontainers secrets serviceaccounts serviceaccounts/token replicationcontrollers/scale; do
  refuses 'hookPatches: name resources' "hookPatches=$(rule '' "$resource")"
done

takes "objectChecks=$(rule velero.io backups)"
takes "hookPatches=$(rule velero.io backups)"
