#include "server/responses/output.h"

#include <fmt/format.h>

#include "server/dialect/follow.h"
#include "server/dialect/logprobs.h"
#include "server/dialect/reasoning.h"

namespace cachalot::responses {

using Kind = ReplyPart::Kind;

// With what was told of tokens beside the last text that they may belong to.
void Output::add(const ReplyNews& news) {
  const ReplyPart* last = nullptr;
  for (const ReplyPart& part : news.parts)
    if (part.kind == Kind::content) last = &part;
  for (const ReplyPart& part : news.parts) {
    if (part.kind == Kind::call) {
      call(part);
      continue;
    }
    if (open_ && open_->kind != part.kind) close("completed");
    if (!open_) open(part.kind);
    say(part.text, &part == last ? logprobs(news) : Json::array());
  }
}

// An answer that says nothing says an empty text.
void Output::finish(bool by_itself) {
  if (items_.empty() && !open_) open(Kind::content);
  if (open_) close(by_itself ? "completed" : "incomplete");
}

void Output::tell(std::string_view type, Json event) const {
  tell_(type, with({{"output_index", items_.size()}}, std::move(event)));
}

// Of the one part that an item of text has.
void Output::tell_part(std::string_view type, Json event) const {
  tell_(type,
        with({{"item_id", open_->id}, {"output_index", items_.size()}, {"content_index", 0}}, std::move(event)));
}

void Output::open(Kind kind) {
  open_ = Open{kind, (kind == Kind::content ? "msg_" : "rs_") + random_id(), ""};
  if (!tell_) return;
  tell("response.output_item.added", {{"item", item("in_progress", Json::array())}});
  tell_part("response.content_part.added", {{"part", part("", Json::array())}});
}

void Output::say(const std::string& text, Json logprobs) {
  open_->text += text;
  for (const Json& entry : logprobs) open_->logprobs.push_back(entry);
  if (!tell_) return;
  Json event = {{"delta", text}};
  if (open_->kind == Kind::content) event["logprobs"] = std::move(logprobs);
  tell_part(open_->kind == Kind::content ? "response.output_text.delta" : "response.reasoning_text.delta",
            std::move(event));
}

void Output::close(std::string_view status) {
  const bool content = open_->kind == Kind::content;
  const Json whole = part(open_->text, open_->logprobs);
  Json done = item(status, Json::array({whole}));
  if (tell_) {
    Json event = {{"text", open_->text}};
    if (content) event["logprobs"] = open_->logprobs;
    tell_part(content ? "response.output_text.done" : "response.reasoning_text.done", std::move(event));
    tell_part("response.content_part.done", {{"part", whole}});
    tell("response.output_item.done", {{"item", done}});
  }
  items_.push_back(std::move(done));
  open_.reset();
}

// A call is known when it is whole.
void Output::call(const ReplyPart& part) {
  if (open_) close("completed");
  const OfferedTool* tool = asked_.tools.known_as(part.name);
  const bool custom = tool && tool->custom;
  Json item = {{"id", (custom ? "ctc_" : "fc_") + random_id()},
               {"type", custom ? "custom_tool_call" : "function_call"},
               {"status", "in_progress"},
               {"call_id", "call_" + random_id()},
               {"name", tool ? tool->name : part.name}};
  if (tool && !tool->space.empty()) item["namespace"] = tool->space;
  if (custom)
    add_whole(std::move(item), "input", "response.custom_tool_call_input", custom_input(part.text));
  else
    add_whole(std::move(item), "arguments", "response.function_call_arguments", part.text);
}

// An item whose field of that name is a text that comes at once.
void Output::add_whole(Json item, std::string_view field, std::string_view events, const std::string& text) {
  const std::string name(field);
  item[name] = "";
  Json done = item;
  done["status"] = "completed";
  done[name] = text;
  if (tell_) {
    const Json& id = item["id"];
    tell("response.output_item.added", {{"item", item}});
    tell(fmt::format("{}.delta", events), {{"item_id", id}, {"delta", text}});
    tell(fmt::format("{}.done", events), {{"item_id", id}, {"name", item["name"]}, {name, text}});
    tell("response.output_item.done", {{"item", done}});
  }
  items_.push_back(std::move(done));
}

Json Output::item(std::string_view status, Json content) const {
  if (open_->kind == Kind::content)
    return {{"id", open_->id},
            {"type", "message"},
            {"status", status},
            {"role", "assistant"},
            {"content", std::move(content)}};
  Json reasoning = {{"id", open_->id},
                    {"type", "reasoning"},
                    {"status", status},
                    {"summary", Json::array()},
                    {"content", std::move(content)}};
  if (asked_.tells_sealed_reasoning && status != "in_progress") reasoning["encrypted_content"] = sealed(open_->text);
  return reasoning;
}

Json Output::part(const std::string& text, const Json& logprobs) const {
  if (open_->kind == Kind::reasoning) return {{"type", "reasoning_text"}, {"text", text}};
  return {{"type", "output_text"}, {"text", text}, {"annotations", Json::array()}, {"logprobs", logprobs}};
}

Json Output::logprobs(const ReplyNews& news) const {
  Json all = Json::array();
  if (asked_.tells_logprobs)
    for (const ReplyToken& token : news.tokens)
      if (!token.reasoning) all.push_back(chat_logprob(asked_.model.text.tokenizer, token.logprobs));
  return all;
}

}  // namespace cachalot::responses
