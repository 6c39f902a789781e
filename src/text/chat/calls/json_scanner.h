// Finds the end of a JSON object or list in a text that is still growing, and where its members stand, so that what a
// model wrote can be handed on as it is. Strict (RFC 8259), but for raw control characters in strings, which models
// write. Every byte is looked at once.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/chat/calls/call_reader.h"

namespace cachalot {

inline constexpr size_t kMostJsonDepth = 64;

class JsonScanner {
 public:
  struct Member {                       // places in the text; in a list the key is empty
    size_t key_begin = 0, key_end = 0;  // with its quotes
    size_t value_begin = 0, value_end = 0;
  };

  // Reads on; the text begins with the value and is longer than before, if anything.
  Reading read(std::string_view text);
  size_t read_bytes() const { return at_; }
  // An object that is whole but for its last brace: where it was read to, that is missing.
  bool lacks_last_brace() const { return open_ == "{" && next_ == Next::comma_or_close && !in_scalar_; }
  // Of the object or list itself.
  const std::vector<Member>& members() const { return members_; }

 private:
  enum class Next { value, value_or_close, key, key_or_close, colon, comma_or_close, end };
  bool step(std::string_view text);
  bool step_string(char c);
  bool open(char c);
  bool close(char c);
  bool begin_value(char c);
  bool end_scalar(std::string_view text);
  void end_value();

  size_t at_ = 0;
  Next next_ = Next::value;
  std::string open_;  // brackets
  bool malformed_ = false;
  bool in_string_ = false, is_key_ = false, escaped_ = false;
  int hex_digits_ = 0;      // still to come of \u....
  bool in_scalar_ = false;  // a number, true, false or null
  size_t scalar_begin_ = 0;
  std::vector<Member> members_;
};

// The text of one JSON value as the model wrote it, but for white space around it and raw control characters. None
// when it is no JSON, holds what JSON libraries do not read (half of a surrogate pair), or is nested too deeply.
std::optional<std::string> json_text(std::string_view text);
// A number as JSON has it.
bool is_json_number(std::string_view text);

}  // namespace cachalot
