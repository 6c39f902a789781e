// What Anthropic's API asks.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "server/dialect/fields.h"

namespace cachalot::anthropic {

using namespace dialect;

struct AskedMessage : Asked {
  explicit AskedMessage(const ServedModel& served) : Asked(served, "messages") {}

  const Json* system = nullptr;
  const Json* messages = nullptr;
  const Json* tools = nullptr;
  bool tells_of_tools = true;
  bool tells_thinking = true;  // false: a thinking block's text is empty, its signature holds it
};

// An endpoint's own fields, which go before those that it shares with others.
std::span<const Field<AskedMessage>> message_fields();

// Read a body. Throw an ApiError.
AskedMessage read_message(const Json& body, const ServedModel& model);

// The conversation, once the fields are read: asked.chat. Throws an ApiError.
void read_conversation(AskedMessage& asked);

// -- Parts of it

// What messages say of tools that are not shown to the model from the beginning.
struct ToolMentions {
  std::vector<std::string> added;  // in this order, each once
  std::set<std::string> removed;

  void add(const std::string& name) {
    removed.erase(name);
    if (known_.insert(name).second) added.push_back(name);
  }

 private:
  std::set<std::string> known_;  // those added; there may be as many as a body has room for
};

// The tools that the model is told of, in the shape of ChatRequest: those that wait to be found (defer_loading) stand
// behind the others once they are mentioned. Throws an ApiError.
Json offered_tools(const Value& tools, const ToolMentions& mentions);

}  // namespace cachalot::anthropic
