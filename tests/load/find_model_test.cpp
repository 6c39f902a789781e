// Names of models, and Hugging Face's cache: the goldens are what huggingface_hub itself finds.
#include "load/find_model.h"

#include <gmock/gmock.h>
#include <pwd.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "load/hub_cache.h"
#include "support/goldens.h"

namespace cachalot {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

const nlohmann::json& expected() {
  static const auto json =
      nlohmann::json::parse(std::ifstream(testing::golden_root() / "hub_cache" / "expected.json"));
  return json;
}

// Sets the variables that the client reads, and puts back what was there.
class Environment {
 public:
  explicit Environment(const std::map<std::string, std::string>& wanted) {
    for (const char* name : {"HOME", "XDG_CACHE_HOME", "HF_HOME", "HUGGINGFACE_HUB_CACHE", "HF_HUB_CACHE", "BASE",
                             "UNKNOWN", "CACHALOT_MODELS"}) {
      if (const char* value = std::getenv(name)) before_[name] = value;
      unsetenv(name);
    }
    for (const auto& [name, value] : wanted) setenv(name.c_str(), value.c_str(), 1);
    for (const auto& [name, value] : wanted) set_.push_back(name);
  }
  ~Environment() {
    for (const auto& name : set_) unsetenv(name.c_str());
    for (const auto& [name, value] : before_) setenv(name.c_str(), value.c_str(), 1);
  }

 private:
  std::map<std::string, std::string> before_;
  std::vector<std::string> set_;
};

TEST(HubCache, LiesWhereTheClientFindsIt) {
  ASSERT_GT(expected()["folders"].size(), 20u);
  for (const auto& entry : expected()["folders"]) {
    const Environment environment(entry["environment"].get<std::map<std::string, std::string>>());
    EXPECT_EQ(hub_cache_folder().string(), entry["folder"].get<std::string>()) << entry["environment"];
  }
}

TEST(HubCache, WithoutHomeThePasswordDatabaseKnows) {
  const Environment environment({});
  EXPECT_EQ(hub_cache_folder(), fs::path(getpwuid(getuid())->pw_dir) / ".cache/huggingface/hub");
}

TEST(HubCache, NamesOfRepositoriesAreTheClients) {
  for (const auto& [name, valid] : expected()["names"].items())
    EXPECT_EQ(HubName::parse(name).has_value(), valid.get<bool>()) << name;
}

TEST(HubCache, RevisionAndTypeFollowTheName) {
  const auto whole = HubName::parse("a/b@refs/pr/3:Q4_K_M");
  ASSERT_TRUE(whole);
  EXPECT_EQ(whole->repo, "a/b");
  EXPECT_EQ(whole->revision, "refs/pr/3");
  EXPECT_EQ(whole->type, "Q4_K_M");
  EXPECT_EQ(HubName::parse("a/b:q8_0")->revision, std::nullopt);
  for (const char* text :
       {"a/b@", "a/b:", "a/b@../x", "a/b@x/../../y", "a/b@/etc", "a/b@.", "a/b@x/", "@main", ":q8_0"})
    EXPECT_FALSE(HubName::parse(text)) << text;
}

class Repository : public ::testing::Test {
 protected:
  Repository() {
    std::string name = (fs::temp_directory_path() / "cachalot-test-XXXXXX").string();
    if (!::mkdtemp(name.data())) throw std::runtime_error("mkdtemp");
    hub_ = name;
    folder_ = hub_repository(hub_, "owner/name");
  }
  ~Repository() override {
    std::error_code code;
    fs::remove_all(hub_, code);
  }
  static std::string commit(char letter) { return std::string(40, letter); }
  fs::path snapshot(char letter) const { return folder_ / "snapshots" / commit(letter); }
  void ref(const std::string& name, const std::string& text) const {
    fs::create_directories((folder_ / "refs" / name).parent_path());
    std::ofstream(folder_ / "refs" / name) << text;
  }
  // A file of a snapshot as the client stores it, a link to a blob; without a blob the link leads nowhere.
  void file(char letter, const std::string& name, const std::string& text = "{}", bool blob = true) const {
    const fs::path path = snapshot(letter) / name,
                   stored = folder_ / "blobs" / (commit(letter) + fs::path(name).filename().string());
    fs::create_directories(path.parent_path());
    fs::create_directories(stored.parent_path());
    if (blob) std::ofstream(stored) << text;
    fs::create_symlink(stored, path);
  }
  // One that was fetched whole, so many seconds ago.
  void whole(char letter, int age) const {
    file(letter, "config.json");
    file(letter, "model.safetensors");
    fs::last_write_time(snapshot(letter), fs::file_time_type::clock::now() - std::chrono::seconds(age));
  }
  std::string refusal(const std::function<void()>& action) const {
    try {
      action();
    } catch (const Error& error) { return error.what(); }
    ADD_FAILURE() << "no Error was thrown";
    return "";
  }

  fs::path hub_, folder_;
};

TEST_F(Repository, RevisionsAreTheClients) {
  for (const auto& [name, commit] : expected()["cache"]["refs"].items()) ref(name, commit.get<std::string>());
  for (const auto& commit : expected()["cache"]["snapshots"]) file(commit.get<std::string>()[0], "config.json");
  for (const auto& [revision, commit] : expected()["revisions"].items()) {
    if (commit.is_null()) {
      EXPECT_THAT(
          refusal([&, r = revision] { hub_snapshot(folder_, r); }),
          AllOf(HasSubstr("no revision '" + revision + "'"), HasSubstr("'v1.0'"), HasSubstr(this->commit('c'))));
    } else {
      EXPECT_EQ(hub_snapshot(folder_, revision)->filename(), commit.get<std::string>()) << revision;
    }
  }
}

TEST_F(Repository, MainIsTakenAlsoWhenItIsNotTheNewest) {
  whole('a', 100);
  whole('b', 10);
  ref("main", commit('a'));
  EXPECT_EQ(hub_snapshot(folder_, std::nullopt), snapshot('a'));
}

TEST_F(Repository, WithoutMainTheNewestCompleteSnapshotIsTaken) {
  whole('a', 100);
  whole('b', 50);
  whole('c', 70);
  file('d', "config.json");  // the newest, without weights
  EXPECT_EQ(hub_snapshot(folder_, std::nullopt), snapshot('b'));
  ref("main", commit('e'));  // names one that was cleaned up
  EXPECT_EQ(hub_snapshot(folder_, std::nullopt), snapshot('b'));
}

TEST_F(Repository, AnIncompleteMainGivesWayToACompleteSnapshot) {
  whole('a', 100);
  file('b', "config.json");
  file('b', "model.safetensors.index.json",
       R"({"weight_map": {"x": "model-00001-of-00002.safetensors", "y": "model-00002-of-00002.safetensors"}})");
  file('b', "model-00001-of-00002.safetensors");
  ref("main", commit('b') + "\n");
  EXPECT_EQ(missing_from_snapshot(snapshot('b')), "shards are missing");
  ::testing::internal::CaptureStderr();
  EXPECT_EQ(hub_snapshot(folder_, std::nullopt), snapshot('a'));
  EXPECT_THAT(::testing::internal::GetCapturedStderr(),
              AllOf(HasSubstr("bbbb"), HasSubstr("shards are missing"), HasSubstr("aaaa")));
  file('b', "model-00002-of-00002.safetensors");
  EXPECT_EQ(hub_snapshot(folder_, std::nullopt), snapshot('b'));
}

TEST_F(Repository, ALinkThatLeadsNowhereMakesASnapshotIncomplete) {
  whole('a', 10);
  EXPECT_EQ(missing_from_snapshot(snapshot('a')), "");
  file('a', "tokenizer.json", "", /*blob=*/false);
  EXPECT_THAT(missing_from_snapshot(snapshot('a')), HasSubstr("'tokenizer.json'"));
  EXPECT_EQ(hub_snapshot(folder_, std::nullopt), snapshot('a')) << "there is no other";
}

TEST_F(Repository, WithoutSnapshotsThereIsNoModel) {
  EXPECT_EQ(hub_snapshot(folder_, std::nullopt), std::nullopt);
  ref("main", commit('a'));
  EXPECT_EQ(hub_snapshot(folder_, std::nullopt), std::nullopt);
}

TEST_F(Repository, OneOfSeveralGgufFilesIsChosenByItsType) {
  for (const char* name : {"m-Q4_K_M.gguf", "m-UD-Q4_K_XL.gguf", "m-q8_0.gguf", "m.BF16.gguf", "m_q5_0.gguf",
                           "Q6_K/m-Q6_K-00001-of-00002.gguf", "Q6_K/m-Q6_K-00002-of-00002.gguf", "._m-Q2_K.gguf",
                           "mmproj-F16.gguf", "imatrix.gguf", "README.md"})
    file('a', name);
  const std::pair<const char*, const char*> choices[] = {{"q4_k_m", "m-Q4_K_M.gguf"},
                                                         {"Q4_K_M", "m-Q4_K_M.gguf"},
                                                         {"ud-q4_k_xl", "m-UD-Q4_K_XL.gguf"},
                                                         {"Q8_0", "m-q8_0.gguf"},
                                                         {"bf16", "m.BF16.gguf"},
                                                         {"q5_0", "m_q5_0.gguf"},
                                                         {"q6_k", "Q6_K/m-Q6_K-00001-of-00002.gguf"},
                                                         {"m-q8_0.gguf", "m-q8_0.gguf"}};
  for (const auto& [type, name] : choices)
    EXPECT_EQ(checkpoint_of_snapshot(snapshot('a'), type), snapshot('a') / name) << type;
  EXPECT_THAT(refusal([&] { checkpoint_of_snapshot(snapshot('a'), std::nullopt); }),
              AllOf(HasSubstr("6 GGUF files"), HasSubstr("q4_k_m"), HasSubstr("ud-q4_k_xl"), HasSubstr("REPO:TYPE")));
  for (const char* type : {"q4_k", "f16", "k_m", "q2_k", "../m-q8_0"})
    EXPECT_THAT(refusal([&] { checkpoint_of_snapshot(snapshot('a'), type); }), HasSubstr("no GGUF file is of type"))
        << type;
}

TEST_F(Repository, AnOnlyGgufFileNeedsNoType) {
  file('a', "m-q8_0.gguf");
  EXPECT_EQ(checkpoint_of_snapshot(snapshot('a'), std::nullopt), snapshot('a') / "m-q8_0.gguf");
  EXPECT_EQ(missing_from_snapshot(snapshot('a')), "");
}

TEST_F(Repository, SafetensorsAreTakenAsTheFolderAndHaveNoType) {
  whole('a', 1);
  EXPECT_EQ(checkpoint_of_snapshot(snapshot('a'), std::nullopt), snapshot('a'));
  EXPECT_THAT(refusal([&] { checkpoint_of_snapshot(snapshot('a'), "q8_0"); }), HasSubstr("holds no GGUF files"));
}

TEST_F(Repository, ModelsAreFoundByNameAndByTheRepositorysFolder) {
  whole('a', 1);
  file('b', "m-q8_0.gguf");
  file('b', "m-q4_0.gguf");
  ref("main", commit('a'));
  ref("gguf", commit('b'));
  const Environment environment({{"HF_HUB_CACHE", hub_.string()}});
  EXPECT_EQ(resolve_model("owner/name"), snapshot('a'));
  EXPECT_EQ(resolve_model("owner/name@gguf:Q4_0"), snapshot('b') / "m-q4_0.gguf");
  EXPECT_EQ(resolve_model(folder_.string()), snapshot('a'));
  for (const char* name :
       {"owner/other", "../models--owner--name", "models--owner--name/../x", "~", "a\nb", "owner/name@"})
    EXPECT_THAT(refusal([&] { resolve_model(name); }), HasSubstr("there is no model")) << name;
}

}  // namespace
}  // namespace cachalot
