#!/usr/bin/env bash
# The folder list is the stack: a file in src/ includes only from lower layers or from its own folder.
set -euo pipefail
cd "$(dirname "$0")/.."
rank() {
  case $1 in
    base) echo 0 ;; tensor | jinja) echo 1 ;; text | kernels) echo 2 ;; formats | comm) echo 3 ;; ops) echo 4 ;; model) echo 5 ;;
    engine | convert) echo 6 ;; load) echo 7 ;; session | hub | train) echo 8 ;; server) echo 9 ;; cli) echo 10 ;; *) echo unknown ;;
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
