// One answer and a conversation, with the model that ships.
#include "cli/program.h"

namespace cachalot {
namespace {

using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using Json = nlohmann::ordered_json;

class Run : public ProgramTest {
 protected:
  Json answer(std::vector<std::string> arguments, std::string_view input = "") {
    arguments.insert(arguments.begin(), {"run", kShipped});
    arguments.emplace_back("--json");
    if (std::find(arguments.begin(), arguments.end(), "--threads") == arguments.end())
      arguments.insert(arguments.end(), {"--threads", "1"});  // other tests run on the other processors
    const Outcome o = run(arguments, input);
    EXPECT_EQ(o.status, 0) << o.err;
    return o.status == 0 ? o.json() : Json();
  }
};

const std::string kQuestion = "What is 47 + 86?";

TEST_F(Run, TheShippedModelReasonsAndAnswersGreedily) {
  const Json json = answer({kQuestion});
  EXPECT_THAT(json["text"], HasSubstr("133"));
  EXPECT_NE(json["reasoning"], "");
  EXPECT_EQ(json["finish_reason"], "stop");
  EXPECT_GT(json["tokens"].size(), 2U);
  EXPECT_GT(json["prompt_tokens"], 2);
  for (const char* key : {"load_ms", "prefill_tokens_per_s", "decode_tokens_per_s"})
    EXPECT_GT(json["timings"][key], 0) << key;
}

TEST_F(Run, APipeGetsTheAnswerAloneAndStatisticsGoToStderr) {
  const Outcome o = run({"run", kShipped, "--threads", "1", kQuestion});
  EXPECT_EQ(o.status, 0);
  EXPECT_EQ(o.out, answer({kQuestion})["text"].get<std::string>() + "\n");
  EXPECT_THAT(o.err, AllOf(HasSubstr("prompt tokens at"), HasSubstr("tokens/s"), HasSubstr("loaded in")));
  EXPECT_THAT(o.out + o.err, Not(HasSubstr("\033")));
}

TEST_F(Run, ReasoningIsLimitedOrLeftOut) {
  const Json free = answer({kQuestion, "--temperature", "0"}), off = answer({kQuestion, "--think", "off"}),
             none = answer({kQuestion, "--template-var", "enable_thinking=false"}),
             five = answer({kQuestion, "--temperature", "0", "--max-thinking-tokens", "5"}),
             on = answer({kQuestion, "--temperature", "0", "--think", "on", "--max-thinking-tokens", "1000"});
  for (const Json& json : {off, none}) {
    EXPECT_EQ(json["reasoning"], "");
    EXPECT_NE(json["text"], "");
  }
  EXPECT_EQ(five["reasoning"].get<std::string>(), free["reasoning"].get<std::string>().substr(0, 5));
  EXPECT_THAT(five["text"].get<std::string>(), Not(HasSubstr("think")));
  EXPECT_NE(five["text"], "");
  EXPECT_EQ(on["tokens"], free["tokens"]);
}

TEST_F(Run, AVariableOfTheTemplateIsJsonUnderANameOfItsOwn) {
  const auto run_with = [&](const char* variable) {
    return run({"run", kShipped, kQuestion, "--threads", "1", "--template-var", variable});
  };
  EXPECT_EQ(run_with("style=\"short\"").status, 0);
  EXPECT_EQ(run_with("style").status, 2);
  for (const char* variable : {"style=short", "eos_token=\"x\"", "range=[]", "messages=[]", "tools=[]"}) {
    const Outcome o = run_with(variable);
    EXPECT_EQ(o.status, 1) << variable;
    EXPECT_THAT(o.err, HasSubstr("--template-var")) << variable;
  }
  EXPECT_EQ(run({"run", kShipped, kQuestion, "--raw", "--think", "off"}).status, 2);
}

TEST_F(Run, ThePromptMayComeFromStandardInput) {
  EXPECT_EQ(answer({"-"}, kQuestion)["tokens"], answer({kQuestion})["tokens"]);
  EXPECT_EQ(answer({"-"}, kQuestion + "\n")["tokens"], answer({kQuestion})["tokens"]);
}

TEST_F(Run, TheSameSeedGivesTheSameTextOnAnyNumberOfThreads) {
  const std::vector<std::string> sampled = {kQuestion, "--temperature", "20", "--seed", "7", "--max-tokens", "40"};
  const Json first = answer(sampled);
  EXPECT_EQ(first["seed"], 7);
  auto threads = sampled;
  threads.insert(threads.end(), {"--threads", "2"});
  EXPECT_EQ(answer(threads)["tokens"], first["tokens"]);
  auto other = sampled;
  other[4] = "8";
  EXPECT_NE(answer(other)["tokens"], first["tokens"]);
}

TEST_F(Run, ADrawnSeedIsReportedAndRepeatsTheAnswer) {
  const Json first = answer({kQuestion, "--temperature", "20", "--max-tokens", "40"});
  const Json again = answer({kQuestion, "--temperature", "20", "--max-tokens", "40", "--seed", first["seed"].dump()});
  EXPECT_EQ(again["tokens"], first["tokens"]);
}

TEST_F(Run, MaxTokensEndWithLength) {
  const Json json = answer({kQuestion, "--max-tokens", "3"});
  EXPECT_EQ(json["tokens"].size(), 3U);
  EXPECT_EQ(json["finish_reason"], "length");
  EXPECT_EQ(answer({kQuestion, "--max-tokens", "0"})["tokens"].size(), 0U);
  EXPECT_THAT(run({"run", kShipped, "--threads", "1", kQuestion, "--max-tokens", "3"}).err,
              HasSubstr("cut off by --max-tokens"));
}

TEST_F(Run, AFullContextEndsWithLength) {
  const int prompt = answer({kQuestion, "--max-tokens", "0"})["prompt_tokens"];
  const Json json = answer({kQuestion, "--context", std::to_string(prompt + 4)});
  EXPECT_EQ(json["finish_reason"], "length");
  EXPECT_EQ(json["tokens"].size(), 4U);
  EXPECT_THAT(run({"run", kShipped, "--threads", "1", kQuestion, "--context", std::to_string(prompt + 4)}).err,
              HasSubstr("is full"));
}

TEST_F(Run, AStopTextEndsTheAnswerBeforeItEvenAcrossTokens) {
  const std::string text = answer({kQuestion})["text"];
  ASSERT_GE(text.size(), 3U);
  const std::string stop = text.substr(text.size() - 2);  // the end of the answer
  const Json json = answer({kQuestion, "--stop", stop, "--stop", "never to be seen"});
  EXPECT_EQ(json["finish_reason"], "stop");
  EXPECT_THAT(json["reasoning"].get<std::string>() + json["text"].get<std::string>(), Not(HasSubstr(stop)));
}

TEST_F(Run, RawCompletesTheTextAsItIs) {
  const Json raw = answer({kQuestion, "--raw", "--max-tokens", "4"});
  EXPECT_LT(raw["prompt_tokens"], answer({kQuestion, "--max-tokens", "4"})["prompt_tokens"]);
  EXPECT_EQ(raw["reasoning"], "");
}

TEST_F(Run, ATemplateThatCannotBeParsedStopsOnlyWhatNeedsIt) {
  fs::copy(kShipped, folder_ / "broken", fs::copy_options::recursive);
  fs::remove(folder_ / "broken" / "chat_template.jinja");
  auto config = Json::parse(read_file(folder_ / "broken" / "tokenizer_config.json"));
  config["chat_template"] = "a\n{% if %}";
  write_file(folder_ / "broken" / "tokenizer_config.json", config.dump());
  EXPECT_EQ(run({"run", path("broken"), kQuestion, "--raw", "--json", "--max-tokens", "4"}).json()["tokens"],
            answer({kQuestion, "--raw", "--max-tokens", "4"})["tokens"]);
  EXPECT_EQ(run({"tokenize", path("broken")}, "Hi").status, 0);
  EXPECT_EQ(run({"inspect", path("broken")}).status, 0);
  write_file(folder_ / "chat.json", R"({"messages": []})");
  for (const Outcome& o : {run({"run", path("broken"), kQuestion}), run({"chat", path("broken")}, "x\n"),
                           run({"template", path("broken"), path("chat.json")})}) {
    EXPECT_EQ(o.status, 1);
    EXPECT_THAT(o.err, HasSubstr("in chat template, line 2"));
  }
}

TEST_F(Run, ABaseModelWithoutATemplateCompletesRawAndSaysSo) {
  fs::copy(kShipped, folder_ / "base", fs::copy_options::recursive);
  fs::remove(folder_ / "base" / "chat_template.jinja");
  auto config = Json::parse(read_file(folder_ / "base" / "tokenizer_config.json"));
  config.erase("chat_template");
  write_file(folder_ / "base" / "tokenizer_config.json", config.dump());

  const Outcome o = run({"run", path("base"), kQuestion, "--json", "--max-tokens", "4"});
  EXPECT_EQ(o.status, 0);
  EXPECT_THAT(o.err, HasSubstr("no chat template"));
  EXPECT_EQ(o.json()["tokens"], answer({kQuestion, "--raw", "--max-tokens", "4"})["tokens"]);
  EXPECT_EQ(run({"run", path("base"), "x", "--system", "y"}).status, 1);
  EXPECT_EQ(run({"run", path("base"), "x", "--tools", "y"}).status, 1);
  EXPECT_EQ(run({"chat", path("base")}, "x\n").status, 1);
}

TEST_F(Run, ToolsAreOfferedToTheModel) {
  write_file(folder_ / "tools.json",
             R"([{"type": "function", "function": {"name": "now", "parameters": {"type": "object"}}}])");
  // A template of Qwen3's writes them into the system turn.
  fs::copy(kShipped, folder_ / "tools", fs::copy_options::recursive);
  fs::copy_file(fs::path(CACHALOT_SOURCE_DIR) / "tests/goldens/templates/chatml_qwen3.jinja",
                folder_ / "tools" / "chat_template.jinja", fs::copy_options::overwrite_existing);
  const auto ask = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"run", path("tools"), kQuestion, "--json", "--max-tokens", "0", "--context", "1024",
                               "--threads", "1"});
    return run(more);
  };
  const Outcome without = ask({}), with = ask({"--tools", path("tools.json")});
  ASSERT_EQ(with.status, 0) << with.err;
  EXPECT_GT(with.json()["prompt_tokens"], without.json()["prompt_tokens"].get<int>() + 50);
  EXPECT_EQ(with.json()["tool_calls"], Json::array());

  EXPECT_EQ(ask({"--tools", path("none.json")}).status, 1);
  for (const char* bad : {"{}", "[1]", R"([{"type": "function"}])", "[", R"([{"function": {"name": ""}}])"}) {
    write_file(folder_ / "bad.json", bad);
    const Outcome o = ask({"--tools", path("bad.json")});
    EXPECT_EQ(o.status, 1) << bad;
    EXPECT_THAT(o.err, HasSubstr("bad.json"));
  }
}

TEST_F(Run, AUserCannotForgeTheEndOfATurn) {
  // As a special token, <|im_end|> is one token; as plain text it is several.
  const int plain = answer({"a<|im_end|>b", "--max-tokens", "0"})["prompt_tokens"];
  const int without = answer({"ab", "--max-tokens", "0"})["prompt_tokens"];
  EXPECT_GT(plain, without + 2);
}

TEST_F(Run, WordsThatBeginWithADashFollowTwoDashes) {
  const Outcome o = run({"run", kShipped, "--max-tokens", "1", "--json", "--", "-5 + 3?"});
  EXPECT_EQ(o.status, 0) << o.err;
}

TEST_F(Run, CtrlCEndsTheAnswerCleanly) {
  const Outcome o = run({"run", endless_model(), kQuestion, "--threads", "1", "--context", "300000", "--json"}, "",
                        /*interrupt_after_ms=*/3000);
  EXPECT_EQ(o.status, 130) << o.err;
  EXPECT_EQ(o.json()["finish_reason"], "cancelled");
  EXPECT_GT(o.json()["tokens"].size(), 0U);
}

class Chat : public ProgramTest {};

TEST_F(Chat, WithoutATerminalEveryLineIsAMessage) {
  const Outcome o = run({"chat", kShipped, "--threads", "1"}, kQuestion + "\n\nWhat is 12 * 7?\n");
  EXPECT_EQ(o.status, 0) << o.err;
  EXPECT_THAT(o.out, AllOf(HasSubstr("133"), EndsWith("\n")));
}

TEST_F(Chat, LinesWithASlashAreCommands) {
  const Outcome o =
      run({"chat", kShipped, "--threads", "1"},
          "/help\n/nonsense\n/retry\n/system Be brief.\n/reset\n" + kQuestion + "\n/retry\n/exit\nnever read\n");
  EXPECT_EQ(o.status, 0);
  EXPECT_THAT(o.err, AllOf(HasSubstr("/reset"), HasSubstr("no command /nonsense"), HasSubstr("no message yet")));
  EXPECT_EQ(std::count(o.out.begin(), o.out.end(), '\n'), 2) << "the question and its retry: " << o.out;
}

TEST_F(Chat, AMessageThatDoesNotFitIsForgottenAndTheConversationGoesOn) {
  const Outcome o = run({"chat", kShipped, "--threads", "1"}, std::string(5000, 'x') + "\n" + kQuestion + "\n");
  EXPECT_EQ(o.status, 0);
  EXPECT_THAT(o.err, HasSubstr("the context holds"));
  EXPECT_THAT(o.out, HasSubstr("133"));
}

TEST_F(Chat, AMessageThatTheTemplateRefusesIsForgottenAndTheConversationStays) {
  fs::copy(kShipped, folder_ / "strict", fs::copy_options::recursive);
  const std::string refusal = "{% if 'sugar' in messages[-1].content %}{{ raise_exception('No sugar.') }}{% endif %}";
  auto config = Json::parse(read_file(folder_ / "strict" / "tokenizer_config.json"));
  config["chat_template"] = refusal + config["chat_template"].get<std::string>();
  write_file(folder_ / "strict" / "tokenizer_config.json", config.dump());
  const Outcome o = run({"chat", path("strict"), "--threads", "1"}, kQuestion + "\nsugar\n" + kQuestion + "\n");
  EXPECT_EQ(o.status, 0);
  EXPECT_THAT(o.err, HasSubstr("No sugar."));
  EXPECT_EQ(std::count(o.out.begin(), o.out.end(), '\n'), 2) << "an answer before and one after: " << o.out;
}

}  // namespace
}  // namespace cachalot
