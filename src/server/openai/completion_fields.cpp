// The fields of /v1/completions.
#include "server/openai/fields.h"

namespace cachalot::openai {
namespace {

using enum Use;

void read_prompt(const Value& value, AskedCompletion& asked) { asked.prompt = &value.json; }
void read_suffix(const Value& value, AskedCompletion& asked) { asked.suffix = value.text(); }

void read_logprobs(const Value& value, AskedCompletion& asked) {
  asked.logprobs = static_cast<int>(value.integer(0, kMostLikeliest));
}

void read_best_of(const Value& value, AskedCompletion& asked) {
  asked.best_of = static_cast<int>(value.integer(1, kMostAnswers));
}

constexpr Field<AskedCompletion> kCompletions[] = {
    {"prompt", honoured,
     "a text, in which special tokens are recognised, or a list of token ids, or a list of up to 2,048 of either",
     R"(["Hi", [1, 2], ["a", "b"], [[1], [2, 3]]])",
     R"([5, {}, [], [1.5], ["a", 1], [["a"]], [[]], [-1], [99999999]])", read_prompt},
    {"suffix", honoured,
     "what stands behind the answer, for models that fill in; it and the prompt, a text, are plain: no special token "
     "is "
     "recognised",
     R"([])", R"([5, []])", read_suffix},
    {"echo", honoured, "true: the prompt comes before the answer, with `logprobs` also its log-probabilities",
     R"([true, false])", R"([1])", read_flag<&Asked::echo>},
    {"logprobs", honoured, "0 to 20 of the likeliest tokens beside the chosen one, by the model's logits as they are",
     R"([0, 5, 20])", R"([-1, 21, true, "5"])", read_logprobs},
    {"best_of", honoured, "only what `n` is", R"([1])", R"([0, 2, "1"])", read_best_of},
    {"add_special_tokens", honoured, "false: no BOS before a text, where the checkpoint asks for one",
     R"([true, false])", R"([1])", read_flag<&AskedCompletion::add_special_tokens>},

    {"messages", refused, "a text is asked by `prompt`; conversations go to /v1/chat/completions", R"([])",
     R"([[], [{"role": "user", "content": "Hi"}]])"},
    {"tools", refused, "tools go to /v1/chat/completions", R"([[]])", R"([[{"type": "function"}]])"},
    {"prompt_embeds", refused, "a prompt is text or tokens", R"([])", R"(["AAAA"])"},
};

}  // namespace

std::span<const Field<AskedCompletion>> completion_fields() { return kCompletions; }

}  // namespace cachalot::openai
