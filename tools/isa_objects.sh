#!/bin/sh
# Each object made from src/kernels/isa/ must export one symbol, its table, and nothing weak. A weak symbol (an inline
# function, a template) compiled for AVX-512 could be the copy that the linker keeps for the whole program, and crash it
# on a processor without.
#
#   tools/isa_objects.sh object…      objects from other folders are passed over
set -eu

checked=0 failed=0
for object in "$@"; do
  case $object in */kernels/isa/*) ;; *) continue ;; esac
  checked=$((checked + 1))
  # Lines are "address type name"; AddressSanitizer adds markers of its own.
  symbols=$(nm --defined-only --extern-only --demangle "$object" | grep -v ' __*\(odr_\)\{0,1\}asan' | cut -d ' ' -f 2-)
  case $symbols in
    *"
"* | [!DRBS]* | '')
      failed=1
      printf '%s must export its table alone, but exports:\n%s\n' "$object" "$symbols" >&2
      ;;
  esac
done
if [ "$checked" -eq 0 ]; then
  echo "no object of src/kernels/isa among the arguments" >&2
  exit 1
fi
[ "$failed" -eq 0 ] && echo "$checked objects export their tables alone"
exit "$failed"
