#include "session/template_habits.h"

#include <algorithm>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/error.h"

namespace cachalot {
namespace {

using Json = nlohmann::ordered_json;

// Words that no template has of its own. Identifiers have the length that the strictest templates ask for.
constexpr const char *kTool = "probed_tool", *kKey = "probed_key", *kValue = "probed value",
                     *kOther = "another value", *kText = "probed text", *kResult = "probed result",
                     *kOffered = "offered_tool";

// Of one answer: what is asked is short, and there are some fifty questions.
constexpr jinja::Limits kLimits = {.steps = 500'000};

Json user() { return {{"role", "user"}, {"content", "A question."}}; }
Json assistant() { return {{"role", "assistant"}, {"content", "An answer."}}; }
Json result(const char* id) { return {{"role", "tool"}, {"tool_call_id", id}, {"content", kResult}}; }

Json definition(const char* name) {
  const Json parameters = {{"type", "object"},
                           {"properties", {{"key", {{"type", "string"}, {"description", "A key."}}}}},
                           {"required", Json::array({"key"})}};
  return {{"type", "function"},
          {"function", {{"name", name}, {"description", "Does something."}, {"parameters", parameters}}}};
}

Json call(const char* id, const char* value, bool objects) {
  const Json arguments = {{kKey, value}};
  return {{"id", id},
          {"type", "function"},
          {"function", {{"name", kTool}, {"arguments", objects ? arguments : Json(arguments.dump())}}}};
}

bool has(std::string_view text, std::string_view words) { return text.find(words) != text.npos; }

class Asking {
 public:
  Asking(const ChatTemplate& chat_template, bool with_tools) : template_(chat_template), with_tools_(with_tools) {}

  // What it writes; none when it refuses.
  std::optional<std::string> writes(const Json& messages, const Json& variables = Json::object()) const {
    Json all = variables;
    all["messages"] = messages;
    if (with_tools_) all["tools"] = Json::array({definition(kOffered)});
    // Only contents of calls are null, and those are meant.
    std::vector<ContentNote> notes;
    for (const Json& message : messages)
      notes.push_back({.said = {}, .null = message.contains("content") && message["content"].is_null()});
    try {
      return template_.write(all, notes, kLimits).text;
    } catch (const Error&) { return std::nullopt; }
  }

  bool tells(std::initializer_list<const char*> words, const Json& messages,
             const Json& variables = Json::object()) const {
    const auto text = writes(messages, variables);
    return text && std::all_of(words.begin(), words.end(), [&](const char* word) { return has(*text, word); });
  }

  std::optional<TemplateHabits::Calls> calls() const {
    using Content = TemplateHabits::Calls::Content;
    for (const Content content : {Content::absent, Content::empty, Content::null})
      for (const bool objects : {true, false}) {
        Json message = {{"role", "assistant"}};
        if (content != Content::absent) message["content"] = content == Content::null ? Json(nullptr) : Json("");
        message["tool_calls"] = Json::array({call("probe0001", kValue, objects)});
        if (!tells_call(message)) continue;
        TemplateHabits::Calls calls{.content = content, .objects = objects};
        message["tool_calls"].push_back(call("probe0002", kOther, objects));
        calls.several = tells_call(message) && tells({kOther}, {user(), message});
        message["content"] = kText;
        message["tool_calls"].erase(1);
        calls.beside_text = tells_call(message) && tells({kText}, {user(), message});
        return calls;
      }
    return std::nullopt;
  }

  bool results(const std::optional<TemplateHabits::Calls>& calls) const {
    Json message = assistant();
    if (calls) {
      message["tool_calls"] = Json::array({call("probe0001", kValue, calls->objects)});
      if (!calls->beside_text) {
        message.erase("content");
        if (calls->content != TemplateHabits::Calls::Content::absent)
          message["content"] = calls->content == TemplateHabits::Calls::Content::null ? Json(nullptr) : Json("");
      }
    }
    return tells({kResult}, {user(), message, result("probe0001")}) &&
           tells({kResult}, {user(), message, result("probe0001"), assistant(), user()});
  }

  bool switches_thinking() const {
    const auto with = [&](bool on) {
      return writes(Json::array({user()}), {{"enable_thinking", on}, {"thinking", on}});
    };
    return with(true) != with(false);
  }

  std::vector<Effort> efforts() const {
    std::vector<Effort> taken;
    std::vector<std::string> texts;
    for (const Effort effort : kEfforts)
      if (auto text = writes(Json::array({user()}), {{"reasoning_effort", name(effort)}})) {
        taken.push_back(effort);
        texts.push_back(std::move(*text));
      }
    const bool same = std::equal(texts.begin() + !texts.empty(), texts.end(), texts.begin());
    return same ? std::vector<Effort>() : taken;
  }

 private:
  // Names in single quotes are Python's way to print an object: the template wanted something else.
  bool tells_call(const Json& message) const {
    const auto text = writes({user(), message});
    return text && has(*text, kTool) && has(*text, kKey) && has(*text, kValue) &&
           !has(*text, "'" + std::string(kKey) + "'");
  }

  const ChatTemplate& template_;
  bool with_tools_;
};

}  // namespace

bool TemplateHabits::reads(Effort effort) const {
  return std::find(efforts.begin(), efforts.end(), effort) != efforts.end();
}

TemplateHabits TemplateHabits::of(const ChatTemplate& chat_template, bool with_tools) {
  const Asking asking(chat_template, with_tools);
  TemplateHabits habits;
  habits.tools = Asking(chat_template, /*with_tools=*/true).tells({kOffered}, Json::array({user()}));
  habits.calls = asking.calls();
  habits.results = asking.results(habits.calls);
  habits.switches_thinking = asking.switches_thinking();
  habits.efforts = asking.efforts();
  return habits;
}

}  // namespace cachalot
