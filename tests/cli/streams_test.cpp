// Streams that are closed, full or broken, signals, and memory or threads that the system does not give: a message
// where one can be written, the status of docs and never a crash, and what was asked for where it can be had.
#include "cli/program.h"
#include "formats/made_files.h"

namespace cachalot {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

const std::string kModel = kShipped;

class Streams : public ProgramTest {
 protected:
  std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_))
      if (const std::string name = entry.path().filename(); !name.starts_with("std")) names.push_back(name);
    std::sort(names.begin(), names.end());
    return names;
  }
};

// Commands that say something on stderr, with the status that they have when it can be heard.
const std::vector<std::pair<std::string, int>> kSpeaking = {
    {"run " + kModel + " 'What is 47 + 86?' --temperature 0", 0},
    {"run " + kModel + " 'What is 47 + 86?' --json", 0},
    {"logits " + kModel + " --tokens 1,2 --out logits", 0},
    {"trace " + kModel + " --tokens 1,2 --out trace", 0},
    {"quantize " + kModel + " a.gguf --type q8_0 --calibration text --force", 0},
    {"chat " + kModel, 0},
    {"inspect " + kModel, 0},
    {"tokenize " + kModel, 0},
    {"perplexity " + kModel + " text", 0},
    {"run no-such-model x", 1},
    {"inspect /dev/null", 1},
    {"logits " + kModel + " --tokens 1 --out .", 1},
    {"run", 2},
    {"fly", 2},
    {"", 2},
    {"--help", 0},
    {"run --help", 0},
    {"--version", 0}};

TEST_F(Streams, AStderrThatTakesNothingChangesNeitherResultNorStatus) {
  write_file(path("text"), "What is 12 + 34? What is 56 + 78?");
  for (const auto& [words, status] : kSpeaking) {
    SCOPED_TRACE(words);
    const Outcome heard = shell("$CACHALOT " + words, "What is 1 + 2?");
    EXPECT_EQ(heard.status, status) << heard.err;
    for (const char* spoil : {"2>&-", "2>/dev/full"}) {
      const Outcome unheard = shell("$CACHALOT " + words + " " + spoil, "What is 1 + 2?");
      EXPECT_EQ(unheard.status, status) << spoil;
      EXPECT_EQ(unheard.out.empty(), heard.out.empty()) << spoil;
    }
  }
  for (const char* file : {"logits", "trace", "a.gguf"}) EXPECT_TRUE(fs::exists(path(file))) << file;
}

TEST_F(Streams, APipeThatNobodyReadsOnStderrIsNoReasonToStop) {
  const Outcome o =
      shell("{ $CACHALOT logits " + kModel + " --tokens 1,2 --out logits; echo $? > status; } 2>&1 | true");
  EXPECT_EQ(o.status, 0);
  EXPECT_EQ(read_file(path("status")), "0\n");
  EXPECT_TRUE(fs::exists(path("logits")));
}

TEST_F(Streams, AClosedStderrIsNotWhereResultsGo) {
  ASSERT_EQ(shell("$CACHALOT logits " + kModel + " --tokens 1,2 --out heard").status, 0);
  ASSERT_EQ(shell("$CACHALOT logits " + kModel + " --tokens 1,2 --out unheard <&- >&- 2>&-").status, 0);
  EXPECT_EQ(read_file(path("unheard")), read_file(path("heard")));
}

TEST_F(Streams, AStdoutThatTakesNothingIsAFailure) {
  write_file(path("text"), "What is 12 + 34?");
  const std::vector<std::string> printing = {"run " + kModel + " 'What is 47 + 86?'",
                                             "run " + kModel + " hi --json",
                                             "inspect " + kModel,
                                             "inspect " + kModel + " --json",
                                             "tokenize " + kModel,
                                             "perplexity " + kModel + " text",
                                             "detokenize " + kModel + " 1,2",
                                             "chat " + kModel,
                                             "--help",
                                             "run --help",
                                             "--version",
                                             "quantize " + kModel + " a.gguf --type q8_0 --force"};
  for (const std::string& words : printing)
    for (const char* spoil : {">&-", ">/dev/full", ">&- 2>&-", ">/dev/full 2>&1"}) {
      SCOPED_TRACE(words + spoil);
      const Outcome o = shell("$CACHALOT " + words + " " + spoil, "What is 1 + 2?");
      EXPECT_EQ(o.status, 1);
      EXPECT_EQ(o.err.empty(), std::string_view(spoil).find("2>") != std::string_view::npos);
    }
}

TEST_F(Streams, AReaderThatLeavesEndsAnAnswerAtOnce) {
  const Outcome o = shell("{ $CACHALOT run " + endless_model() +
                          " 'What is 1 + 2?' --context 100000; echo $? > status; } | head -c 1");
  EXPECT_EQ(o.status, 0);
  EXPECT_EQ(read_file(path("status")), "141\n");
}

TEST_F(Streams, AClosedStdinIsAnEmptyOneOrSaidToBeClosed) {
  EXPECT_EQ(shell("$CACHALOT run " + kModel + " hi --max-tokens 2 <&-").status, 0);
  EXPECT_EQ(shell("$CACHALOT chat " + kModel + " <&-").status, 0);
  const Outcome o = shell("$CACHALOT tokenize " + kModel + " <&-");
  EXPECT_EQ(o.status, 1);
  EXPECT_THAT(o.err, HasSubstr("Bad file descriptor"));
  for (const std::string command : {"chat ", "tokenize "}) {
    const Outcome folder = shell("$CACHALOT " + command + kModel + " < .");
    EXPECT_EQ(folder.status, 1) << command;
    EXPECT_THAT(folder.err, HasSubstr("standard input: cannot read the file"));
  }
}

TEST_F(Streams, SignalsLeaveNothingUnfinished) {
  write_file(path("a"), "precious");
  std::string ids;
  for (int i = 0; i < 20000; ++i) ids += "1 ";
  write_file(path("ids"), ids);
  // Far more rows than are computed before the unfinished file is seen.
  const std::vector<std::string> logits = {"logits",    endless_model(), "--tokens-file", path("ids"),
                                           "--context", "20000",         "--decode-from", "1",
                                           "--out",     path("a")};
  std::string line = "$CACHALOT";
  for (const std::string& word : logits) line += " '" + word + "'";
  for (const int number : {SIGTERM, SIGHUP}) {
    const Outcome o = shell(line + " & p=$!; while ! ls a.*.partial >/dev/null 2>&1; do sleep 0.02; done; kill -" +
                            std::to_string(number) + " $p; wait $p");
    EXPECT_EQ(o.status, 128 + number) << o.err;
    EXPECT_EQ(files(), (std::vector<std::string>{"a", "endless", "ids"}));
  }
  EXPECT_EQ(run(logits, "", /*interrupt_after_ms=*/1000).status, 128 + SIGINT);
  EXPECT_EQ(files(), (std::vector<std::string>{"a", "endless", "ids"}));
  EXPECT_EQ(read_file(path("a")), "precious");
}

TEST_F(Streams, ACheckpointThatIsCutOffWhileItIsReadIsNamed) {
  GgufMaker maker;
  maker.text("general.architecture", "unheard-of");
  maker.tensor("blk.0.attn_q.weight", {4096, 65536}, 0, "");
  write_file(path("large.gguf"), maker.build());
  fs::resize_file(path("large.gguf"), (int64_t{1} << 30) + 4096);  // a hole: zeros without blocks on the disk
  const Outcome o = shell(
      "$CACHALOT quantize large.gguf a.gguf --type q6_k & p=$!; "
      "while ! ls a.gguf.*.partial >/dev/null 2>&1; do sleep 0.02; done; truncate -s 10000 large.gguf; wait $p");
  EXPECT_EQ(o.status, 1);
  EXPECT_THAT(o.err, HasSubstr("large.gguf': the file can no longer be read\n  because: it was cut off"));
  EXPECT_EQ(files(), std::vector<std::string>{"large.gguf"});
}

TEST_F(Streams, AFileThatMayGrowNoFurtherIsAFullDisk) {
  const Outcome o = shell("ulimit -f 8; $CACHALOT logits " + kModel + " --tokens 1,2,3,4,5,6,7,8 --out logits");
  EXPECT_EQ(o.status, 1);
  EXPECT_THAT(o.err, HasSubstr("File too large"));
  EXPECT_THAT(files(), IsEmpty());
}

#if !defined(CACHALOT_SANITIZED)  // whose own memory is the first not to be had
TEST_F(Streams, MemoryThatTheSystemDoesNotGiveIsAMessage) {
  int refused = 0;
  for (int64_t mib = 20; mib < 400; mib += mib / 6) {
    const Outcome o =
        shell("ulimit -v " + std::to_string(mib * 1024) + "; $CACHALOT run " + kModel + " hi --max-tokens 4");
    EXPECT_TRUE(o.status == 0 || o.status == 1 || o.status == 127) << mib << " MiB: " << o.status << "\n" << o.err;
    EXPECT_TRUE(o.status != 1 || o.err.find("cachalot: ") != o.err.npos) << mib << " MiB\n" << o.err;
    refused += o.status == 1;
  }
  EXPECT_GT(refused, 2);
}

TEST_F(Streams, ThreadsThatTheSystemDoesNotGiveAreAMessage) {
  const Outcome o = shell("ulimit -v 1500000; $CACHALOT run " + kModel + " hi --threads 4096");
  EXPECT_EQ(o.status, 1);
  EXPECT_THAT(o.err, HasSubstr("of 4096 threads can be started"));
  EXPECT_THAT(o.err, HasSubstr("hint: lower --threads"));
}
#endif

}  // namespace
}  // namespace cachalot
