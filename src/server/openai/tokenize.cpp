// POST /tokenize and /detokenize.
#include <algorithm>

#include "server/json_body.h"
#include "server/openai/messages.h"
#include "server/openai/openai.h"
#include "text/unicode.h"

namespace cachalot::openai {
namespace {

// What /tokenize may be asked: vLLM's fields, then llama.cpp's.
struct Tokenizing {
  explicit Tokenizing(const ServedModel& model) : chat(model) {}

  AskedChat chat;  // with messages, tools, chat_template_kwargs, …
  const Json* text = nullptr;
  bool from_llama = false;  // "content" instead of "prompt"
  std::optional<bool> add_special;
  bool special = true, strings = false, pieces = false;
};

constexpr std::string_view kChatFields[] = {
    "messages", "tools", "tool_choice", "add_generation_prompt", "continue_final_message", "reasoning"};
constexpr std::string_view kConversationFields[] = {"chat_template_kwargs", "documents", "enable_thinking",
                                                    "reasoning_effort",     "thinking",  "chat_template"};

bool is_among(std::span<const std::string_view> names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

void read_member(const std::string& name, const Value& value, Tokenizing& asked) {
  if (name == "model") return check_model(value.text(), asked.chat.model);
  if (name == "prompt" || name == "content") {
    value.text();
    if (asked.text) value.refuse("prompt and content exclude each other");
    asked.text = &value.json;
    asked.from_llama = name == "content";
  } else if (name == "add_special_tokens" || name == "add_special") {
    asked.add_special = value.flag();
  } else if (name == "parse_special") {
    asked.special = value.flag();
  } else if (name == "return_token_strs") {
    asked.strings = value.flag();
  } else if (name == "with_pieces") {
    asked.pieces = value.flag();
  } else if (is_among(kChatFields, name)) {
    find_field(chat_fields(), name)->take(value, asked.chat);
  } else if (is_among(kConversationFields, name)) {
    find_field(conversation_fields(), name)->take(value, asked.chat);
  } else {
    value.refuse("there is no such field");
  }
}

// llama.cpp adds no BOS unless it is asked to, vLLM adds it to a text.
std::vector<int> tokens_of(Tokenizing& asked) {
  if (asked.chat.messages) {
    if (asked.text) throw bad_field("messages", "and a text exclude each other");
    if (asked.add_special.value_or(false))
      throw bad_field("add_special_tokens", "the template writes them; only false is taken");
    read_conversation(asked.chat);
    return chat_prompt(asked.chat, /*to_answer=*/false).tokens;
  }
  if (!asked.text) throw bad_field("prompt", "is missing");
  const Tokenizer& tokenizer = asked.chat.model.text.tokenizer;
  const auto& text = asked.text->get_ref<const std::string&>();
  return asked.add_special.value_or(!asked.from_llama) ? tokenizer.encode_with_bos(text, asked.special)
                                                       : tokenizer.encode(text, asked.special);
}

// A part of a character comes as its bytes, as llama.cpp gives it.
Json piece(const Tokenizer& tokenizer, int id) {
  const std::string_view bytes = tokenizer.bytes(id);
  if (is_valid_utf8(bytes)) return std::string(bytes);
  Json numbers = Json::array();
  for (const char byte : bytes) numbers.push_back(static_cast<unsigned char>(byte));
  return numbers;
}

}  // namespace

void tokenize(http::Exchange& exchange, const ServedModel& model, RequestNotes& notes) {
  notes.model = model.id;
  const Json body = json_body(exchange.request());
  Tokenizing asked(model);
  for (const auto& [name, json] : body.items())
    if (!json.is_null()) read_member(name, Value{name, json}, asked);
  const std::vector<int> tokens = tokens_of(asked);
  notes.prompt_tokens = static_cast<int>(tokens.size());
  Json answer = {{"count", tokens.size()}, {"max_model_len", model.context}, {"tokens", Json(tokens)}};
  if (asked.strings) {
    Json& strings = answer["token_strs"] = Json::array();
    for (const int id : tokens) strings.push_back(model.text.tokenizer.piece(id));
  }
  if (asked.pieces) {
    Json& list = answer["tokens"] = Json::array();
    for (const int id : tokens) list.push_back({{"id", id}, {"piece", piece(model.text.tokenizer, id)}});
  }
  exchange.send({.body = dump(answer)});
}

void detokenize(http::Exchange& exchange, const ServedModel& model, RequestNotes& notes) {
  notes.model = model.id;
  const Json body = json_body(exchange.request());
  std::optional<std::vector<int>> tokens;
  for (const auto& [name, json] : body.items()) {
    if (json.is_null()) continue;
    const Value value{name, json};
    if (name == "model")
      check_model(value.text(), model);
    else if (name == "tokens")
      tokens = value.tokens(SIZE_MAX, model.vocab);
    else
      value.refuse("there is no such field");
  }
  if (!tokens) throw bad_field("tokens", "is missing");
  notes.prompt_tokens = static_cast<int>(tokens->size());
  const std::string text = model.text.tokenizer.decode(*tokens);
  exchange.send({.body = dump({{"prompt", text}, {"content", text}})});
}

}  // namespace cachalot::openai
