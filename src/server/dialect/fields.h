// The fields of requests: what becomes of each, as data. docs/serving.md shows the same tables, and a test keeps both
// equal and tries every field.
//
// A field is honoured, or it is without effect since it asks for nothing that an answer shows, or it is refused with
// an error that names it. A field that is not in a table is refused as well: nobody knows what it was meant to do,
// and an answer that silently lacks it is worse than none. The tables have what the official clients and the common
// ones send.
#pragma once

#include <span>
#include <string_view>

#include "server/dialect/asked.h"
#include "server/dialect/value.h"

namespace cachalot::dialect {

enum class Use { honoured, without_effect, refused };

// What a field is, whoever reads it.
struct FieldFacts {
  std::string_view name;
  Use use;
  std::string_view about;  // for the docs: values and their meaning, or why it is without effect, or refused
  // JSON lists of examples: values that are taken, and values that are refused. Of a refused field the first are all
  // that are taken, as they ask for nothing.
  std::string_view taken, refused;
};

// A field that is read into this kind of Asked.
template <class Into>
struct Field : FieldFacts {
  void (*read)(const Value& value, Into& asked) = nullptr;  // none: refused, but for `taken`

  void take(const Value& value, Into& asked) const;
};

// Of the first table that has it; nullptr when none has.
template <class Into>
const Field<Into>* find_field(std::span<const Field<Into>> table, std::string_view name) {
  for (const Field<Into>& field : table)
    if (field.name == name) return &field;
  return nullptr;
}

// Reads a body's fields, of which null counts as absent, by the tables of an endpoint. Throws an ApiError.
template <class Into, class... Part>
void read_fields(const Json& body, Into& asked, std::span<const Field<Part>>... tables);

// -- Readers that many fields share

template <auto flag, class Into>
void read_flag(const Value& value, Into& asked) {
  asked.*flag = value.flag();
}
// Of what is without effect: it must be of its type.
template <class Into>
void check_flag(const Value& value, Into&) {
  value.flag();
}
template <class Into>
void check_text(const Value& value, Into&) {
  value.text();
}
template <class Into>
void check_object(const Value& value, Into&) {
  value.object();
}

// Texts that end an answer.
void read_stops(const Value& value, Asked& asked);
// Wishes of reasoning.
void read_reasoning_effort(const Value& value, Asked& asked);
void read_enable_thinking(const Value& value, Asked& asked);
void read_thinking_limit(const Value& value, Asked& asked);  // tokens; -1: none
void read_thinking_type(const Value& value, Asked& asked);   // of an object: enabled, disabled, adaptive

// -- Tables that several endpoints share

// How tokens are chosen, what ends an answer, what the cache does: of every endpoint that makes an answer.
std::span<const Field<Asked>> sampling_fields();
// Tools, reasoning, and the template's variables: of every endpoint that takes a conversation.
std::span<const Field<Asked>> conversation_fields();

// -- Here since they are templates

[[noreturn]] void refuse_unknown(std::string_view name);
void refuse_unless_harmless(const FieldFacts& field, const Value& value);

template <class Into>
void Field<Into>::take(const Value& value, Into& asked) const {
  if (read)
    read(value, asked);
  else
    refuse_unless_harmless(*this, value);
}

template <class Into, class... Part>
void read_fields(const Json& body, Into& asked, std::span<const Field<Part>>... tables) {
  for (const auto& [name, json] : body.items()) {
    if (json.is_null()) continue;
    const Value value{name, json};
    const auto taken_by = [&](const auto* field) {
      if (field) field->take(value, asked);
      return field != nullptr;
    };
    if (!(taken_by(find_field(tables, name)) || ...)) refuse_unknown(name);
  }
}

}  // namespace cachalot::dialect
