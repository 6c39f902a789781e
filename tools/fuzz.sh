#!/usr/bin/env bash
# Fuzzes every parser (or those named) for SECONDS each, two at a time, starting from its corpus. New inputs go to a
# scratch folder; a finding stays there and fails the run.   tools/fuzz.sh BUILD-FOLDER [SECONDS [TARGET…]]
set -euo pipefail
cd "$(dirname "$0")/.."
build=$1 seconds=${2:-20}; shift $(($# < 2 ? $# : 2))
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
  for source in fuzz/*_fuzz.cpp; do targets+=("$(basename "$source" _fuzz.cpp)"); done
fi
fuzz_one() {
  local name=$1 scratch=$build/findings/$1
  mkdir -p "$scratch"
  local options=(-max_total_time="$seconds" -timeout=25 -rss_limit_mb=2048 -artifact_prefix="$scratch/" -print_final_stats=1)
  [ -f "fuzz/$name.dict" ] && options+=(-dict="fuzz/$name.dict")
  if "$build/fuzz/fuzz_$name" "${options[@]}" "$scratch" "fuzz/corpus/$name" >"$scratch/log" 2>&1; then
    echo "fuzz $name: $(grep -oE 'number_of_executed_units: [0-9]+' "$scratch/log" | grep -oE '[0-9]+') inputs, nothing found"
  else
    tail -n 40 "$scratch/log"
    echo "fuzz $name: FAILED; inputs and log are in $scratch" >&2
    return 1
  fi
}
export -f fuzz_one
export build seconds
printf '%s\n' "${targets[@]}" | xargs -P 2 -I{} bash -c 'fuzz_one {}'
