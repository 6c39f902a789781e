// The fields of requests: what becomes of each, as data. docs/serving.md shows the same table, and a test keeps both
// equal and tries every field.
//
// A field is honoured, or it is without effect since it asks for nothing that an answer shows, or it is refused with
// an error that names it. A field that is not in the table is refused as well: nobody knows what it was meant to do,
// and an answer that silently lacks it is worse than none. The table has what the official clients and the common
// ones send.
#pragma once

#include <span>
#include <string_view>

#include "server/openai/asked.h"
#include "server/openai/value.h"

namespace cachalot::openai {

enum class Use { honoured, without_effect, refused };

struct Field {
  std::string_view name;
  Use use;
  std::string_view about;  // for the docs: values and their meaning, or why it is without effect, or refused
  // JSON lists of examples: values that are taken, and values that are refused. Of a refused field the first are all
  // that are taken, as they ask for nothing.
  std::string_view taken, refused;
  void (*read)(const Value& value, Asked& asked) = nullptr;  // none: refused, but for the above
};

// For fields of both endpoints.
template <bool Asked::* flag>
void read_flag(const Value& value, Asked& asked) {
  asked.*flag = value.flag();
}
inline void check_flag(const Value& value, Asked&) { value.flag(); }

enum class Endpoint { chat, completions };

std::span<const Field> common_fields();
std::span<const Field> chat_fields();
std::span<const Field> completion_fields();

// Reads a body's fields, of which null counts as absent. Throws an ApiError.
Asked read_fields(const Json& body, const ServedModel& model, Endpoint endpoint);

}  // namespace cachalot::openai
