#include "load/reply_format.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "text/chat/calls/call_reader.h"
#include "text/chat/reply_parser.h"

namespace cachalot {
namespace {

using Json = nlohmann::ordered_json;

const Json kArguments = {{"city", "Oslo"}, {"days", 3}};
const Json kTools = {{{"type", "function"},
                      {"function",
                       {{"name", "weather"},
                        {"description", "The weather to come"},
                        {"parameters",
                         {{"type", "object"},
                          {"properties", {{"city", {{"type", "string"}}}, {"days", {{"type", "integer"}}}}},
                          {"required", {"city", "days"}}}}}}}};

// What the template writes for this answer to a question; "" when it does not.
std::string rendered(const ChatTemplate& chat_template, const Json& answer) {
  try {
    return chat_template.render({{"messages", {{{"role", "user"}, {"content", "?"}}, answer}},
                                 {"tools", kTools},
                                 {"add_generation_prompt", false}});
  } catch (const std::exception&) { return ""; }
}

// The text of an answer that is a call, as the template writes it: what stands where another answer would have its
// text. Templates want arguments as an object, or as its text.
std::string written_call(const ChatTemplate& chat_template, const Json& arguments) {
  const std::string plain = rendered(chat_template, {{"role", "assistant"}, {"content", "x"}}),
                    call = rendered(chat_template,
                                    {{"role", "assistant"},
                                     {"content", ""},
                                     {"tool_calls",
                                      {{{"id", "call00001"},
                                        {"type", "function"},
                                        {"function", {{"name", "weather"}, {"arguments", arguments}}}}}}});
  const auto begin = std::mismatch(call.begin(), call.end(), plain.begin(), plain.end()).first;
  const auto rest = static_cast<size_t>(call.end() - begin);
  const auto end =
      std::mismatch(call.rbegin(), call.rbegin() + static_cast<std::ptrdiff_t>(rest), plain.rbegin(), plain.rend())
          .first.base();
  return {begin, end};
}

bool reads(CallForm form, const std::string& written) {
  ReplyParser parser({.format = {.calls = form}, .tools = std::make_shared<const Tools>(kTools)});
  ReplyParts parts = parser.push(written);
  append(parts, parser.finish());
  return parts.size() == 1 && parts[0].kind == ReplyPart::Kind::call && parts[0].name == "weather" &&
         Json::parse(parts[0].text) == kArguments;
}

// With reasoning, which most templates drop, and without, where some close what was never opened.
std::string_view written_end(const ReplyFormats& family, const ChatTemplate& chat_template) {
  const std::string answer = "The answer.";
  const std::string with_reasoning = rendered(
                        chat_template, {{"role", "assistant"}, {"content", answer}, {"reasoning_content", "So"}}),
                    plain = rendered(chat_template, {{"role", "assistant"}, {"content", answer}});
  for (const std::string_view end : family.reasoning_ends)
    for (const std::string& text : {with_reasoning, plain})
      if (text.find(std::string(end) + answer) != text.npos) return end;
  return family.reasoning_ends.front();
}

}  // namespace

ReplyFormat reply_format(const ReplyFormats& family, const std::optional<ChatTemplate>& chat_template) {
  ReplyFormat format;
  if (!family.reasoning_ends.empty())
    format.reasoning_end = chat_template ? written_end(family, *chat_template) : family.reasoning_ends.front();
  if (family.calls.empty()) return format;
  format.calls = family.calls[0];
  if (!chat_template || family.calls.size() == 1) return format;
  const std::string with_object = written_call(*chat_template, kArguments),
                    with_text = written_call(*chat_template, kArguments.dump());
  const auto writes = [&](CallForm form) { return reads(form, with_object) || reads(form, with_text); };
  const auto mentions = [&](CallForm form) {
    const auto& begins = call_syntax(form).begins;
    return std::any_of(begins.begin(), begins.end(),
                       [&](std::string_view tag) { return chat_template->mentions(tag); });
  };
  auto found = std::find_if(family.calls.begin(), family.calls.end(), writes);
  if (found == family.calls.end()) found = std::find_if(family.calls.begin(), family.calls.end(), mentions);
  if (found != family.calls.end()) format.calls = *found;
  return format;
}

}  // namespace cachalot
