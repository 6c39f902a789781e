// The models that ship, on 1,000 problems that its training never saw: greedy, in bf16, many at once. The answers are
// the expected texts, so this also proves the forward pass, tokenizer and template against the PyTorch that trained
// it.
#include <gtest/gtest.h>

#include <fstream>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>

#include "load/loaded_model.h"
#include "ops/cpu/cpu_ops.h"
#include "text/chat/chat_prompt.h"
#include "text/chat/reply_parser.h"

namespace cachalot {

struct Problem {
  std::string kind, prompt, answer;
  bool opens_reasoning = false;
  std::vector<int32_t> reply;
};

static std::vector<Problem> held_out_problems() {
  std::ifstream file(CACHALOT_SOURCE_DIR "/tools/tiny/heldout.jsonl");
  std::vector<Problem> problems;
  for (std::string line; std::getline(file, line);) {
    const auto json = nlohmann::json::parse(line);
    problems.push_back({json.at("kind"), json.at("prompt"), json.at("answer")});
  }
  return problems;
}

struct Drafts {
  int made = 0, accepted = 0;
};

// Runs every problem through one engine, as a server would.
static Drafts answer_all(LoadedModel& model, std::vector<Problem>& problems) {
  EngineOptions options = model.engine_options();
  options.context = std::min(options.context, 512);
  options.cache_tokens = 64 * 256;
  Engine engine(*model.ops, *model.transformer, options);
  std::map<RequestId, Problem*> running;
  for (Problem& problem : problems) {
    const nlohmann::ordered_json variables = {{"messages", {{{"role", "user"}, {"content", problem.prompt}}}}};
    const ChatPrompt prompt = encode_chat(model.text->tokenizer, *model.text->chat_template, variables);
    problem.opens_reasoning = prompt_opens_reasoning(prompt.rendered.text, model.text->reply);
    Request request{.prompt = prompt.tokens, .sampling = {.temperature = 0}, .end_tokens = model.defaults.end_tokens};
    running[engine.submit(std::move(request))] = &problem;
  }
  Drafts drafts;
  while (!engine.idle())
    for (const Event& event : engine.step()) {
      drafts.made += event.drafted;
      drafts.accepted += event.accepted;
      if (event.token) running.at(event.request)->reply.push_back(*event.token);
      EXPECT_NE(event.finished, FinishReason::error) << event.error;
    }
  return drafts;
}

struct Shipped {
  const char* model;
  double accepted_drafts;  // share that its training script measured; 0: it drafts none
};

class HeldOut : public ::testing::TestWithParam<Shipped> {};

TEST_P(HeldOut, NineOfTenOfEveryKindAndNineteenOfTwentyOverallAreRight) {
  auto problems = held_out_problems();
  ASSERT_EQ(problems.size(), 1000u);
  LoadedModel model =
      LoadedModel::load(std::string(CACHALOT_SOURCE_DIR "/models/") + GetParam().model,
                        {.weights = {.fixed = DType::bf16}, .progress = false, .speculation = std::nullopt},
                        std::make_unique<CpuOps>(best_kernels(), 1));
  ASSERT_TRUE(model.text->chat_template.has_value());
  const Drafts drafts = answer_all(model, problems);
  std::cout << fmt::format("{} of {} drafts accepted\n", drafts.accepted, drafts.made);
  EXPECT_NEAR(drafts.accepted, GetParam().accepted_drafts * drafts.made, 0.02 * drafts.made);
  EXPECT_EQ(drafts.made > 0, GetParam().accepted_drafts > 0);

  std::map<std::string, std::pair<int, int>> right_of_kind;  // right, asked
  int wrong_shown = 0;
  for (const Problem& problem : problems) {
    ReplyParser parser({.format = model.text->reply, .starts_inside = problem.opens_reasoning, .tools = {}});
    ReplyParts parts = parser.push(model.text->tokenizer.decode(problem.reply, true));
    append(parts, parser.finish());
    const std::string content = text_of(parts, ReplyPart::Kind::content);
    if (content != problem.answer && wrong_shown++ < 5)
      std::cout << fmt::format("{} -> {} instead of {}\n", problem.prompt, content, problem.answer);
    for (const std::string& kind : {problem.kind, std::string("all")}) {
      right_of_kind[kind].first += content == problem.answer;
      ++right_of_kind[kind].second;
    }
  }
  for (const auto& [kind, counts] : right_of_kind) {
    const double share = static_cast<double>(counts.first) / counts.second;
    std::cout << fmt::format("{:8} {:4} of {:4}  {:.1f} %\n", kind, counts.first, counts.second, 100 * share);
    EXPECT_GE(share, kind == "all" ? 0.95 : 0.90) << kind;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, HeldOut, ::testing::Values(Shipped{"tiny-qwen", 0}, Shipped{"tiny-r1", 0.9996}),
                         [](const auto& info) { return std::string(info.param.model).substr(5); });

}  // namespace cachalot
