// The fields of /v1/responses.
#include "server/responses/fields.h"

#include <fmt/format.h>

#include <climits>

#include "base/quote.h"

namespace cachalot::responses {
namespace {

using enum Use;

void read_input(const Value& value, AskedResponse& asked) { asked.input = &value.json; }

void read_instructions(const Value& value, AskedResponse& asked) { asked.instructions = value.text(); }

void read_previous(const Value& value, AskedResponse& asked) { asked.previous = value.text(); }

void read_store(const Value& value, AskedResponse& asked) { asked.store = value.flag(); }

void read_max_output_tokens(const Value& value, AskedResponse& asked) {
  asked.limit(static_cast<int>(value.integer(1, INT_MAX)));
}

void read_max_tool_calls(const Value& value, AskedResponse& asked) {
  asked.max_tool_calls = value.integer(1, INT_MAX);
}

void read_top_logprobs(const Value& value, AskedResponse& asked) {
  asked.logprobs = static_cast<int>(value.integer(0, kMostLikeliest));
}

// What else may be included is of tools that run elsewhere, and of images: an answer here has none of it.
void read_include(const Value& value, AskedResponse& asked) {
  for (const Value& wish : value.list(64)) {
    const std::string& name = wish.text();
    if (name == "reasoning.encrypted_content")
      asked.tells_sealed_reasoning = true;
    else if (name == "message.output_text.logprobs")
      asked.tells_logprobs = true;
    else if (name != "file_search_call.results" && name != "web_search_call.results" &&
             name != "web_search_call.action.sources" && name != "message.input_image.image_url" &&
             name != "computer_call_output.output.image_url" && name != "code_interpreter_call.outputs")
      wish.refuse(fmt::format("there is no {} to include", quote(name)));
  }
}

void read_tools(const Value& value, AskedResponse& asked) { asked.tools.read(value); }

void read_tool_choice(const Value& value, AskedResponse& asked) {
  if (value.json == "none")
    asked.tells_of_tools = false;
  else if (value.json != "auto")
    value.refuse("only \"none\" and \"auto\" are taken; a model cannot be made to call a tool yet");
}

void check_one_of(const Value& value, std::initializer_list<std::string_view> known) {
  for (const std::string_view one : known)
    if (value.json == one) return;
  value.expect(known.size() == 1 ? fmt::format("\"{}\"", *known.begin())
                                 : fmt::format("\"{}\"", fmt::join(known, "\", \"")));
}

void read_reasoning(const Value& value, AskedResponse& asked) {
  for (const auto& [name, json] : value.object().items()) {
    if (json.is_null()) continue;
    const Value wish{"reasoning." + name, json};
    if (name == "effort") {
      read_reasoning_effort(wish, asked);
    } else if (name == "summary" || name == "generate_summary") {
      check_one_of(wish, {"auto", "concise", "detailed"});
      asked.summary = json;
    } else if (name == "context") {
      check_one_of(wish, {"auto"});
    } else if (name == "mode") {
      check_one_of(wish, {"standard"});
    } else {
      wish.refuse("there is no such wish");
    }
  }
}

void read_text(const Value& value, AskedResponse& asked) {
  for (const auto& [name, json] : value.object().items()) {
    if (json.is_null()) continue;
    const Value wish{"text." + name, json};
    if (name == "verbosity") {
      check_one_of(wish, {"low", "medium", "high"});
      asked.verbosity = json;
      asked.chat.variables["verbosity"] = json;
    } else if (name != "format") {
      wish.refuse("there is no such wish");
    } else if (wish.member("type").text() != "text") {
      wish.refuse("only {\"type\": \"text\"} is taken; answers of a given form are not there yet");
    }
  }
}

void read_metadata(const Value& value, AskedResponse& asked) {
  constexpr size_t kMost = 16, kLongestName = 64, kLongestText = 512;
  if (value.object().size() > kMost)
    value.refuse(fmt::format("has {} notes; at most {} are taken", value.json.size(), kMost));
  for (const auto& [name, json] : value.json.items()) {
    const Value note{fmt::format("metadata[{}]", quote(name, 40)), json};
    if (name.size() > kLongestName)
      note.refuse(fmt::format("its name has {} bytes; at most {} are taken", name.size(), kLongestName));
    if (note.text().size() > kLongestText)
      note.refuse(fmt::format("has {} bytes; at most {} are taken", note.text().size(), kLongestText));
  }
  asked.metadata = value.json;
}

void check_stream_options(const Value& value, AskedResponse&) {
  for (const auto& [name, json] : value.object().items()) {
    const Value option{"stream_options." + name, json};
    if (name != "include_obfuscation") option.refuse("there is no such option");
    if (!json.is_null()) option.flag();  // padding against those who see the sizes of packets
  }
}

void check_cache_options(const Value& value, AskedResponse&) {
  if (const Json* prewarm = find(value.object(), "prewarm"))
    if (const Value wish{"prompt_cache_options.prewarm", *prewarm}; wish.flag())
      wish.refuse("a request makes an answer; max_output_tokens 1 does nearly the same");
}

constexpr Field<AskedResponse> kResponse[] = {
    {"input", honoured, "a text, or a list of items; see below", R"(["Hi", [{"role": "user", "content": "Hi"}]])",
     R"([5, {}, [], [5], [{"content": "no role"}], [{"role": "user"}], [{"role": "king", "content": "x"}],
         [{"type": "nothing"}]])",
     read_input},
    {"instructions", honoured, "what the system says before all else; not carried over by `previous_response_id`",
     R"(["Be brief."])", R"([5, ["Be brief."]])", read_instructions},
    {"previous_response_id", honoured,
     "a response that is kept: its input and output come before `input`, and those of the one that it goes on from",
     R"([])", R"([5, "resp_nothing"])", read_previous},
    {"store", honoured, "whether the response is kept for a while; true unless the server keeps none",
     R"([true, false])", R"([1])", read_store},
    {"max_output_tokens", honoured, "the most tokens of the answer, reasoning included", R"([1, 100])",
     R"([0, -1, "5"])", read_max_output_tokens},
    {"top_logprobs", honoured,
     "0 to 20 of the likeliest tokens beside each of a text; without `include` more than 0 asks for them, too",
     R"([0, 5])", R"([-1, 21, true])", read_top_logprobs},
    {"include", honoured,
     "`reasoning.encrypted_content`, `message.output_text.logprobs`; further names are taken that ask for what an "
     "answer here never has",
     R"([[], ["reasoning.encrypted_content", "message.output_text.logprobs", "file_search_call.results"]])",
     R"(["x", ["everything"], [5]])", read_include},
    {"tools", honoured,
     "a list of up to 128 functions, `custom` tools and `namespace`s of as many, 1,024 functions in all; tools that "
     "would run elsewhere are "
     "passed "
     "over; see below",
     R"([[], [{"type": "function", "name": "get.weather-2", "parameters": {"type": "object"}, "strict": true}],
         [{"type": "web_search"}, {"type": "local_shell"}], [{"type": "custom", "name": "patch"}],
         [{"type": "custom", "name": "patch", "format": {"type": "grammar", "syntax": "lark", "definition": "x"}}],
         [{"type": "namespace", "name": "n", "description": "d", "tools": [{"type": "function", "name": "f"}]}]])",
     R"([{}, [5], [{"name": "f"}], [{"type": "function"}], [{"type": "function", "name": "a b"}],
         [{"type": "function", "function": {"name": "f"}}], [{"type": "hammer", "name": "f"}],
         [{"type": "function", "name": "f", "parameters": []}], [{"type": "namespace", "name": "n"}],
         [{"type": "function", "name": "f"}, {"type": "custom", "name": "f"}],
         [{"type": "custom", "name": "f", "format": {"type": "verse"}}],
         [{"type": "namespace", "name": "n", "tools": [{"type": "web_search"}]}]])",
     read_tools},
    {"tool_choice", honoured, "\"none\": the template is not told of the tools; \"auto\": it is; others are refused",
     R"(["none", "auto"])",
     R"(["required", {"type": "function", "name": "f"}, {"type": "web_search"},
         {"type": "allowed_tools", "mode": "auto", "tools": []}])",
     read_tool_choice},
    {"reasoning", honoured,
     "an object: `effort` as `reasoning_effort`; `summary` and `generate_summary` are without effect, as reasoning "
     "is "
     "told itself; `context` may be \"auto\", `mode` \"standard\"",
     R"([{}, {"effort": "low", "summary": "auto"}, {"generate_summary": "concise"}, {"effort": null},
         {"context": "auto", "mode": "standard"}])",
     R"([5, "low", {"effort": "huge"}, {"summary": "long"}, {"context": "all_turns"}, {"mode": "pro"}, {"more": 1}])",
     read_reasoning},
    {"text", honoured,
     "an object: `format` may be {\"type\": \"text\"}, as answers of a given form are not there yet; `verbosity` is "
     "a "
     "variable for the template, which decides what it does",
     R"([{}, {"format": {"type": "text"}, "verbosity": "low"}])",
     R"([5, {"format": {"type": "json_object"}}, {"format": {"type": "json_schema", "name": "x", "schema": {}}},
         {"verbosity": "chatty"}, {"more": 1}])",
     read_text},
    {"metadata", honoured, "up to 16 texts with names, which come back with the response", R"([{}, {"a": "b"}])",
     R"([5, {"a": 5}])", read_metadata},

    {"max_tool_calls", without_effect, "counts calls of tools that run here; none does", R"([1, 5])", R"([0, "5"])",
     read_max_tool_calls},
    {"stream_options", without_effect, "`include_obfuscation` is padding", R"([{"include_obfuscation": false}])",
     R"([5, {"include_obfuscation": 1}, {"more": true}])", check_stream_options},
    {"client_metadata", without_effect, "notes of the client's for its own server", R"([{"a": "b"}])", R"([5])",
     check_object},
    {"image", without_effect, "says how images are packed; the models here read text",
     R"([{"context_compression": "auto"}])", R"([5])", check_object},
    {"prompt_cache_options", without_effect,
     "the cache keeps what was used last; `prewarm` true is refused, as a request makes an answer",
     R"([{"mode": "implicit", "ttl": "30m"}, {"prewarm": false}])", R"([5, {"prewarm": true}, {"prewarm": "x"}])",
     check_cache_options},

    {"truncation", refused, "a prompt is never cut; it is refused when it is too long; only \"disabled\" is taken",
     R"(["disabled"])", R"(["auto"])"},
    {"background", refused, "a response is made while its client waits; only false is taken", R"([false])",
     R"([true])"},
    {"background_options", refused, "nothing runs in the background", R"([{}])", R"([{"completion_window": "2h"}])"},
    {"conversation", refused, "there are no conversations beside those of `previous_response_id`", R"([])",
     R"(["conv_1", {"id": "conv_1"}])"},
    {"prompt", refused, "no prompts are kept here", R"([])", R"([{"id": "pmpt_1"}])"},
    {"context_management", refused, "conversations are not made shorter here; only an empty list is taken", R"([[]])",
     R"([[{"type": "compaction", "compact_threshold": 1000}]])"},
    {"moderation", refused, "nobody judges what is said", R"([])", R"([{"model": "x"}])"},
    {"access_programs", refused, "there are none here", R"([{}])", R"([{"cyber": "standard"}])"},
    {"service_tier", refused, "all requests are served alike; only \"auto\" and \"default\" are taken",
     R"(["auto", "default"])", R"(["flex", "priority"])"},
    {"messages", refused, "a conversation is asked by `input` here (see /v1/chat/completions)", R"([])",
     R"([[{"role": "user", "content": "Hi"}]])"},
    {"max_tokens", refused, "its name here is `max_output_tokens`", R"([])", R"([5])"},
    {"max_completion_tokens", refused, "its name here is `max_output_tokens`", R"([])", R"([5])"},
    {"n", refused, "a response is one answer; only 1 is taken", R"([1])", R"([2])"},
};

}  // namespace

std::span<const Field<AskedResponse>> response_fields() { return kResponse; }

AskedResponse read_response(const Json& body, const ServedModel& model, bool keeps) {
  AskedResponse asked(model);
  read_fields(body, asked, response_fields(), sampling_fields(), conversation_fields());
  if (!keeps && asked.store.value_or(false)) throw bad_field("store", "this server keeps no responses");
  if (!keeps && !asked.previous.empty()) throw bad_field("previous_response_id", "this server keeps no responses");
  asked.store = asked.store.value_or(keeps);
  if (asked.max_tokens && asked.text.min_tokens > *asked.max_tokens)
    throw bad_field("min_tokens", fmt::format("is {}, which is more than the {} tokens that the answer may have",
                                              asked.text.min_tokens, *asked.max_tokens));
  if (asked.logprobs.value_or(0) > 0) asked.tells_logprobs = true;
  if (asked.tells_logprobs)
    asked.logprobs = asked.logprobs.value_or(0);
  else
    asked.logprobs.reset();
  const auto given = [&](const char* name) { return find(body, name) ? body[name] : Json(nullptr); };
  asked.user = given("user");
  asked.safety_identifier = given("safety_identifier");
  asked.prompt_cache_key = given("prompt_cache_key");
  return asked;
}

}  // namespace cachalot::responses
