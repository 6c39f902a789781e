// POST /v1/responses, and /v1/responses/input_tokens.
#include <algorithm>

#include "server/dialect/follow.h"
#include "server/json_body.h"
#include "server/responses/input.h"
#include "server/responses/output.h"
#include "server/responses/response.h"
#include "server/responses/responses.h"

namespace cachalot::responses {
namespace {

ApiError no_response(const std::string& id) {
  return {400, "previous_response_id: Previous response with id '" + id + "' not found.",
          "previous_response_not_found", "previous_response_id"};
}

// The responses that this one goes on from, the first one first.
std::vector<std::shared_ptr<const KeptResponse>> earlier(ResponseStore& store, const Caller& caller, std::string id) {
  std::vector<std::shared_ptr<const KeptResponse>> all;
  while (!id.empty()) {
    all.push_back(store.find(caller.name, id));
    if (!all.back()) throw no_response(id);
    id = all.back()->previous;
  }
  std::ranges::reverse(all);
  return all;
}

// Finds the items that a request refers to, each of which may be a long one.
class References {
 public:
  References(ResponseStore& store, const Caller& caller) : store_(store), caller_(caller) {}

  Json operator()(const Value& id) {
    if (!store_.keeps()) id.refuse("this server keeps no responses, so no item can be referred to");
    const auto response = store_.with_item(caller_.name, id.text());
    if (!response) id.refuse("no response that is kept has put out such an item");
    const auto item = std::ranges::find(response->output, id.text(), &KeptItem::id);
    bytes_ += item->json.size();
    if (bytes_ > kMostBytes) id.refuse("together the items that are referred to are too long");
    return Json::parse(item->json);
  }

 private:
  static constexpr size_t kMostBytes = size_t{64} << 20;

  ResponseStore& store_;
  const Caller& caller_;
  size_t bytes_ = 0;
};

// What is asked as a conversation: what the system says first, what was said before, and what is said now. Returns
// the items of the last.
std::vector<Json> read_conversation(AskedResponse& asked, ResponseStore& store, const Caller& caller) {
  if (!asked.input) throw bad_field("input", "is missing");
  ItemReader reader(asked.tools, References(store, caller));
  if (!asked.instructions.value_or("").empty())
    reader.messages.push_back(
        {.role = ChatRole::system, .text = *asked.instructions, .reasoning = {}, .calls = {}, .call_id = {}});
  for (const auto& response : earlier(store, caller, asked.previous))
    for (const auto* items : {&response->input, &response->output})
      for (const KeptItem& item : *items) {
        const Json json = Json::parse(item.json);
        reader.add({"previous_response_id", json});
      }
  reader.add_input({"input", *asked.input});
  if (reader.messages.empty()) throw bad_field("input", "says nothing that could be answered");
  asked.chat.messages = std::move(reader.messages);
  if (asked.tells_of_tools) asked.chat.tools = asked.tools.for_template();
  return std::move(reader.items);
}

std::vector<KeptItem> kept_items(const Json& items) {
  std::vector<KeptItem> kept;
  for (const Json& item : items) kept.push_back({item["id"].get<std::string>(), dump(item)});
  return kept;
}

class ResponseTeller : public Teller {
 public:
  ResponseTeller(const AskedResponse& asked, std::vector<Json> input, ResponseStore& store, const Caller& caller)
      : asked_(asked), input_(std::move(input)), store_(store), caller_(caller), response_(new_response(asked)) {}

  // At once: agents wait for a sign of life, and the prompt may take a while.
  void begin(EventStream& events) override {
    output_.emplace(asked_, [&](std::string_view type, Json event) { add(type, std::move(event), events); });
    add("response.created", {{"response", response_}}, events);
    add("response.in_progress", {{"response", response_}}, events);
  }

  void tell(const RunNews& news, const Runs&, EventStream&) override { take(news.news); }

  void end(const Runs& runs, EventStream& events) override {
    finish(runs);
    add(length_ ? "response.incomplete" : "response.completed", {{"response", response_}}, events);
    events.add("[DONE]");
  }

  // The error in both shapes that clients look for: flat, as OpenAI documents it, and as an object.
  void fail(const ApiError& error, EventStream& events) override {
    Json event = {{"code", nullptr}, {"message", error.message}, {"param", nullptr}};
    event["error"] = Json::parse(openai_error(error).body)["error"];
    event["code"] = event["error"]["code"];
    add("error", std::move(event), events);
    fail_response(response_, output_->items(), error);
    add("response.failed", {{"response", response_}}, events);
    events.add("[DONE]");
  }

  // One by one, as in a stream: what is told of a token belongs to the text that comes with it.
  void hear(const RunNews& news) override {
    if (!output_) output_.emplace(asked_, nullptr);
    take(news.news);
  }

  std::string whole(std::vector<RunNews>, const Runs& runs) override {
    finish(runs);
    return dump(response_);
  }

 private:
  void add(std::string_view type, Json event, EventStream& events) {
    events.add(type, dump(with({{"type", type}, {"sequence_number", events_++}}, std::move(event))));
  }

  void take(const ReplyNews& news) {
    output_->add(news);
    if (!news.end) return;
    length_ = finish_reason(*news.end) == "length";
    output_->finish(!length_);
  }

  void finish(const Runs& runs) {
    end_response(response_, output_->items(), runs.usage(), length_);
    if (!*asked_.store) return;
    Json head = response_;
    head["output"] = Json::array();
    response_["store"] = store_.keep({.id = response_["id"],
                                      .caller = caller_.name,
                                      .previous = asked_.previous,
                                      .json = dump(head),
                                      .input = kept_items(input_),
                                      .output = kept_items(response_["output"])});
  }

  const AskedResponse& asked_;
  const std::vector<Json> input_;
  ResponseStore& store_;
  const Caller& caller_;
  Json response_;
  std::optional<Output> output_;
  int events_ = 0;
  bool length_ = false;  // the answer may not be longer
};

}  // namespace

void create(http::Exchange& exchange, const ServedModel& model, Generator& generator, ResponseStore& store,
            const Caller& caller, RequestNotes& notes) {
  notes.model = model.id;
  const Json body = json_body(exchange.request());
  AskedResponse asked = read_response(body, model, store.keeps());
  std::vector<Json> input = read_conversation(asked, store, caller);
  const Prompt prompt = chat_prompt(asked);
  std::vector<Run> runs;
  runs.push_back(run_of(asked, prompt, caller));
  ResponseTeller teller(asked, std::move(input), store, caller);
  follow(exchange, asked.stream, std::move(runs), generator, teller, notes);
}

void count_input(http::Exchange& exchange, const ServedModel& model, ResponseStore& store, const Caller& caller,
                 RequestNotes& notes) {
  notes.model = model.id;
  const Json body = json_body(exchange.request());
  AskedResponse asked = read_response(body, model, store.keeps());
  read_conversation(asked, store, caller);
  const auto tokens = std::ssize(chat_prompt(asked).tokens);
  exchange.send({.body = dump({{"object", "response.input_tokens"}, {"input_tokens", tokens}})});
}

}  // namespace cachalot::responses
