// What every Ops says of bytes that are no block of its cache (Ops::import_block).
#pragma once

#include <fmt/format.h>

#include "base/error.h"

namespace cachalot {

inline void check_imported_bytes(size_t bytes, size_t wanted, bool numbers) {
  const char* what = "a block of cached tokens cannot be taken over";
  if (bytes != wanted)
    throw Error(what).because(
        fmt::format("it has {} bytes, but {} are those of this model and cache", bytes, wanted));
  if (!numbers) throw Error(what).because("it holds what is no number");
}

}  // namespace cachalot
