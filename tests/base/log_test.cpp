#include "base/log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/check.h"
#include "base/progress.h"

namespace cachalot {
namespace {

// Says something on a stderr that `spoil` has made useless.
template <typename Spoil>
void say_it(Spoil spoil) {
  spoil();
  warn("{}", 1);
  note("{}", 2);
  say("3");
  _exit(0);
}

void no_reader() {
  int ends[2];
  if (pipe(ends) != 0) _exit(9);
  close(ends[0]);
  dup2(ends[1], STDERR_FILENO);
}

TEST(LogDeathTest, AStderrThatTakesNothingCostsNothing) {
  EXPECT_EXIT(say_it([] { close(STDERR_FILENO); }), testing::ExitedWithCode(0), "");
  EXPECT_EXIT(say_it([] { dup2(open("/dev/full", O_WRONLY), STDERR_FILENO); }), testing::ExitedWithCode(0), "");
  EXPECT_EXIT(say_it(no_reader), testing::ExitedWithCode(0), "");
  EXPECT_EXIT(say_it([] {}), testing::ExitedWithCode(0), "cachalot: warning: 1\ncachalot: 2\n3");
}

TEST(LogDeathTest, ABugAbortsAlsoWhereNobodyHears) {
  const auto bug = [] {
    close(STDERR_FILENO);
    CHECK(false, "a bug");
  };
  EXPECT_EXIT(bug(), testing::KilledBySignal(SIGABRT), "");
}

}  // namespace
}  // namespace cachalot
