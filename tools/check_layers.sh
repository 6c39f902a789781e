#!/usr/bin/env bash
# The folder list is the stack: a file in src/ includes only from lower layers or from its own folder.
set -euo pipefail
cd "$(dirname "$0")/.."
rank() {
  case $1 in
    base) echo 0 ;; tensor | text) echo 1 ;; kernels | formats | comm) echo 2 ;; ops) echo 3 ;; model) echo 4 ;;
    engine | convert) echo 5 ;; train | server) echo 6 ;; cli) echo 7 ;; *) echo unknown ;;
  esac
}
failures=0 checked=0
while IFS=: read -r file line include; do
  own=${file#src/}; own=${own%%/*}
  target=${include#*\"}; target=${target%%\"*}
  [[ $target == */* ]] || { echo "$file:$line: include \"$target\" names no folder"; failures=$((failures + 1)); continue; }
  folder=${target%%/*}
  checked=$((checked + 1))
  [ "$folder" = "$own" ] && continue
  from=$(rank "$own") to=$(rank "$folder")
  if [ "$from" = unknown ] || [ "$to" = unknown ] || [ "$to" -ge "$from" ]; then
    echo "$file:$line: $own ($from) includes \"$target\" ($to)"
    failures=$((failures + 1))
  fi
done < <(grep -rnE '^#include "' src --include='*.h' --include='*.cpp')
[ "$checked" -gt 0 ] || { echo "no includes found"; exit 1; }
echo "$checked includes, $failures against the stack"
[ "$failures" -eq 0 ]
