// Output files: whole or not there, whoever else writes, whatever the name leads to and however the process ends.
#include "base/whole_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <sstream>
#include <string>

#include "base/error.h"

namespace cachalot {
namespace {

namespace fs = std::filesystem;
using Existing = WholeFile::Existing;
using testing::ElementsAre;
using testing::HasSubstr;

class WholeFileTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "cachalot-whole-XXXXXX").string();
    ASSERT_TRUE(mkdtemp(name.data()));
    folder_ = name;
  }
  void TearDown() override { fs::remove_all(folder_); }

  static void put(const fs::path& path, const std::string& text) { std::ofstream(path, std::ios::binary) << text; }
  static std::string content(const fs::path& path) {
    std::ostringstream text;
    text << std::ifstream(path, std::ios::binary).rdbuf();
    return text.str();
  }
  static void append(WholeFile& file, const std::string& text) { file.write(std::as_bytes(std::span(text))); }
  static void write(const fs::path& path, const std::string& text, Existing existing = Existing::replace,
                    WholeFile::Inputs inputs = {}) {
    WholeFile file(path, existing, inputs);
    append(file, text);
    file.finish();
  }
  static std::string refusal(const fs::path& path, Existing existing = Existing::replace,
                             const std::vector<fs::path>& inputs = {}) {
    try {
      write(path, "new", existing, inputs);
    } catch (const Error& error) { return error.what(); }
    return "";
  }
  std::vector<std::string> names() const {
    std::vector<std::string> all;
    for (const auto& entry : fs::directory_iterator(folder_)) all.push_back(entry.path().filename());
    std::sort(all.begin(), all.end());
    return all;
  }
  static mode_t mode(const fs::path& path) {
    struct stat info{};
    EXPECT_EQ(::stat(path.c_str(), &info), 0);
    return info.st_mode & 07777;
  }

  fs::path folder_;
};

TEST_F(WholeFileTest, AppearsWhenItIsWholeAndLeavesNothingElse) {
  {
    WholeFile file(folder_ / "a", Existing::keep);
    append(file, "text");
    EXPECT_FALSE(fs::exists(folder_ / "a"));
    file.finish();
  }
  EXPECT_EQ(content(folder_ / "a"), "text");
  { WholeFile given_up(folder_ / "b", Existing::keep); }
  EXPECT_THAT(names(), ElementsAre("a"));
}

TEST_F(WholeFileTest, TwoWritersOfOneNameAreBothWholeAndTheLastStays) {
  WholeFile one(folder_ / "a", Existing::replace), two(folder_ / "a", Existing::replace);
  append(one, std::string(100000, '1'));
  append(two, std::string(70000, '2'));
  append(one, "1");
  one.finish();
  EXPECT_EQ(content(folder_ / "a"), std::string(100001, '1'));
  append(two, "2");
  two.finish();
  EXPECT_EQ(content(folder_ / "a"), std::string(70001, '2'));
  EXPECT_THAT(names(), ElementsAre("a"));
}

TEST_F(WholeFileTest, FilesOfTheUsersStayWhateverTheyAreCalled) {
  const std::string pid = std::to_string(getpid());
  for (const std::string& name : {std::string("a.partial"), "a." + pid + ".partial", "a." + pid + "-1.partial"})
    put(folder_ / name, "mine");
  write(folder_ / "a", "text");
  EXPECT_EQ(names().size(), 4u);
  for (const std::string& name : names()) EXPECT_EQ(content(folder_ / name), name == "a" ? "text" : "mine");
}

TEST_F(WholeFileTest, KeepsAFileThatIsThereAndOneThatAppearsMeanwhile) {
  put(folder_ / "a", "precious");
  EXPECT_THAT(refusal(folder_ / "a", Existing::keep), HasSubstr("exists already"));
  WholeFile file(folder_ / "b", Existing::keep);
  append(file, "text");
  put(folder_ / "b", "precious");
  EXPECT_THROW(file.finish(), Error);
  EXPECT_EQ(content(folder_ / "a"), "precious");
  EXPECT_EQ(content(folder_ / "b"), "precious");
  EXPECT_THAT(names(), ElementsAre("a", "b"));
}

TEST_F(WholeFileTest, IsNoneOfItsInputsByWhateverName) {
  fs::create_directory(folder_ / "sub");
  fs::create_directory_symlink("sub", folder_ / "other");
  const fs::path input = folder_ / "sub/in";
  put(input, "precious");
  fs::create_symlink("sub/in", folder_ / "soft");
  fs::create_hard_link(input, folder_ / "hard");
  for (const fs::path& out :
       {input, folder_ / "soft", folder_ / "hard", folder_ / "other/in", folder_ / "sub/../sub/in"}) {
    EXPECT_THAT(refusal(out, Existing::replace, {folder_ / "none", input}), HasSubstr("is a file that is read"))
        << out;
    EXPECT_THAT(refusal(input, Existing::replace, {out}), HasSubstr("is a file that is read")) << out;
  }
  EXPECT_EQ(content(input), "precious");
  EXPECT_EQ(refusal(folder_ / "sub/out", Existing::replace, {input}), "");
}

TEST_F(WholeFileTest, FollowsLinksAndLeavesThemLinks) {
  fs::create_directory(folder_ / "sub");
  put(folder_ / "sub/there", "old");
  fs::create_symlink("sub/there", folder_ / "link");
  fs::create_symlink("link", folder_ / "far");
  fs::create_symlink("sub/missing", folder_ / "dangling");
  write(folder_ / "far", "new");
  write(folder_ / "dangling", "born", Existing::keep);
  EXPECT_EQ(content(folder_ / "sub/there"), "new");
  EXPECT_EQ(content(folder_ / "sub/missing"), "born");
  for (const char* link : {"link", "far", "dangling"}) EXPECT_TRUE(fs::is_symlink(folder_ / link)) << link;
  fs::create_symlink("round", folder_ / "round");
  EXPECT_THAT(refusal(folder_ / "round"), HasSubstr("Too many levels"));
}

TEST_F(WholeFileTest, PermissionsAreTheOldFilesOrTheUmasks) {
  put(folder_ / "old", "old");
  for (const mode_t kept : {0600, 0644, 0755, 0666, 0444}) {
    ASSERT_EQ(chmod((folder_ / "old").c_str(), kept), 0);
    write(folder_ / "old", "new");
    EXPECT_EQ(mode(folder_ / "old"), kept);
  }
  for (const mode_t mask : {022, 077, 002}) {
    const mode_t before = umask(mask);
    write(folder_ / "new", "new");
    umask(before);
    EXPECT_EQ(mode(folder_ / "new"), 0666u & ~mask);
    fs::remove(folder_ / "new");
  }
}

TEST_F(WholeFileTest, WhatIsNoFileIsWrittenDirectlyOrRefused) {
  EXPECT_EQ(refusal("/dev/null", Existing::keep), "");
  EXPECT_THAT(refusal("/dev/full"), HasSubstr("No space left"));
  EXPECT_THAT(refusal(folder_), HasSubstr("Is a directory"));
  EXPECT_THAT(refusal(folder_ / "no/such/folder"), HasSubstr("No such file"));
  EXPECT_THAT(refusal(folder_ / "none/"), HasSubstr("No such file"));
  EXPECT_THAT(refusal(""), HasSubstr("No such file"));
  EXPECT_THAT(refusal(folder_ / std::string(300, 'x')), HasSubstr("File name too long"));
  EXPECT_EQ(refusal(folder_ / std::string(255, 'x')), "");
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  write("/dev/fd/" + std::to_string(ends[1]), "piped");
  char text[5];
  EXPECT_EQ(read(ends[0], text, 5), 5);
  EXPECT_EQ(std::string(text, 5), "piped");
  close(ends[0]), close(ends[1]);
}

TEST_F(WholeFileTest, AnOpenFileOfProcStaysThatFile) {
  std::FILE* file = std::fopen((folder_ / "a").c_str(), "wb");
  write("/proc/self/fd/" + std::to_string(fileno(file)), "text", Existing::keep);
  std::fclose(file);
  EXPECT_EQ(content(folder_ / "a"), "text");
  EXPECT_THAT(names(), ElementsAre("a"));
}

// What became of a process that was in the middle of writing when `end` came.
template <typename End>
int ended_while_writing(const fs::path& path, End end) {
  const pid_t child = fork();
  if (child == 0) {
    WholeFile file(path, Existing::replace), other(path, Existing::replace);
    end();
    pause();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return status;
}

TEST_F(WholeFileTest, ASignalLeavesNothingBehindAndEndsTheProcessAsEver) {
  put(folder_ / "a", "old");
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGQUIT}) {
    const int status = ended_while_writing(folder_ / "a", [&] { kill(getpid(), number); });
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == number) << number;
    EXPECT_THAT(names(), ElementsAre("a")) << number;
  }
  EXPECT_TRUE(WIFSIGNALED(ended_while_writing(folder_ / "a", [] { std::abort(); })));
  EXPECT_THAT(names(), ElementsAre("a"));
  EXPECT_EQ(content(folder_ / "a"), "old");
}

TEST_F(WholeFileTest, ASignalThatIsIgnoredStaysIgnored) {
  const int status = ended_while_writing(folder_ / "a", [&] {
    std::signal(SIGHUP, SIG_IGN);
    WholeFile another(folder_ / "b", Existing::replace);
    raise(SIGHUP);
    append(another, "text");
    another.finish();
    _exit(7);
  });
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 7);
  EXPECT_EQ(content(folder_ / "b"), "text");
}

}  // namespace
}  // namespace cachalot
