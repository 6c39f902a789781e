#include "server/responses/input.h"

#include <fmt/format.h>

#include <map>

#include "base/quote.h"
#include "server/dialect/follow.h"
#include "server/dialect/reasoning.h"

namespace cachalot::responses {
namespace {

constexpr size_t kMostItems = 65'536, kMostParts = 65'536;

ChatRole role_named(const Value& role) {
  static const std::map<std::string_view, ChatRole> kRoles = {{"system", ChatRole::system},
                                                              {"developer", ChatRole::system},
                                                              {"user", ChatRole::user},
                                                              {"assistant", ChatRole::assistant}};
  const auto found = kRoles.find(role.text());
  if (found == kRoles.end()) role.expect("one of system, developer, user and assistant");
  return found->second;
}

void add_line(std::string& text, const std::string& more) { text += (text.empty() ? "" : "\n") + more; }

// A text, or parts of it. An answer's own parts stand side by side, others are joined by line breaks.
std::string text_of(const Value& content, bool answer) {
  if (content.json.is_string()) return content.text();
  if (!content.json.is_array()) content.expect("a text or a list of parts");
  std::string text;
  bool first = true;
  for (const Value& part : content.list(kMostParts)) {
    const Value type = part.member("type");
    const std::string& kind = type.text();
    const bool refusal = kind == "refusal";
    if (!refusal && kind != "input_text" && kind != "output_text" && kind != "text")
      type.refuse(fmt::format("is {}; the model reads text alone", quote(kind)));
    const std::string& said = part.member(refusal ? "refusal" : "text").text();
    text += (first || answer ? "" : "\n") + said;
    first = false;
  }
  return text;
}

// The texts of parts, whatever they are called.
std::string texts(const Value& parts, const char* between) {
  std::string text;
  for (const Value& part : parts.list(kMostParts)) {
    const std::string& one = part.member("text").text();
    text += (text.empty() ? "" : between) + one;
  }
  return text;
}

std::string type_of(const Value& item) {
  if (find(item.object(), "id")) item.member("id").text();
  if (find(item.json, "type")) return item.member("type").text();
  if (!find(item.json, "role") && !find(item.json, "content") && find(item.json, "id")) return "item_reference";
  return "message";
}

std::string id_prefix(const std::string& type) {
  static const std::map<std::string_view, std::string> kPrefixes = {
      {"message", "msg_"},          {"reasoning", "rs_"},
      {"function_call", "fc_"},     {"function_call_output", "fco_"},
      {"custom_tool_call", "ctc_"}, {"custom_tool_call_output", "ctco_"}};
  const auto found = kPrefixes.find(type);
  return found == kPrefixes.end() ? "item_" : found->second;
}

// As a client gets it that asks for what was said to a response: with all that it looks for.
Json complete(const Json& item, const std::string& type) {
  Json whole = item;
  if (!find(whole, "id")) whole["id"] = id_prefix(type) + random_id();
  whole["type"] = type;
  if (!find(whole, "status") && type != "reasoning") whole["status"] = "completed";
  if (type != "message" || !whole["content"].is_string()) return whole;
  Json part = {{"type", whole["role"] == "assistant" ? "output_text" : "input_text"}, {"text", whole["content"]}};
  if (whole["role"] == "assistant") part["annotations"] = Json::array();
  whole["content"] = Json::array({std::move(part)});
  return whole;
}

}  // namespace

void ItemReader::add(const Value& item) {
  const std::string type = type_of(item);
  if (type == "item_reference") {
    const Json meant = refer_(item.member("id"));
    return add({item.path, meant});
  }
  read(item, type);
}

void ItemReader::add_input(const Value& input) {
  const Json said = Json::array({{{"role", "user"}, {"content", input.json}}});
  if (input.json.is_string()) return add_input({input.path, said});
  if (!input.json.is_array()) input.expect("a text or a list of items");
  if (input.json.empty()) input.refuse("is empty; there is nothing to answer");
  if (input.json.size() > kMostItems)
    input.refuse(fmt::format("has {} items; at most {} are taken", input.json.size(), kMostItems));
  for (size_t i = 0; i < input.json.size(); ++i) {
    const Value item = input.at(i);
    const std::string type = type_of(item);
    const Json meant = type == "item_reference" ? refer_(item.member("id")) : Json();
    const Value& one = meant.is_null() ? item : Value{item.path, meant};
    add(one);
    items.push_back(complete(one.json, type_of(one)));
  }
}

void ItemReader::read(const Value& item, const std::string& type) {
  if (type == "message") return read_message(item);
  if (type == "reasoning") return read_reasoning(item);
  if (type == "function_call" || type == "custom_tool_call") return read_call(item, type == "custom_tool_call");
  if (type == "function_call_output" || type == "custom_tool_call_output") return read_result(item);
  if (type == "web_search_call") return;  // that a search was made; what it found is not in it
  const std::string why = fmt::format("there are no items of the type {} here", quote(type));
  item.member("type").refuse(why);
}

void ItemReader::read_message(const Value& item) {
  const ChatRole role = role_named(item.member("role"));
  const std::string text = text_of(item.member("content"), role == ChatRole::assistant);
  if (role == ChatRole::assistant) return add_line(assistant(Said::text).text, text);
  said_ = Said::nothing;
  messages.push_back({.role = role, .text = text, .reasoning = {}, .calls = {}, .call_id = {}});
}

// Its own text; or that which we have sealed; or, of another model's, the summary.
void ItemReader::read_reasoning(const Value& item) {
  std::string text;
  if (find(item.json, "content")) text = texts(item.member("content"), "");
  if (text.empty() && find(item.json, "encrypted_content"))
    text = unsealed(item.member("encrypted_content").text()).value_or("");
  if (text.empty() && find(item.json, "summary")) text = texts(item.member("summary"), "\n\n");
  if (text.empty()) return;
  ChatMessage& message = assistant(Said::reasoning);
  if (!message.reasoning) message.reasoning.emplace();
  add_line(*message.reasoning, text);
}

void ItemReader::read_call(const Value& item, bool custom) {
  const Value name = item.member("name");
  if (name.text().empty()) name.refuse("is empty");
  const std::string space = find(item.json, "namespace") ? item.member("namespace").text() : "";
  ChatCall call{
      .id = item.member("call_id").text(), .name = tools_.name_for_model(space, name.text()), .arguments = ""};
  if (custom) {
    call.arguments = custom_arguments(item.member("input").text());
  } else {
    const Value arguments = item.member("arguments");
    if (!arguments.json.is_object()) arguments.text();
    call.arguments = arguments.json;
  }
  assistant(Said::call).calls.push_back(std::move(call));
}

void ItemReader::read_result(const Value& item) {
  ChatMessage result{.role = ChatRole::tool, .text = {}, .reasoning = {}, .calls = {}, .call_id = {}};
  result.text = text_of(item.member("output"), /*answer=*/false);
  if (find(item.json, "call_id")) result.call_id = item.member("call_id").text();
  said_ = Said::nothing;
  messages.push_back(std::move(result));
}

// Behind a text there is neither more of it nor reasoning in the same answer, unless a call stood between.
ChatMessage& ItemReader::assistant(Said next) {
  const bool begins = said_ == Said::nothing || (said_ == Said::text && next != Said::call);
  if (begins)
    messages.push_back({.role = ChatRole::assistant, .text = {}, .reasoning = {}, .calls = {}, .call_id = {}});
  said_ = next;
  return messages.back();
}

}  // namespace cachalot::responses
