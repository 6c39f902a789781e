// Runs the built program as a user would, and checkpoints to run it on.
#pragma once

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

namespace cachalot {

namespace fs = std::filesystem;

struct Outcome {
  int status = -1;  // exit status; 128 + signal when a signal ended it
  std::string out, err;
  nlohmann::ordered_json json() const { return nlohmann::ordered_json::parse(out); }
};

inline std::string read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

inline void write_file(const fs::path& path, std::string_view text) {
  std::ofstream(path, std::ios::binary).write(text.data(), static_cast<std::streamsize>(text.size()));
}

class ProgramTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::path(testing::TempDir()) / (std::string(test->test_suite_name()) + "." + test->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  // interrupt_after_ms: presses Ctrl-C then; 0: never.
  // Five minutes are more than any of these may take, also under sanitizers: a program that hangs is killed then
  // (status 128 + SIGALRM).
  Outcome run(const std::vector<std::string>& arguments, std::string_view input = "", int interrupt_after_ms = 0) {
    return start(CACHALOT_PROGRAM, arguments, input, interrupt_after_ms);
  }
  // The same for a line of the shell, where $CACHALOT is the program and the test's folder the current one.
  Outcome shell(const std::string& line, std::string_view input = "") {
    return start("/bin/sh", {"-c", "CACHALOT='" CACHALOT_PROGRAM "'; cd '" + folder_.string() + "'; " + line}, input,
                 0);
  }

  Outcome start(std::string program, const std::vector<std::string>& arguments, std::string_view input,
                int interrupt_after_ms) {
    write_file(folder_ / "stdin", input);
    const std::string in = folder_ / "stdin", out = folder_ / "stdout", err = folder_ / "stderr";
    std::vector<char*> argv;
    argv.push_back(program.data());
    std::vector<std::string> copies = arguments;
    for (std::string& argument : copies) argv.push_back(argument.data());
    argv.push_back(nullptr);

    const pid_t child = fork();
    if (child == 0) {
      dup2(open(in.c_str(), O_RDONLY), STDIN_FILENO);
      dup2(open(out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600), STDOUT_FILENO);
      dup2(open(err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600), STDERR_FILENO);
      alarm(300);
      execv(program.c_str(), argv.data());
      _exit(127);
    }
    if (interrupt_after_ms > 0) {
      usleep(static_cast<useconds_t>(interrupt_after_ms) * 1000);
      kill(child, SIGINT);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), read_file(out), read_file(err)};
  }

  std::string path(const std::string& name) const { return folder_ / name; }

  // A copy of the shipped model that knows no end: with a large --context it answers for minutes.
  std::string endless_model() const {
    fs::copy(std::string(CACHALOT_SOURCE_DIR "/models/tiny-qwen"), folder_ / "endless", fs::copy_options::recursive);
    for (const auto& [file, key] : {std::pair{"config.json", "eos_token_id"},
                                    {"generation_config.json", "eos_token_id"},
                                    {"tokenizer_config.json", "eos_token"}}) {
      auto config = nlohmann::ordered_json::parse(read_file(folder_ / "endless" / file));
      config.erase(key);
      write_file(folder_ / "endless" / file, config.dump());
    }
    return path("endless");
  }

  fs::path folder_;
};

inline const std::string kShipped = CACHALOT_SOURCE_DIR "/models/tiny-qwen";
inline std::string golden(const std::string& name) {
  return std::string(CACHALOT_SOURCE_DIR "/tests/goldens/") + name;
}

}  // namespace cachalot
