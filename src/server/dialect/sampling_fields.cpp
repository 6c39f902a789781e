// What every endpoint that makes an answer knows: how tokens are chosen, what ends it, what the cache does.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/quote.h"
#include "server/dialect/fields.h"

namespace cachalot::dialect {
namespace {

using Range = SamplingParams::Range;

template <double SamplingParams::* param, const Range& range>
void read_number(const Value& value, Asked& asked) {
  asked.sampling.*param = value.number(range.low, range.high);
}

void read_model(const Value& value, Asked& asked) { check_model(value.text(), asked.model); }

void read_top_k(const Value& value, Asked& asked) {
  asked.sampling.top_k = static_cast<int>(std::max<int64_t>(0, value.integer(-1, 1 << 30)));
}

void read_seed(const Value& value, Asked& asked) { asked.seed = value.seed(); }

void read_min_tokens(const Value& value, Asked& asked) {
  asked.text.min_tokens = static_cast<int>(value.integer(0, asked.model.context));
}

void read_stop_tokens(const Value& value, Asked& asked) {
  asked.stop_tokens = value.tokens(kMostStopTokens, asked.model.vocab);
}

void read_allowed_tokens(const Value& value, Asked& asked) {
  asked.allowed_tokens = value.tokens(static_cast<size_t>(asked.model.vocab), asked.model.vocab);
  if (asked.allowed_tokens->empty()) value.refuse("is empty, so nothing could be answered");
}

void read_logit_bias(const Value& value, Asked& asked) {
  const Json& biases = value.object();
  if (biases.size() > kMostBiases)
    value.refuse(fmt::format("has {} entries; at most {} are taken", biases.size(), kMostBiases));
  for (const auto& [key, json] : biases.items()) {
    const Value bias{fmt::format("logit_bias[{}]", quote(key, 40)), json};
    unsigned token = 0;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), token);
    if (error != std::errc() || end != key.data() + key.size() || token >= static_cast<unsigned>(asked.model.vocab))
      value.refuse(fmt::format("{} is no token's id; the model's vocabulary ends at {}", quote(key, 40),
                               asked.model.vocab - 1));
    const auto by = static_cast<float>(bias.number(SamplingParams::kLogitBias.low, SamplingParams::kLogitBias.high));
    asked.sampling.logit_bias.emplace_back(static_cast<int32_t>(token), by);
  }
}

void read_cache_salt(const Value& value, Asked& asked) {
  const std::string& salt = value.text();
  if (salt.empty() || salt.size() > 1024) value.refuse(fmt::format("has {} bytes; 1 to 1024 are taken", salt.size()));
  asked.cache_salt = salt;
}

void check_number(const Value& value, Asked&) { value.number(-1e300, 1e300); }
void read_skip_special(const Value& value, Asked& asked) { asked.text.skip_special = value.flag(); }
void read_include_stop(const Value& value, Asked& asked) { asked.text.include_stop = value.flag(); }

using enum Use;

constexpr Field<Asked> kSampling[] = {
    {"model", honoured, "the name in `/v1/models`; another one is a 404; may be absent", R"([])", R"([7, [], ""])",
     read_model},
    {"stream", honoured, "true: server-sent events", R"([true, false])", R"([1, "true"])", read_flag<&Asked::stream>},
    {"seed", honoured, "any integer of 64 bits; absent: drawn at random", R"([0, -1, 18446744073709551615])",
     R"([1.5, "1", 18446744073709551616])", read_seed},
    {"temperature", honoured, "0 (the likeliest token) to 100; as the following, by default as the checkpoint says",
     R"([0, 0.7, 2])", R"([-0.1, 101, "1", true])",
     read_number<&SamplingParams::temperature, SamplingParams::kTemperature>},
    {"top_p", honoured, "0 to 1", R"([0.9, 1])", R"([-0.1, 1.1, "1"])",
     read_number<&SamplingParams::top_p, SamplingParams::kTopP>},
    {"top_k", honoured, "the number of likeliest tokens to choose from; 0 or -1: all", R"([-1, 0, 40])",
     R"([-2, 0.5, "40"])", read_top_k},
    {"min_p", honoured, "0 to 1: the least share of the likeliest token's probability", R"([0, 0.05])",
     R"([-0.1, 1.5, []])", read_number<&SamplingParams::min_p, SamplingParams::kMinP>},
    {"presence_penalty", honoured, "-100 to 100, for each token that the answer has", R"([-2, 0.5])", R"([101, "1"])",
     read_number<&SamplingParams::presence_penalty, SamplingParams::kPresencePenalty>},
    {"frequency_penalty", honoured, "-100 to 100, for each time that the answer has a token", R"([-2, 0.5])",
     R"([101, "1"])", read_number<&SamplingParams::frequency_penalty, SamplingParams::kFrequencyPenalty>},
    {"repetition_penalty", honoured, "0.001 to 1000: what logits of tokens in prompt and answer are divided by",
     R"([1, 1.1])", R"([0, 1001, "1"])",
     read_number<&SamplingParams::repeat_penalty, SamplingParams::kRepeatPenalty>},
    {"repeat_penalty", honoured, "another name of `repetition_penalty`; the later one of the body counts",
     R"([1, 1.1])", R"([0, 1001, "1"])",
     read_number<&SamplingParams::repeat_penalty, SamplingParams::kRepeatPenalty>},
    {"logit_bias", honoured, "an object of at most 1,024 token ids and -100 to 100, which their logits grow by",
     R"([{}, {"5": -100, "7": 1.5}])", R"([[], {"x": 1}, {"-1": 1}, {"99999999": 1}, {"5": 101}, {"5": "1"}])",
     read_logit_bias},
    {"allowed_token_ids", honoured, "a list of the only tokens that the answer may have", R"([[1, 2]])",
     R"([[], [-1], ["1"], 5])", read_allowed_tokens},
    {"min_tokens", honoured, "the fewest tokens of an answer: neither an end token nor a stop text ends it before",
     R"([0, 3])", R"([-1, "1"])", read_min_tokens},
    {"stop", honoured, "a text or up to 16 that end the answer where they begin, also in reasoning",
     R"(["END", ["a", "b"], []])",
     R"(["", [""], 5, [5], ["1","2","3","4","5","6","7","8","9","10","11","12","13","14","15","16","17"]])",
     read_stops},
    {"stop_token_ids", honoured, "a list of further tokens that end the answer", R"([[], [5, 6]])",
     R"(["5", [-1], [99999999], [1.5]])", read_stop_tokens},
    {"include_stop_str_in_output", honoured, "true: the stop text that was found is part of the answer",
     R"([true, false])", R"([1])", read_include_stop},
    {"ignore_eos", honoured, "true: only `stop`, `stop_token_ids` and the number of tokens end the answer",
     R"([true, false])", R"([1])", read_flag<&Asked::ignore_eos>},
    {"skip_special_tokens", honoured, "false: special tokens give their text", R"([true, false])", R"(["no"])",
     read_skip_special},
    {"cache_salt", honoured, "1 to 1,024 bytes; what was computed serves requests of the same salt alone",
     R"(["secret"])", R"(["", 5])", read_cache_salt},
    {"cache_prompt", honoured, "false: the prompt is computed anew, also what the cache has of it",
     R"([true, false])", R"(["no"])", read_flag<&Asked::use_cache>},

    {"user", without_effect, "names who asked; nothing is kept of it", R"(["someone"])", R"([5])", check_text},
    {"safety_identifier", without_effect, "names who asked; nothing is kept of it", R"(["x"])", R"([5])", check_text},
    {"prompt_cache_key", without_effect, "common beginnings are found by what they say", R"(["x"])", R"([5])",
     check_text},
    {"prompt_cache_retention", without_effect, "the cache keeps what was used last", R"(["24h"])", R"([5])",
     check_text},
    {"request_id", without_effect, "an answer has an id of its own", R"(["x"])", R"([5])", check_text},
    {"session_id", without_effect, "common beginnings are found by what they say", R"(["x"])", R"([5])", check_text},
    {"spaces_between_special_tokens", without_effect, "texts of tokens are joined as they are", R"([true, false])",
     R"([1])", check_flag},
    {"length_penalty", without_effect, "it weighs the beams of beam search, which is refused", R"([1.0])", R"(["1"])",
     check_number},

    {"priority", refused, "callers share the machine equally; only 0 is taken", R"([0])", R"([1])"},
    {"response_format", refused, "only {\"type\": \"text\"} is taken; answers of a given form are not there yet",
     R"([{"type": "text"}])", R"([{"type": "json_object"}, {"type": "json_schema", "json_schema": {}}])"},
    {"structured_outputs", refused, "answers of a given form are not there yet", R"([{}])", R"([{"regex": "a"}])"},
    {"guided_json", refused, "answers of a given form are not there yet", R"([])", R"([{}])"},
    {"guided_regex", refused, "answers of a given form are not there yet", R"([])", R"(["a"])"},
    {"guided_choice", refused, "answers of a given form are not there yet", R"([])", R"([["a"]])"},
    {"guided_grammar", refused, "answers of a given form are not there yet", R"([])", R"(["a"])"},
    {"guided_decoding_backend", refused, "answers of a given form are not there yet", R"([])", R"(["auto"])"},
    {"guided_whitespace_pattern", refused, "answers of a given form are not there yet", R"([])", R"(["a"])"},
    {"grammar", refused, "answers of a given form are not there yet", R"([""])", R"(["root ::= \"a\""])"},
    {"json_schema", refused, "answers of a given form are not there yet", R"([])", R"([{}])"},
    {"use_beam_search", refused, "there is no beam search; only false is taken", R"([false])", R"([true])"},
    {"bad_words", refused, "texts cannot be forbidden; only an empty list is taken (see `logit_bias`)", R"([[]])",
     R"([["a"]])"},
    {"logits_processors", refused, "a request brings no code; only an empty list is taken", R"([[]])",
     R"([["a.b"]])"},
    {"typical_p", refused, "there is no such way to choose; only 1 is taken", R"([1])", R"([0.5])"},
    {"tfs_z", refused, "there is no such way to choose; only 1 is taken", R"([1])", R"([0.5])"},
    {"top_n_sigma", refused, "there is no such way to choose; only -1 is taken", R"([-1])", R"([1])"},
    {"mirostat", refused, "there is no such way to choose; only 0 is taken", R"([0])", R"([1])"},
    {"dynatemp_range", refused, "there is no such way to choose; only 0 is taken", R"([0])", R"([1])"},
    {"xtc_probability", refused, "there is no such way to choose; only 0 is taken", R"([0])", R"([0.5])"},
    {"dry_multiplier", refused, "there is no such way to choose; only 0 is taken", R"([0])", R"([0.8])"},
    {"repeat_last_n", refused, "penalties see the whole text; only -1 is taken", R"([-1])", R"([0, 64])"},
};

}  // namespace

void read_stops(const Value& value, Asked& asked) {
  const auto add = [&](const Value& stop) {
    const std::string& text = stop.text();
    if (text.empty()) stop.refuse("is empty, so it would end every answer before it begins");
    if (text.size() > kLongestStop)
      stop.refuse(fmt::format("has {} bytes; at most {} are taken", text.size(), kLongestStop));
    asked.text.stops.push_back(text);
  };
  if (value.json.is_string()) return add(value);
  if (!value.json.is_array()) value.expect("a string or a list of strings");
  for (const Value& stop : value.list(kMostStops)) add(stop);
}

std::span<const Field<Asked>> sampling_fields() { return kSampling; }

}  // namespace cachalot::dialect
