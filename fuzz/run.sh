#!/usr/bin/env bash
# Fuzzes every target for so many seconds, one after the other, from its seeds and what was found before (fuzz/corpus). What crashes is
# kept in fuzz/artifacts. Ends with a line for machines, and fails when something crashed. Each case is held to one invariant: it ends, in time and
# within bounds, and nothing that its target asserts fails.
#
#   fuzz/run.sh SECONDS [TARGET...]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
seconds=${1:-60}
shift || true
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
  mapfile -t targets < <(sed -n 's|^path = "fuzz_targets/\(.*\)\.rs"|\1|p' fuzz/Cargo.toml)
fi

unset CARGO_TARGET_DIR
if ! cargo +nightly fuzz build --fuzz-dir fuzz; then
  echo "fuzz: targets=${#targets[@]} seconds_each=$seconds cases=0 invariants=0 violations=0: they could not be built"
  exit 1
fi
built=fuzz/target/$(rustc +nightly -vV | sed -n 's/^host: //p')/release
runs=0
crashes=0
for target in "${targets[@]}"; do
  mkdir -p "fuzz/corpus/$target" "fuzz/artifacts/$target"
  corpora=("fuzz/corpus/$target" "fuzz/seeds/$target")
  if [ "$target" = exposition ]; then corpora+=(tests/measure/pages); fi
  log=$(mktemp)
  ended=0
  "$built/$target" -max_total_time="$seconds" -max_len=16384 -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
    -dict=fuzz/words.dict -artifact_prefix="fuzz/artifacts/$target/" "${corpora[@]}" >"$log" 2>&1 || ended=$?
  did=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -1)
  covered=$(grep -o 'cov: [0-9]*' "$log" | tail -1 || true)
  # What has tried nothing has shown nothing.
  if [ "$ended" -eq 0 ] && [ "${did:-0}" -eq 0 ]; then ended=none; fi
  printf 'fuzz: target=%s seconds=%s runs=%s %s exit=%s\n' "$target" "$seconds" "${did:-0}" "${covered/: /=}" "$ended"
  if [ "$ended" != 0 ]; then
    crashes=$((crashes + 1))
    tail -40 "$log"
  fi
  runs=$((runs + ${did:-0}))
  rm -f "$log"
done
echo "fuzz: targets=${#targets[@]} seconds_each=$seconds cases=$runs invariants=$runs violations=$crashes"
[ "$crashes" -eq 0 ]
