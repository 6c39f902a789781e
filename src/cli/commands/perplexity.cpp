// cachalot perplexity: how well a model predicts a text.
#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/log.h"
#include "base/progress.h"
#include "cli/command.h"
#include "cli/input.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "engine/scoring.h"

namespace cachalot {
namespace {

struct PerplexityOptions {
  ModelOptions model;
  std::string file;
  bool json = false;
};

// -log(softmax(logits)[token]), in f64. Throws Error for logits that are not numbers.
double negative_log_likelihood(std::span<const float> logits_W, int32_t token) {
  double max = -INFINITY, sum = 0;
  for (const float x : logits_W) max = std::max(max, double{x});
  for (const float x : logits_W) sum += std::exp(x - max);
  const double nll = std::log(sum) + max - logits_W[static_cast<size_t>(token)];
  if (std::isnan(nll))
    throw Error("the model's output is not a number (NaN): the weights or the arithmetic are broken");
  return nll;
}

struct Score {
  double nll = 0;  // summed over the predicted tokens
  int64_t predicted = 0;
};

// Scores `tokens` in windows of `context`, each of which begins with `bos` where there is one.
Score score_windows(const LoadedModel& model, const std::vector<int32_t>& tokens, std::optional<int> bos) {
  const size_t context = static_cast<size_t>(model.plan.context), taken = context - (bos ? 1 : 0);
  Score total;
  Progress bar("scoring", true);
  std::vector<int32_t> window;
  for (size_t begin = 0; begin < tokens.size(); begin += taken) {
    window.clear();
    if (bos) window.push_back(*bos);
    for (size_t i = begin; i < std::min(begin + taken, tokens.size()); ++i) window.push_back(tokens[i]);
    if (window.size() < 2) break;  // a last token alone has nothing before it
    score(*model.ops, *model.transformer, window, {.kv = model.kv}, [&](int row, std::span<const float> logits_W) {
      const auto next = static_cast<size_t>(row) + 1;
      if (next == window.size()) return;
      total.nll += negative_log_likelihood(logits_W, window[next]);
      bar.update(++total.predicted, std::ssize(tokens));
    });
  }
  return total;
}

int perplexity(const PerplexityOptions& o) {
  const std::string text = read_input(o.file);
  const LoadedModel model = o.model.load_to_score(/*text=*/true);
  if (!model.transformer->spec().causal())
    throw Error("this model predicts no text")
        .because("its symmetric windows let tokens see the ones that they should predict");
  const Tokenizer& tokenizer = model.text->tokenizer;
  const auto tokens = tokenizer.encode(text, /*special=*/false);
  const auto bos = tokenizer.adds_bos() ? tokenizer.bos() : std::nullopt;
  if (tokens.size() + (bos ? 1 : 0) < 2 || model.plan.context < 2)
    throw Error("there is nothing to predict")
        .in(o.file)
        .because("the text or the context has fewer than two tokens");

  const auto start = std::chrono::steady_clock::now();
  const Score total = score_windows(model, tokens, bos);
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  const double mean = total.nll / static_cast<double>(total.predicted);
  if (o.json) {
    const nlohmann::ordered_json report = {
        {"nll", mean}, {"perplexity", std::exp(mean)}, {"tokens", total.predicted}, {"context", model.plan.context}};
    fmt::print("{}\n", report.dump());
  } else {
    fmt::print("perplexity {:.4f} (nll {:.6f} per token) over {} tokens, windows of {}\n", std::exp(mean), mean,
               total.predicted, model.plan.context);
    note("{} tokens/s", rate_text(static_cast<double>(total.predicted) / elapsed.count()));
  }
  return 0;
}

}  // namespace

Command perplexity_command() {
  auto o = std::make_shared<PerplexityOptions>();
  Command command{.name = "perplexity", .about = "Measure how well a model predicts a text"};
  o->model.add_to(command);
  command.add({.name = "FILE", .help = "the text; - reads standard input", .value = &o->file, .required = true});
  add_json_flag(command, o->json);
  command.footer =
      R"(The text is cut into windows of --context tokens that do not overlap, each starting with the BOS token where the
checkpoint adds one; every token but the first of its window counts.

Example:
  cachalot perplexity ./Qwen3-0.6B book.txt --context 2048)";
  command.work = [o] { return perplexity(*o); };
  return command;
}

}  // namespace cachalot
