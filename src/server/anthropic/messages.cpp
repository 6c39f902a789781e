// POST /v1/messages and /v1/messages/count_tokens.
#include <optional>
#include <utility>

#include "server/anthropic/anthropic.h"
#include "server/anthropic/fields.h"
#include "server/dialect/follow.h"
#include "server/dialect/reasoning.h"
#include "server/json_body.h"

namespace cachalot::anthropic {
namespace {

using Kind = ReplyPart::Kind;

// The answer as blocks: thinking, texts and calls, in the order in which the model wrote them.
class MessageTeller : public Teller {
 public:
  explicit MessageTeller(const AskedMessage& asked) : asked_(asked) {}

  // -- A stream

  void begun(const Runs& runs, EventStream& events) override {
    Json message = envelope();
    message["usage"] = usage(runs);
    add({{"type", "message_start"}, {"message", std::move(message)}}, events);
  }

  void tell(const RunNews& news, const Runs&, EventStream& events) override {
    for (const ReplyPart& part : news.news.parts) tell_part(part, events);
    if (!news.news.end) return;
    close(events);
    end_ = *news.news.end;
  }

  void still_at_work(EventStream& events) override { add({{"type", "ping"}}, events); }

  void end(const Runs& runs, EventStream& events) override {
    Json message = ending(runs.usage().completion_tokens);
    add({{"type", "message_delta"}, {"delta", std::move(message)}, {"usage", usage(runs)}}, events);
    add({{"type", "message_stop"}}, events);
  }

  void fail(const ApiError& error, EventStream& events) override { events.add("error", error_response(error).body); }

  // -- At once

  std::string whole(std::vector<RunNews> all, const Runs& runs) override {
    const ReplyNews& news = all.at(0).news;
    Json message = envelope();
    for (const ReplyPart& part : news.parts) {
      message["content"].push_back(beginning(part));
      Json& block = message["content"].back();
      if (part.kind == Kind::content) block["text"] = part.text;
      if (part.kind == Kind::call) block["input"] = Json::parse(part.text);
      if (part.kind != Kind::reasoning) continue;
      if (asked_.tells_thinking) block["thinking"] = part.text;
      block["signature"] = signature(part.text);
    }
    end_ = *news.end;
    message.update(ending(runs.usage().completion_tokens));
    message["usage"] = usage(runs);
    return dump(message);
  }

 private:
  static void add(const Json& event, EventStream& events) {
    events.add(event["type"].get_ref<const std::string&>(), dump(event));
  }

  Json envelope() const {
    return {{"id", "msg_" + random_id()}, {"type", "message"},        {"role", "assistant"},
            {"model", asked_.model.id},   {"content", Json::array()}, {"stop_reason", nullptr},
            {"stop_sequence", nullptr}};
  }

  // Nothing is paid for what goes into the cache, so no token is counted there.
  static Json usage(const Runs& runs) {
    const ReplyUsage usage = runs.usage();
    const int cached = runs.prefix() ? runs.prefix()->cached_tokens : usage.cached_tokens;
    return {{"input_tokens", usage.prompt_tokens - cached},
            {"cache_creation_input_tokens", 0},
            {"cache_read_input_tokens", cached},
            {"output_tokens", usage.completion_tokens},
            {"output_tokens_details", {{"thinking_tokens", usage.reasoning_tokens}}}};
  }

  // A block as it is before anything is said in it.
  Json beginning(const ReplyPart& part) {
    switch (part.kind) {
      case Kind::reasoning: return {{"type", "thinking"}, {"thinking", ""}, {"signature", ""}};
      case Kind::content: return {{"type", "text"}, {"text", ""}};
      case Kind::call: break;
    }
    ++calls_;
    return {{"type", "tool_use"}, {"id", "toolu_" + random_id()}, {"name", part.name}, {"input", Json::object()}};
  }

  // Clients send it back with the thinking. It says something only where that was not shown.
  std::string signature(std::string_view thinking) const { return sealed(asked_.tells_thinking ? "" : thinking); }

  void tell_part(const ReplyPart& part, EventStream& events) {
    if (open_ != part.kind || part.kind == Kind::call) {
      close(events);
      add({{"type", "content_block_start"}, {"index", blocks_}, {"content_block", beginning(part)}}, events);
      open_ = part.kind;
    }
    if (part.kind == Kind::content) {
      add_delta({{"type", "text_delta"}, {"text", part.text}}, events);
    } else if (part.kind == Kind::call) {
      add_delta({{"type", "input_json_delta"}, {"partial_json", part.text}}, events);
      close(events);
    } else if (asked_.tells_thinking) {
      add_delta({{"type", "thinking_delta"}, {"thinking", part.text}}, events);
    } else {
      thinking_ += part.text;
    }
  }

  void close(EventStream& events) {
    if (!open_) return;
    if (*open_ == Kind::reasoning)
      add_delta({{"type", "signature_delta"}, {"signature", signature(std::exchange(thinking_, {}))}}, events);
    add({{"type", "content_block_stop"}, {"index", blocks_++}}, events);
    open_.reset();
  }

  void add_delta(Json delta, EventStream& events) const {
    add({{"type", "content_block_delta"}, {"index", blocks_}, {"delta", std::move(delta)}}, events);
  }

  // Of an answer of so many tokens.
  Json ending(int tokens) const {
    const bool stopped = !end_->stop_text.empty();
    const bool length = finish_reason(*end_) == "length";
    const bool context_full = length && asked_.max_tokens && tokens < *asked_.max_tokens;
    const char* reason = stopped        ? "stop_sequence"
                         : context_full ? "model_context_window_exceeded"
                         : length       ? "max_tokens"
                         : calls_ > 0   ? "tool_use"
                                        : "end_turn";
    return {{"stop_reason", reason}, {"stop_sequence", stopped ? Json(end_->stop_text) : Json()}};
  }

  const AskedMessage& asked_;
  int calls_ = 0;
  int blocks_ = 0;            // that have ended
  std::optional<Kind> open_;  // the block that is being told
  std::string thinking_;      // of the open block, that is not shown
  std::optional<ReplyEnd> end_;
};

}  // namespace

void messages(http::Exchange& exchange, const ServedModel& model, Generator& generator, const Caller& caller,
              RequestNotes& notes) {
  notes.model = model.id;
  const Json body = json_body(exchange.request());
  AskedMessage asked = read_message(body, model);
  if (!asked.max_tokens) throw bad_field("max_tokens", "is missing");
  read_conversation(asked);
  std::vector<Run> runs;
  runs.push_back(run_of(asked, chat_prompt(asked), caller));
  MessageTeller teller(asked);
  follow(exchange, asked.stream, std::move(runs), generator, teller, notes);
}

void count_tokens(http::Exchange& exchange, const ServedModel& model, RequestNotes& notes) {
  notes.model = model.id;
  const Json body = json_body(exchange.request());
  AskedMessage asked = read_message(body, model);
  read_conversation(asked);
  notes.prompt_tokens = static_cast<int>(chat_prompt(asked, /*to_answer=*/false).tokens.size());
  exchange.send({.body = dump({{"input_tokens", notes.prompt_tokens}})});
}

}  // namespace cachalot::anthropic
