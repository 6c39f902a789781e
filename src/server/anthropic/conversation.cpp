// Messages in: what the system, the user and the assistant said, as the conversation that the template is given.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/quote.h"
#include "server/anthropic/blocks.h"
#include "server/dialect/reasoning.h"

namespace cachalot::anthropic {
namespace {

ChatMessage message_of(ChatRole role) {
  return {.role = role, .text = {}, .reasoning = {}, .calls = {}, .call_id = {}};
}

// Reads messages in their order.
class Conversation {
 public:
  explicit Conversation(ChatRequest& chat) : chat_(chat) {}

  ToolMentions mentions;

  void add(const Value& message, bool before_user) {
    message.object();
    const Value role = message.member("role");
    if (role.text() == "user")
      add_user(message.member("content"));
    else if (role.text() == "assistant")
      add_assistant(message.member("content"));
    else if (role.text() == "system")
      add_system(message, before_user);
    else
      role.expect("one of user, assistant and system");
  }

 private:
  // Several in a row of one role are one.
  ChatMessage& last_or_new(ChatRole role) {
    if (chat_.messages.empty() || chat_.messages.back().role != role) chat_.messages.push_back(message_of(role));
    return chat_.messages.back();
  }

  // Blocks of a list; a text is one.
  template <class Take>
  static void each_block(const Value& content, const Take& take) {
    if (!content.json.is_array()) content.expect("a text or a list of blocks");
    for (const Value& block : content.list(kMostBlocks)) take(block, block.member("type"));
  }

  // Results of tools stand in front of what the user says besides, since they belong to the calls before them.
  void add_user(const Value& content) {
    std::string text;
    const size_t before = chat_.messages.size();
    if (content.json.is_string())
      text = content.text();
    else
      each_block(content, [&](const Value& block, const Value& type) {
        if (type.text() == "tool_result")
          add_result(block);
        else
          add_lines(text, block_text(block, mentions));
      });
    if (text.empty() && chat_.messages.size() == before) content.refuse("is empty; a user says something");
    if (!text.empty()) add_lines(last_or_new(ChatRole::user).text, text);
  }

  void add_result(const Value& block) {
    const Value id = block.member("tool_use_id");
    if (!calls_.contains(id.text()))
      id.refuse(fmt::format("is {}, and no tool_use before it has that id", quote(id.text())));
    ChatMessage result = message_of(ChatRole::tool);
    result.call_id = id.text();
    result.text = result_text(block, mentions);
    chat_.messages.push_back(std::move(result));
  }

  void add_assistant(const Value& content) {
    ChatMessage& message = last_or_new(ChatRole::assistant);
    if (content.json.is_string())
      add_lines(message.text, content.text());
    else
      each_block(content, [&](const Value& block, const Value& type) { add_assistant_block(block, type, message); });
  }

  void add_assistant_block(const Value& block, const Value& type, ChatMessage& message) {
    const std::string& name = type.text();
    if (name == "text")
      add_lines(message.text, block.member("text").text());
    else if (name == "thinking")
      message.reasoning = message.reasoning.value_or("") + thinking_of(block);
    else if (name == "tool_use")
      message.calls.push_back(call_of(block));
    else if (name != "redacted_thinking" && name != "fallback")  // what only another model reads, and a mere mark
      type.refuse(fmt::format("is {}; an assistant has blocks of the types 'text', 'thinking' and 'tool_use' here",
                              quote(name)));
  }

  // A signature of ours brings back what was not shown.
  static std::string thinking_of(const Value& block) {
    const std::string& thinking = block.member("thinking").text();
    if (!thinking.empty() || !find(block.json, "signature")) return thinking;
    return unsealed(block.member("signature").text()).value_or("");
  }

  ChatCall call_of(const Value& block) {
    const Value name = block.member("name"), id = block.member("id"), input = block.member("input");
    if (name.text().empty()) name.refuse("is empty");
    if (!calls_.insert(id.text()).second) id.refuse(fmt::format("is {}, as that of another call", quote(id.text())));
    input.object();
    return {.id = id.text(), .name = name.text(), .arguments = input.json};
  }

  // Between messages, too. What holds for one turn of the user is left out behind that.
  void add_system(const Value& message, bool before_user) {
    std::string text;
    if (find(message.json, "content")) text = system_text(message.member("content"), mentions);
    if (find(message.json, "output_config")) {
      const Value config = message.member("output_config");
      for (const auto& [name, json] : config.object().items())
        if (name != "effort") Value{config.path + "." + name, json}.refuse("a message may say an effort alone");
      if (find(config.json, "effort")) {
        chat_.thinking.effort = effort_named(config.member("effort").text());
        if (!chat_.thinking.effort) config.member("effort").expect("one of low, medium, high, xhigh and max");
      }
    }
    if (find(message.json, "clear_at")) {
      const Value clear = message.member("clear_at");
      if (clear.text() != "next_user_message" && clear.text() != "never")
        clear.expect("\"next_user_message\" or \"never\"");
      if (clear.text() == "next_user_message" && before_user) return;
    }
    if (text.empty()) return;
    chat_.messages.push_back(message_of(ChatRole::system));
    chat_.messages.back().text = std::move(text);
  }

  ChatRequest& chat_;
  std::set<std::string> calls_;  // ids
};

// An answer that is begun is gone on with.
void check_last(const Value& messages, AskedMessage& asked) {
  if (asked.chat.messages.empty() || asked.chat.messages.back().role != ChatRole::assistant) return;
  const ChatMessage& last = asked.chat.messages.back();
  const Value content = messages.at(messages.json.size() - 1).member("content");
  if (!last.calls.empty()) content.refuse("calls tools, whose results are missing behind it");
  if (last.text.empty()) {
    if (last.reasoning) content.refuse("is thinking alone; an answer that is to be gone on with says something");
    asked.chat.messages.pop_back();
    return;
  }
  if (std::string_view(" \t\r\n").find(last.text.back()) != std::string_view::npos)
    content.refuse(
        "ends with white space; an answer that is to be gone on with must not, since tokens begin with it");
  asked.chat.continues_last = true;
  asked.chat.opens_answer = false;
}

size_t last_user(const Value& messages) {
  size_t last = 0;
  for (size_t i = 0; i < messages.json.size(); ++i)
    if (messages.json[i].is_object() && messages.json[i].value("role", Json()) == "user") last = i;
  return last;
}

}  // namespace

void read_conversation(AskedMessage& asked) {
  if (!asked.messages) throw bad_field("messages", "is missing");
  const Value messages{"messages", *asked.messages};
  if (!messages.json.is_array()) messages.expect("a list of messages");
  if (messages.json.empty()) messages.refuse("is empty; a conversation has at least one message");
  Conversation conversation(asked.chat);
  if (asked.system) {
    std::string text = system_text(Value{"system", *asked.system}, conversation.mentions);
    if (!text.empty()) {
      asked.chat.messages.push_back(message_of(ChatRole::system));
      asked.chat.messages.back().text = std::move(text);
    }
  }
  const size_t user = last_user(messages);
  for (size_t i = 0; i < messages.json.size(); ++i) conversation.add(messages.at(i), i < user);
  check_last(messages, asked);
  if (asked.chat.messages.empty()) messages.refuse("say nothing");
  if (!asked.tools) return;
  Json tools = offered_tools(Value{"tools", *asked.tools}, conversation.mentions);
  if (asked.tells_of_tools) asked.chat.tools = std::move(tools);
}

}  // namespace cachalot::anthropic
