// A conversation as a person has it: on a terminal, with keys that are pressed while the model talks.
#include <poll.h>
#include <pty.h>

#include <chrono>

#include "cli/program.h"

namespace cachalot {
namespace {

using testing::HasSubstr;
using testing::Not;

// The program on a pseudo-terminal of its own.
class Terminal {
 public:
  explicit Terminal(const std::vector<std::string>& arguments) {
    std::string program = CACHALOT_PROGRAM;
    std::vector<std::string> copies = arguments;
    std::vector<char*> argv = {program.data()};
    for (std::string& argument : copies) argv.push_back(argument.data());
    argv.push_back(nullptr);
    child_ = forkpty(&screen_, nullptr, nullptr, nullptr);
    if (child_ == 0) {
      setenv("TERM", "xterm", 1);
      unsetenv("NO_COLOR");
      alarm(300);
      execv(program.c_str(), argv.data());
      _exit(127);
    }
  }
  ~Terminal() {
    if (child_ > 0) {
      kill(child_, SIGKILL);
      waitpid(child_, nullptr, 0);
    }
    close(screen_);
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  void press(const std::string& keys) {
    ASSERT_EQ(write(screen_, keys.data(), keys.size()), static_cast<ssize_t>(keys.size()));
  }

  // What appears from now until `text` has, at the latest after a minute; none of it is returned by the next call.
  std::string wait_for(const std::string& text) {
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::minutes(1);
    size_t at = std::string::npos;
    while ((at = unread_.find(text)) == std::string::npos && std::chrono::steady_clock::now() < give_up)
      if (!read_more()) break;
    EXPECT_NE(at, std::string::npos) << "'" << text << "' never came after: " << unread_;
    const size_t end = at == std::string::npos ? unread_.size() : at + text.size();
    std::string seen = unread_.substr(0, end);
    unread_.erase(0, end);
    return seen;
  }

  // The exit status, once the program has ended by itself.
  int wait_for_end() {
    while (read_more()) continue;
    int status = 0;
    waitpid(std::exchange(child_, -1), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  // Returns false when the program has closed the terminal.
  bool read_more() {
    pollfd ready = {.fd = screen_, .events = POLLIN, .revents = 0};
    if (poll(&ready, 1, 1000) == 0) return true;
    std::array<char, 4096> bytes;
    const ssize_t count = read(screen_, bytes.data(), bytes.size());
    if (count > 0) unread_.append(bytes.data(), static_cast<size_t>(count));
    return count > 0;
  }

  pid_t child_ = -1;
  int screen_ = -1;
  std::string unread_;
};

const std::string kCtrlC = "\x03", kCtrlD = "\x04", kDim = "\033[2m", kPlain = "\033[0m";

class ChatOnATerminal : public ProgramTest {};

TEST_F(ChatOnATerminal, ShowsReasoningDimmedAndApart) {
  Terminal terminal({"chat", kShipped, "--threads", "1"});
  terminal.wait_for("> ");
  terminal.press("What is 47 + 86?\n");
  terminal.wait_for(kDim);
  EXPECT_THAT(terminal.wait_for(kPlain), HasSubstr("7+6+0=13"));
  EXPECT_THAT(terminal.wait_for("tokens/s"), HasSubstr("133"));
  terminal.wait_for("> ");
  terminal.press(kCtrlD);
  EXPECT_EQ(terminal.wait_for_end(), 0);
}

TEST_F(ChatOnATerminal, CtrlCStopsTheAnswerAndNotTheProgram) {
  Terminal terminal({"chat", endless_model(), "--threads", "1", "--context", "300000"});
  terminal.wait_for("> ");
  for (const char* line : {"What is 47 + 86?\n", "/retry\n"}) {
    for (const char* seen : {"7+6", "133"}) {  // in the reasoning, in the answer
      terminal.press(line);
      terminal.wait_for(kDim);
      terminal.wait_for(seen);
      terminal.press(kCtrlC);
      terminal.wait_for("stopped by Ctrl-C");
      EXPECT_THAT(terminal.wait_for("> "), Not(HasSubstr("cachalot:")));
    }
  }
  terminal.press("/exit\n");
  EXPECT_EQ(terminal.wait_for_end(), 0);
}

TEST_F(ChatOnATerminal, CtrlCAtThePromptDropsTheLine) {
  Terminal terminal({"chat", kShipped, "--threads", "1"});
  terminal.wait_for("> ");
  terminal.press("/exit" + kCtrlC);
  terminal.wait_for("> ");
  terminal.press("/nonsense\n");
  terminal.wait_for("no command /nonsense");
  terminal.wait_for("> ");
  terminal.press(kCtrlD);
  EXPECT_EQ(terminal.wait_for_end(), 0);
}

}  // namespace
}  // namespace cachalot
