#!/usr/bin/env bash
# check_headers.sh [JOBS]: every header of src/ compiles alone, so that none leans on what its users include before it.
# Those of vector instruction sets need the flags of the files in kernels/isa, which include them first.
set -euo pipefail
cd "$(dirname "$0")/.."
flags="-std=c++20 -fsyntax-only -Wall -Wextra -Wno-missing-field-initializers -Isrc"
flags+=" $(pkg-config --cflags libpcre2-8 libutf8proc)"
git ls-files 'src/*.h' | grep -vE '^src/kernels/simd/avx' |
  xargs -P "${1:-$(nproc)}" -I{} sh -c 'echo "#include \"{}\"" | sed s:src/:: | g++ '"$flags"' -x c++ - || { echo "{} does not compile alone"; exit 1; }'
