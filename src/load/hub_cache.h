// The local cache of Hugging Face's client: where it is, and what of it a name means. Nothing is fetched.
//   CACHE/models--OWNER--NAME/refs/REVISION         a commit, as text
//   CACHE/models--OWNER--NAME/snapshots/COMMIT/…    the files of that commit, links into blobs/
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cachalot {

// As the client finds it, by HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, HF_HOME, XDG_CACHE_HOME and HOME, in this order,
// with ~ and $NAME in them replaced.
std::filesystem::path hub_cache_folder();
// Where `hf auth` keeps its token, whether it is there or not: by HF_TOKEN_PATH and HF_HOME.
std::filesystem::path hub_token_file();

// "REPO[@REVISION][:TYPE]"
struct HubName {
  std::string repo;                     // "Qwen/Qwen3-0.6B" or "gpt2"
  std::optional<std::string> revision;  // a branch, a tag, refs/pr/N or a whole commit
  std::optional<std::string> type;      // of one GGUF file among several: "q4_k_m"

  // None when it cannot be a name: the client's rules for REPO, and git's for REVISION as far as paths are concerned.
  static std::optional<HubName> parse(std::string_view text);
};

// Whether a path as resolve_model() gives it lies there.
bool is_in_hub_cache(const std::filesystem::path& path);

// The folder of a repository in `cache`, whether it is there or not.
std::filesystem::path hub_repository(const std::filesystem::path& cache, std::string_view repo);
// Whether `folder` is one: it holds snapshots/, and refs/ or blobs/.
bool is_hub_repository(const std::filesystem::path& folder);

// The snapshot of a repository that `revision` names. Without one: what the branch main names; where that is not
// there or not complete, the newest complete snapshot, which a line on stderr says. Of several that are all
// incomplete the one that main names or else the newest, and a line says what it lacks. None when there is no
// snapshot at all. Throws Error for a revision that is not in the cache.
std::optional<std::filesystem::path> hub_snapshot(const std::filesystem::path& repository,
                                                  const std::optional<std::string>& revision);

// The revisions of a repository that the cache knows, and at which commits they were: "main" → "a1b2…".
std::map<std::string, std::string> hub_refs(const std::filesystem::path& repository);

// What keeps a snapshot from being a whole model, as a sentence; empty when nothing does.
std::string missing_from_snapshot(const std::filesystem::path& snapshot);

// The GGUF files in a snapshot, by their paths in it.
std::vector<std::filesystem::path> gguf_files(const std::filesystem::path& snapshot);

// The checkpoint in a snapshot: itself, or a GGUF file in it (of a split one the first), the only one or the one of
// `type`. Throws Error that lists the types where there is a choice, or none of that type.
std::filesystem::path checkpoint_of_snapshot(const std::filesystem::path& snapshot,
                                             const std::optional<std::string>& type);

}  // namespace cachalot
