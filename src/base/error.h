// The one exception type for bad input: files, requests, options. A bug of ours is a CHECK (check.h), a normal
// outcome (cache full, no match) is a value. Caught in three places only: main, the HTTP handler, the engine step.
//
//   throw Error("tensor 'x' has shape [2, 3], but [3, 2] was expected").in("model.safetensors")
//       .because("config.json: hidden_size = 3").hint("compare the two with `cachalot inspect`");
#pragma once

#include <exception>
#include <string>
#include <string_view>

namespace cachalot {

class Error : public std::exception {
 public:
  explicit Error(std::string what) : what_(std::move(what)) { compose(); }

  // Where: a file, a request field, an option. A second call puts the wider place in front ("dir: file").
  Error in(std::string_view place) && {
    place_ = place_.empty() ? std::string(place) : std::string(place) + ": " + place_;
    return compose();
  }
  // Why that was expected; may be given several times.
  Error because(std::string_view reason) && { return add("because", reason); }
  // What the reader can do about it.
  Error hint(std::string_view advice) && { return add("hint", advice); }

  // "in PLACE: WHAT" and then one indented line per reason and hint.
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  Error add(std::string_view label, std::string_view text) {
    lines_ += "\n  " + std::string(label) + ": " + std::string(text);
    return compose();
  }
  Error compose() {
    message_ = (place_.empty() ? "" : "in " + place_ + ": ") + what_ + lines_;
    return *this;
  }
  std::string what_, place_, lines_, message_;
};

}  // namespace cachalot
