#include "session/chat_writer.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "jinja/text.h"
#include "session/call_syntax.h"
#include "session/chat_request.h"
#include "text/unicode.h"

namespace cachalot {
namespace {

using Json = nlohmann::ordered_json;

std::string_view role_name(ChatRole role) {
  switch (role) {
    case ChatRole::system: return "system";
    case ChatRole::user: return "user";
    case ChatRole::assistant: return "assistant";
    case ChatRole::tool: return "tool";
  }
  return "";
}

AttributedText said_text(const ChatMessage& message) {
  AttributedText text{is_valid_utf8(message.text) ? message.text : repaired_utf8(message.text), {}};
  text.provenance =
      message.role == ChatRole::assistant ? said_by_assistant(text.text) : Provenance::all_said(text.text.size());
  return text;
}

void add_paragraph(AttributedText& text, const AttributedText& more) {
  if (!text.text.empty() && !more.text.empty()) text.write("\n\n");
  text.append(more);
}

// A template may trim what it writes.
bool tells_system(std::string_view text, const ChatRequest& request, std::string_view tools) {
  return text.find(tools) != text.npos &&
         std::all_of(request.messages.begin(), request.messages.end(), [&](const ChatMessage& message) {
           return message.role != ChatRole::system ||
                  text.find(jinja::strip(message.text, jinja::Side::both)) != text.npos;
         });
}

// Templates write calls in their order, so each name is looked for behind the one before it.
bool tells_calls(std::string_view text, const ChatRequest& request) {
  size_t at = 0;
  for (const ChatMessage& message : request.messages)
    for (const ChatCall& call : message.calls) {
      at = text.find(call.name, at);
      if (at == text.npos) return false;
      at += call.name.size();
    }
  return true;
}

// Templates tell whose a result is by its place alone, so results stand in the order of their calls.
void order_results(std::vector<ChatMessage>& messages) {
  for (auto calling = messages.begin(); calling != messages.end(); ++calling) {
    if (calling->calls.empty()) continue;
    const auto first = calling + 1;
    const auto last = std::find_if(first, messages.end(), [](const auto& m) { return m.role != ChatRole::tool; });
    const auto place = [&](const ChatMessage& result) {
      return std::find_if(calling->calls.begin(), calling->calls.end(),
                          [&](const ChatCall& call) { return call.id == result.call_id; });
    };
    const bool known = std::all_of(first, last, [&](const ChatMessage& result) {
      return !result.call_id.empty() && place(result) != calling->calls.end();
    });
    if (known) std::stable_sort(first, last, [&](const auto& a, const auto& b) { return place(a) < place(b); });
  }
}

}  // namespace

// A message as a template gets it.
struct ChatWriter::Turn {
  ChatRole role;
  AttributedText text;
  std::vector<ChatCall> calls = {};  // that the template writes
  std::optional<std::string> reasoning = {};
  std::string call_id = {};
  Json more = Json::object();

  Json json(const TemplateHabits& habits, ContentNote& note) const {
    using Content = TemplateHabits::Calls::Content;
    Json message = {{"role", role_name(role)}};
    const Content without_text = calls.empty() ? Content::empty : habits.calls->content;
    if (!text.text.empty() || without_text == Content::empty) {
      message["content"] = text.text;
      note.said = text.provenance;
    } else if (without_text == Content::null) {
      message["content"] = nullptr;
      note.null = true;
    }
    if (reasoning) message["reasoning_content"] = *reasoning;
    for (const ChatCall& call : calls) {
      Json function = {{"name", call.name},
                       {"arguments", habits.calls->objects ? arguments_object(call) : Json(arguments_text(call))}};
      Json& told = message["tool_calls"].emplace_back(Json::object());
      if (!call.id.empty()) told["id"] = call.id;
      told["type"] = "function";
      told["function"] = std::move(function);
    }
    if (!call_id.empty()) message["tool_call_id"] = call_id;
    for (const auto& [name, value] : more.items())
      if (!message.contains(name)) message[name] = value;
    return message;
  }
};

// Makes turns of messages.
class ChatWriter::Arranging {
 public:
  Arranging(const ChatWriter& writer, const ChatRequest& request, const AttributedText& tools, Arrangement how,
            bool writes_calls)
      : habits_(writer.habits_for(request)), format_(writer.format_), how_(how), writes_calls_(writes_calls) {
    const auto& messages = request.messages;
    size_t i = begin(request, tools);
    for (; i < messages.size(); ++i) {
      const bool splits = messages[i].calls.size() > 1 && !writes(messages[i]) && !habits_.calls->several;
      if (splits)
        i = add_one_by_one(messages, i);
      else
        add(messages[i]);
    }
    end_user();
    if (how_ >= Arrangement::joined) join_neighbours();
  }

  std::vector<Turn> turns;

 private:
  // What the system says at the beginning; where that ends.
  size_t begin(const ChatRequest& request, const AttributedText& tools) {
    AttributedText system;
    size_t i = 0;
    for (; i < request.messages.size() && request.messages[i].role == ChatRole::system; ++i)
      add_paragraph(system, said_text(request.messages[i]));
    add_paragraph(system, tools);
    if (how_ == Arrangement::system_by_user)
      by_user_ = std::move(system);
    else if (i > 0 || !tools.text.empty())
      turns.push_back({.role = ChatRole::system, .text = std::move(system)});
    if (i == 1 && !turns.empty()) turns.back().more = request.messages[0].more;
    return i;
  }

  bool writes(const ChatMessage& message) const {
    return writes_calls_ || !habits_.calls || (!message.text.empty() && !habits_.calls->beside_text);
  }

  void add(const ChatMessage& message) {
    if (message.role == ChatRole::system && how_ != Arrangement::as_it_is)
      return add_paragraph(by_user_, said_text(message));
    if (message.role == ChatRole::tool && !habits_.results) return results_.push_back(message.text);
    end_results();
    if (message.role != ChatRole::user) end_user();
    Turn turn{.role = message.role,
              .text = said_text(message),
              .reasoning = message.reasoning,
              .call_id = message.call_id,
              .more = message.more};
    if (!message.calls.empty() && writes(message))
      turn.text = with_calls(format_.calls, std::move(turn.text), message.calls);
    else
      turn.calls = message.calls;
    if (message.role == ChatRole::user && !by_user_.text.empty()) {
      add_paragraph(by_user_, turn.text);
      turn.text = std::exchange(by_user_, {});
    }
    turns.push_back(std::move(turn));
  }

  // Each call of message i with its result, of as many as there are calls; what comes beyond these stays behind them.
  // Returns the last message that this has taken.
  size_t add_one_by_one(const std::vector<ChatMessage>& messages, size_t i) {
    size_t last = i;
    while (last + 1 < messages.size() && messages[last + 1].role == ChatRole::tool &&
           last - i < messages[i].calls.size())
      ++last;
    std::vector<const ChatMessage*> results;
    for (size_t r = i + 1; r <= last; ++r) results.push_back(&messages[r]);
    ChatMessage one = messages[i];
    for (const ChatCall& call : messages[i].calls) {
      one.calls = {call};
      add(one);
      one.text.clear();
      one.reasoning.reset();
      auto result = std::find_if(results.begin(), results.end(), [&](const ChatMessage* m) {
        return m->call_id == call.id || m->call_id.empty() || call.id.empty();
      });
      if (result == results.end()) continue;
      add(**result);
      results.erase(result);
    }
    for (const ChatMessage* result : results) add(*result);
    return last;
  }

  void end_results() {
    if (results_.empty()) return;
    turns.push_back({.role = ChatRole::user, .text = results_text(format_.calls, results_)});
    results_.clear();
  }

  // What nobody has said yet is said by the user.
  void end_user() {
    end_results();
    if (by_user_.text.empty()) return;
    turns.push_back({.role = ChatRole::user, .text = std::exchange(by_user_, {})});
  }

  void join_neighbours() {
    std::vector<Turn> joined;
    for (Turn& turn : turns) {
      const bool same = !joined.empty() && joined.back().role == turn.role && joined.back().calls.empty() &&
                        (turn.role == ChatRole::user || turn.role == ChatRole::assistant);
      if (!same) {
        joined.push_back(std::move(turn));
        continue;
      }
      add_paragraph(joined.back().text, turn.text);
      joined.back().calls = std::move(turn.calls);
      if (turn.reasoning) joined.back().reasoning = joined.back().reasoning.value_or("") + *turn.reasoning;
      joined.back().more.update(turn.more);
    }
    turns = std::move(joined);
  }

  const TemplateHabits& habits_;
  const ReplyFormat& format_;
  Arrangement how_;
  bool writes_calls_;  // instead of the template
  AttributedText by_user_;
  std::vector<std::string> results_;
};

ChatWriter::ChatWriter(const ChatTemplate& chat_template, ReplyFormat format)
    : template_(chat_template),
      format_(format),
      habits_(TemplateHabits::of(chat_template, /*with_tools=*/false)),
      habits_with_tools_(TemplateHabits::of(chat_template, /*with_tools=*/true)) {}

const TemplateHabits& ChatWriter::habits_for(const ChatRequest& request) const {
  return habits_.tools && !request.tools.empty() ? habits_with_tools_ : habits_;
}

AttributedText ChatWriter::render(const ChatRequest& request, const std::vector<Turn>& turns,
                                  const Json& variables) const {
  Json all = variables;
  std::vector<ContentNote> notes(turns.size());
  Json& messages = all["messages"] = Json::array();
  for (size_t i = 0; i < turns.size(); ++i) messages.push_back(turns[i].json(habits_for(request), notes[i]));
  return request.continues_last ? template_.write_continued(all, notes) : template_.write(all, notes);
}

WrittenChat ChatWriter::write(const ChatRequest& said) const {
  CHECK(!said.messages.empty());
  ChatRequest request = said;
  order_results(request.messages);
  Json variables = request.variables;
  WrittenChat written{.text = {}, .reasoning_tokens = apply(request.thinking, habits_for(request), variables)};
  variables["add_generation_prompt"] = request.opens_answer;
  AttributedText tools;
  if (!request.tools.empty() && habits_.tools)
    variables["tools"] = request.tools;
  else if (!request.tools.empty())
    tools = tools_text(format_.calls, request.tools);

  const bool calls = std::any_of(request.messages.begin(), request.messages.end(),
                                 [](const ChatMessage& message) { return !message.calls.empty(); });
  std::optional<AttributedText> incomplete;
  std::optional<Error> refusal;
  for (const bool writes_calls : {false, true})
    for (const auto how :
         {Arrangement::as_it_is, Arrangement::later_system_by_user, Arrangement::joined, Arrangement::system_by_user})
      try {
        if (writes_calls && !calls) break;
        AttributedText text = render(request, Arranging(*this, request, tools, how, writes_calls).turns, variables);
        if (!tells_calls(text.text, request)) throw Error("the chat template leaves out calls of tools");
        if (tells_system(text.text, request, tools.text)) {
          written.text = std::move(text);
          return written;
        }
        if (!incomplete) incomplete = std::move(text);
      } catch (const Error& error) {
        if (!refusal) refusal = error;
      }
  if (!incomplete) throw *refusal;  // it changes what the system says, as it may
  written.text = std::move(*incomplete);
  return written;
}

}  // namespace cachalot
