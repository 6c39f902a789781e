// A place in a text that may go on: what is looked for there is found, is not there, or may still come.
#pragma once

#include <algorithm>
#include <span>
#include <string_view>

namespace cachalot {

inline constexpr std::string_view kSpaces = " \t\r\n\v\f";
// White space between the parts of a call: more of it is none, so that nobody waits for what never comes.
inline constexpr size_t kMostSpaces = 256;
// Of a tool, or of an argument.
inline constexpr size_t kMostNameBytes = 256;

enum class Found { yes, no, open };

class Cursor {
 public:
  Cursor(std::string_view text, size_t at, bool ended) : text_(text), at_(at), ended_(ended) {}

  std::string_view text() const { return text_; }
  size_t at() const { return at_; }
  std::string_view rest() const { return text_.substr(at_); }
  bool at_end() const { return at_ == text_.size(); }
  void move(size_t bytes) { at_ += bytes; }
  // Goes to the next such character, or to the end where there is none.
  bool find(char c) {
    at_ = std::min(text_.find(c, at_), text_.size());
    return !at_end();
  }

  // Goes behind `tag`. `open` also where the end cuts it off: what that means is the caller's affair.
  Found take(std::string_view tag) {
    const std::string_view there = rest();
    if (there.starts_with(tag)) {
      at_ += tag.size();
      return Found::yes;
    }
    return tag.starts_with(there) ? Found::open : Found::no;
  }
  // Goes behind white space, which may be none.
  Found take_spaces() {
    size_t spaces = rest().find_first_not_of(kSpaces);
    if (spaces == std::string_view::npos) spaces = rest().size();
    if (spaces > kMostSpaces) return Found::no;
    at_ += spaces;
    return at_end() && !ended_ ? Found::open : Found::yes;
  }
  // Goes behind white space and `tag`.
  Found take_spaced(std::string_view tag) {
    const Found spaces = take_spaces();
    return spaces == Found::yes ? take(tag) : spaces;
  }
  bool ended() const { return ended_; }
  // Where one of `tags` is taken, none is looked for behind it.
  Found take_any(std::span<const std::string_view> tags) {
    Found found = Found::no;
    for (const std::string_view tag : tags) {
      const Found one = take(tag);
      if (one == Found::yes) return one;
      if (one == Found::open) found = one;
    }
    return found;
  }

 private:
  std::string_view text_;
  size_t at_;
  bool ended_;
};

}  // namespace cachalot
