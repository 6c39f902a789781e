// Executable shape suffixes.  SHAPES(x_TD, gain_D, y_TD) reads its own argument names: the letters after the last
// underscore name the dimensions, and equal letters must mean equal sizes across the whole list. A mismatch is a bug
// of ours and aborts with the names and both sizes. Arguments need `rank` and `shape` (Tensor, Weight).
#pragma once

#include <cstdint>
#include <string_view>

#include "base/check.h"

namespace cachalot {

class Dims {
 public:
  template <typename T>
  Dims& bind(std::string_view name, const T& tensor) {
    const auto letters = name.substr(name.rfind('_') + 1);
    CHECK(static_cast<size_t>(tensor.rank) == letters.size(), "{} has rank {}", name, tensor.rank);
    for (size_t i = 0; i < letters.size(); ++i) {
      const int letter = letters[i] - 'A';
      CHECK(letter >= 0 && letter < 26, "{}: a shape suffix is made of capital letters", name);
      auto& [size, owner] = seen_[letter];
      if (size < 0) size = tensor.shape[i], owner = name;
      CHECK(size == tensor.shape[i], "{}: {} = {}, but {} says {}", name, letters[i], tensor.shape[i], owner, size);
    }
    return *this;
  }

 private:
  struct Seen {
    int64_t size = -1;
    std::string_view owner;
  };
  Seen seen_[26];
};

}  // namespace cachalot

#define CACHALOT_BIND_1(a) .bind(#a, a)
#define CACHALOT_BIND_2(a, ...) .bind(#a, a) CACHALOT_BIND_1(__VA_ARGS__)
#define CACHALOT_BIND_3(a, ...) .bind(#a, a) CACHALOT_BIND_2(__VA_ARGS__)
#define CACHALOT_BIND_4(a, ...) .bind(#a, a) CACHALOT_BIND_3(__VA_ARGS__)
#define CACHALOT_BIND_5(a, ...) .bind(#a, a) CACHALOT_BIND_4(__VA_ARGS__)
#define CACHALOT_BIND_6(a, ...) .bind(#a, a) CACHALOT_BIND_5(__VA_ARGS__)
#define CACHALOT_PICK(a, b, c, d, e, f, name, ...) name
#define SHAPES(...)                                                                                                  \
  (::cachalot::Dims() CACHALOT_PICK(__VA_ARGS__, CACHALOT_BIND_6, CACHALOT_BIND_5, CACHALOT_BIND_4, CACHALOT_BIND_3, \
                                    CACHALOT_BIND_2, CACHALOT_BIND_1)(__VA_ARGS__))
