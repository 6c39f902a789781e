// What the program says to words that it does not understand.
#include "cli/program.h"

namespace cachalot {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

class Usage : public ProgramTest {};

const std::vector<std::string> kCommands = {"run",    "chat",  "tokenize",   "detokenize", "template",
                                            "logits", "trace", "perplexity", "inspect",    "bench"};

TEST_F(Usage, WithoutWordsTheHelpIsShownAndTheStatusIsTwo) {
  const Outcome o = run({});
  EXPECT_EQ(o.status, 2);
  EXPECT_THAT(o.out, IsEmpty());
  for (const auto& command : kCommands) EXPECT_THAT(o.err, HasSubstr("  " + command + " "));
}

TEST_F(Usage, HelpAndVersionAreResults) {
  EXPECT_THAT(run({"--version"}).out, StartsWith("cachalot 0."));
  EXPECT_EQ(run({"--help"}).status, 0);
  for (const auto& command : kCommands) {
    SCOPED_TRACE(command);
    const Outcome o = run({command, "--help"});
    EXPECT_EQ(o.status, 0);
    EXPECT_THAT(o.out, HasSubstr("Usage:"));
    EXPECT_THAT(o.err, IsEmpty());
  }
}

TEST_F(Usage, AMistypedCommandGetsASuggestion) {
  const Outcome o = run({"rnu", "tiny-qwen", "hello"});
  EXPECT_EQ(o.status, 2);
  EXPECT_THAT(o.err, HasSubstr("there is no command 'rnu'; did you mean 'run'?"));
  EXPECT_THAT(run({"frobnicate"}).err, Not(HasSubstr("did you mean")));
  EXPECT_THAT(run({"quant", "tiny-qwen"}).err, HasSubstr("did you mean 'quantize'?"));
}

TEST_F(Usage, TypesAreNamedInEitherCase) {
  for (const auto& [option, type] : {std::pair{"--weights", "Q8_0"}, {"--weights", "AUTO"}, {"--kv", "BF16"}})
    EXPECT_EQ(run({"run", kShipped, "hi", "--max-tokens", "1", option, type}).status, 0) << option << " " << type;
}

TEST_F(Usage, AnOptionThatDoesNotExistIsRefusedWithASuggestion) {
  for (const auto& command : kCommands) {
    SCOPED_TRACE(command);
    const Outcome o = run({command, "tiny-qwen", "x", "--no-such-option"});
    EXPECT_EQ(o.status, 2);
    EXPECT_THAT(o.out, IsEmpty());
  }
  EXPECT_THAT(run({"run", "tiny-qwen", "x", "--temprature", "0"}).err, HasSubstr("did you mean --temperature?"));
  EXPECT_THAT(run({"run", "tiny-qwen", "x", "--temp", "0"}).err, HasSubstr("did you mean --temperature?"));
  EXPECT_EQ(run({"inspect", "tiny-qwen", "--threads", "2"}).status, 2) << "inspect computes nothing";
}

TEST_F(Usage, WordsThatAreTooManyAreRefused) {
  const Outcome o = run({"run", "tiny-qwen", "What", "is", "2"});
  EXPECT_EQ(o.status, 2);
  EXPECT_THAT(o.err, HasSubstr("quotes"));
}

TEST_F(Usage, ValuesOutOfRangeAreRefused) {
  const std::vector<std::vector<std::string>> wrong = {
      {"run", kShipped, "x", "--threads", "0"},
      {"run", kShipped, "x", "--threads", "-3"},
      {"run", kShipped, "x", "--threads", "many"},
      {"run", kShipped, "x", "--context", "0"},
      {"run", kShipped, "x", "--context", "99999999999999999999"},
      {"run", kShipped, "x", "--weights", "q9_9"},
      {"run", kShipped, "x", "--weights", "i32"},
      {"run", kShipped, "x", "--kv", "q4_0"},
      {"run", kShipped, "x", "--temperature", "warm"},
      {"run", kShipped, "x", "--temperature", "-1"},
      {"run", kShipped, "x", "--temperature", "nan"},
      {"run", kShipped, "x", "--temperature", "inf"},
      {"run", kShipped, "x", "--top-k", "-1"},
      {"run", kShipped, "x", "--top-p", "1.1"},
      {"run", kShipped, "x", "--min-p", "2"},
      {"run", kShipped, "x", "--repeat-penalty", "0"},
      {"run", kShipped, "x", "--presence-penalty", "-101"},
      {"run", kShipped, "x", "--frequency-penalty", "1e30"},
      {"quantize", kShipped, "out.gguf", "--type", "q9_9"},
      {"run", kShipped, "x", "--seed", "-1"},
      {"run", kShipped, "x", "--seed", "18446744073709551616"},
      {"run", kShipped, "x", "--top-k", "99999999999999999999"},
      {"run", kShipped, "x", "--max-tokens", "-1"},
      {"run", kShipped, "x", "--raw", "--system", "y"},
      {"run", kShipped, "x", "--raw", "--tools", "y"},
      {"run", kShipped, "x", "--stop"},
      {"run", kShipped, "x", "--stop", ""},
      {"run", kShipped},
      {"run"},
      {"logits", kShipped, "--tokens", "1"},
      {"logits", kShipped, "--out", "f"},
      {"logits", kShipped, "--tokens", "1", "--tokens-file", "f", "--out", "g"},
      {"logits", kShipped, "--tokens", "1", "--out", "g", "--chunk", "0"},
      {"trace", kShipped, "--diff", "a", "b"},
      {"trace", "--diff", "a"},
      {"trace", "--tokens", "1", "--out", "f"},
      {"trace", kShipped, "--tokens", "1"},
      {"trace", kShipped, "--tokens", "1", "--out", "f", "--tolerance", "1"},
      {"bench"},
      {"bench", kShipped, "--repeat", "0"},
      {"bench", kShipped, "--prefill", "0", "--decode", "0"},
      {"bench", kShipped, "--probes"},
  };
  for (const auto& arguments : wrong) {
    SCOPED_TRACE(testing::PrintToString(arguments));
    const Outcome o = run(arguments);
    EXPECT_EQ(o.status, 2);
    EXPECT_THAT(o.out, IsEmpty());
    EXPECT_THAT(o.err, StartsWith("cachalot "));
    EXPECT_THAT(o.err, HasSubstr("hint: "));
  }
}

TEST_F(Usage, UnknownTypesOfWeightsAreRefusedWithTheKnownOnes) {
  const Outcome o = run({"run", kShipped, "x", "--weights", "q3_k"});
  EXPECT_EQ(o.status, 2);
  EXPECT_THAT(o.err, HasSubstr("'q3_k' is no type of weights; use one of auto, f32, bf16, q8_0, q4_0"));
}

}  // namespace
}  // namespace cachalot
