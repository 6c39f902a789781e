// Cuts a template into tokens, with Jinja's rules for white space around tags (trim_blocks and lstrip_blocks on, the
// last newline dropped), as transformers sets them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace cachalot::jinja {

enum class TokenKind : uint8_t {
  data,
  variable_begin,
  variable_end,
  block_begin,
  block_end,
  name,
  text,
  integer,
  real,
  symbol,
  end
};

struct Token {
  TokenKind kind = TokenKind::end;
  int line = 1;
  std::string text;  // of data, names and strings (unescaped); the characters of a symbol
  int64_t integer = 0;
  double real = 0;

  bool is(std::string_view symbol) const { return kind == TokenKind::symbol && text == symbol; }
  bool names(std::string_view word) const { return kind == TokenKind::name && text == word; }
};

// Always ends with a token of kind end. Throws LineFailure on bad text between the tags.
std::vector<Token> tokenize(std::string_view source);

// Thrown by lexer and parser.
struct LineFailure {
  int line;
  std::string message;
};

}  // namespace cachalot::jinja
