// A conversation as items: what clients send, and what is kept of it.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "server/responses/tools.h"
#include "session/chat_request.h"

namespace cachalot::responses {

// Makes messages of items. What an assistant said and called in a row is one message, as the model wrote it: so a
// template that keeps reasoning beside calls writes the very tokens again.
class ItemReader {
 public:
  // Finds an item that a kept response has put out, or throws an ApiError.
  using Refer = std::function<Json(const Value& id)>;
  // Borrows the tools, by whose names calls are written.
  ItemReader(const OfferedTools& tools, Refer refer) : tools_(tools), refer_(std::move(refer)) {}

  // Throws an ApiError that names what of the item is not taken.
  void add(const Value& item);
  // A text alone is what the user says.
  void add_input(const Value& input);

  std::vector<ChatMessage> messages;
  std::vector<Json> items;  // of add_input(): each with a type and an id, as they are told and kept

 private:
  enum class Said { nothing, reasoning, text, call };

  void read(const Value& item, const std::string& type);
  void read_message(const Value& item);
  void read_reasoning(const Value& item);
  void read_call(const Value& item, bool custom);
  void read_result(const Value& item);
  ChatMessage& assistant(Said next);

  const OfferedTools& tools_;
  Refer refer_;
  Said said_ = Said::nothing;  // last in the assistant's message that is the last one, as long as it may go on
};

}  // namespace cachalot::responses
