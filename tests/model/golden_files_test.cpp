// No golden is left unread: every file under tests/goldens belongs to a case that tests find by themselves, or is
// named in the source of a test.
#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <sstream>

#include "support/goldens.h"

namespace cachalot::testing {

namespace fs = std::filesystem;

static std::string text_of(const fs::path& file) {
  std::stringstream text;
  text << std::ifstream(file).rdbuf();
  return text.str();
}

// What tests say: their sources, and the lists among the goldens that name others.
static std::string all_mentions() {
  std::string text;
  for (const auto& entry : fs::recursive_directory_iterator(fs::path(CACHALOT_SOURCE_DIR) / "tests")) {
    const auto extension = entry.path().extension(), parent = entry.path().parent_path().filename();
    const bool source = extension == ".cpp" || extension == ".h";
    const bool list = entry.path().filename() == "expected.json" || (parent == "templates" && extension == ".json");
    if (source || list) text += text_of(entry.path());
  }
  return text;
}

// A case's own files; tests take all of them through Checkpoint, Golden::read and the traces.
static bool belongs_to_a_case(const fs::path& file) {
  const std::string name = file.filename();
  return name == "config.json" || name == "golden.safetensors" || name == "trace.safetensors" ||
         name == "model.safetensors.index.json" || (name.starts_with("model") && name.ends_with(".safetensors"));
}

TEST(GoldenFiles, EveryOneIsReadByATest) {
  const auto case_list = golden_cases();
  const std::set<fs::path> cases(case_list.begin(), case_list.end());
  const std::string mentions = all_mentions();
  const auto mentioned = [&](const std::string& what) { return mentions.find(what) != std::string::npos; };
  int files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(golden_root())) {
    if (!entry.is_regular_file()) continue;
    ++files;
    const fs::path file = fs::relative(entry.path(), golden_root()), folder = entry.path().parent_path();
    if (cases.contains(folder)) {
      EXPECT_TRUE(belongs_to_a_case(file)) << file << " is no part of its case";
      continue;
    }
    EXPECT_TRUE(mentioned(file.begin()->string())) << "no test names the folder of " << file;
    // The other files of a checkpoint, and the other parts of a split file, come with the first.
    const bool checkpoint = fs::exists(folder / "config.json");
    std::string name = checkpoint ? folder.filename() : file.filename();
    if (const auto part = name.find("-of-"); part != name.npos) name.replace(part - 5, 5, "00001");
    EXPECT_TRUE(mentioned(name) || mentioned("\"" + fs::path(name).stem().string() + "\""))
        << "no test names " << file;
  }
  EXPECT_GT(files, 200);
}

TEST(GoldenFiles, EveryTensorOfEveryCaseIsTaken) {
  for (const auto& folder : golden_cases()) EXPECT_NO_THROW(Golden::read(folder)) << folder;
}

}  // namespace cachalot::testing
