// The fields of both endpoints that answer with choices.
#include <fmt/format.h>

#include <climits>

#include "server/openai/fields.h"

namespace cachalot::openai {
namespace {

void read_n(const Value& value, AskedChoices& asked) {
  asked.answers = static_cast<int>(value.integer(1, kMostAnswers));
}

// Of two limits, both are kept.
void read_max_tokens(const Value& value, AskedChoices& asked) {
  const auto tokens = static_cast<int>(value.integer(-1, INT_MAX));
  if (tokens >= 0) asked.limit(tokens);
}

void read_stream_options(const Value& value, AskedChoices& asked) {
  asked.usage_options = true;
  for (const auto& [name, json] : value.object().items()) {
    if (json.is_null()) continue;
    const Value option{fmt::format("stream_options.{}", name), json};
    if (name == "include_usage")
      asked.usage_at_end = option.flag();
    else if (name == "continuous_usage_stats")
      asked.usage_always = option.flag();
    else if (name == "include_obfuscation")
      option.flag();  // padding against those who see the sizes of packets; it changes nothing that is said
    else
      option.refuse("there is no such option");
  }
}

using enum Use;

constexpr Field<AskedChoices> kChoices[] = {
    {"n", honoured, "1 to 128 answers; answer i is drawn with seed + i", R"([1, 3])", R"([0, 129, 1.5, "2"])",
     read_n},
    {"max_tokens", honoured, "the most tokens of an answer; absent or -1: what is left of the context",
     R"([1, 100, -1])", R"([-2, 1.5, "5"])", read_max_tokens},
    {"n_predict", honoured, "another name of `max_tokens`; of several limits, each is kept", R"([5, -1])",
     R"([-2, "5"])", read_max_tokens},
    {"return_token_ids", honoured,
     "true: `token_ids` of each choice, with the one that ended it, and `prompt_token_ids`", R"([true, false])",
     R"([1])", read_flag<&AskedChoices::tells_token_ids>},
    {"stream_options", honoured,
     "`include_usage`, `continuous_usage_stats`; `include_obfuscation` is without effect; only with `stream`",
     R"([])", R"([true, {"include_usage": 1}, {"more": true}])", read_stream_options},

    {"metadata", without_effect, "an object of notes for those who keep answers; none is kept here",
     R"([{"a": "b"}])", R"([5])", check_object},

    {"store", refused, "answers are not kept; only false is taken", R"([false])", R"([true])"},
    {"service_tier", refused, "all requests are served alike; only \"auto\" and \"default\" are taken",
     R"(["auto", "default"])", R"(["flex", "priority"])"},
    {"truncate_prompt_tokens", refused, "a prompt is never cut; it is refused when it is too long", R"([-1])",
     R"([5])"},
    {"prompt_logprobs", refused, "the prompt's log-probabilities come with `echo` and `logprobs` of /v1/completions",
     R"([])", R"([0, 1])"},
    {"return_tokens_as_token_ids", refused, "tokens are told by their texts; only false is taken", R"([false])",
     R"([true])"},
    {"n_probs", refused, "log-probabilities are asked for by `logprobs`; only 0 is taken", R"([0])", R"([5])"},
    {"id_slot", refused, "nobody chooses where a request runs; only -1 is taken", R"([-1])", R"([0])"},
};

}  // namespace

std::span<const Field<AskedChoices>> choice_fields() { return kChoices; }

}  // namespace cachalot::openai
