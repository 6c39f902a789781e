// The models that are on this machine, where they are, and how those of the hub's cache are removed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "load/hub_cache.h"

namespace cachalot {

struct StoredModel {
  enum class Place { shipped, own, hub };
  std::string name;                 // as commands take it
  Place place;                      // beside the program, in a folder of CACHALOT_MODELS, in the hub's cache
  std::filesystem::path path;       // what is opened
  std::string family, type;         // empty: not known; the type of most of its bytes
  int64_t bytes = 0;                // on the disk; what snapshots share counts for each
  std::optional<int64_t> last_use;  // seconds since 1970, where the file system notes it
  std::string missing;              // why it is no whole model; empty: it is one

  bool whole() const { return missing.empty(); }
};
const char* name(StoredModel::Place place);

// Where they are looked up, in the order in which a name is.
std::vector<StoredModel> stored_models();

// What a name of the hub's cache stands for, and what goes with it.
struct Removal {
  std::vector<std::filesystem::path> files;  // of snapshots
  std::vector<std::filesystem::path> blobs;  // that nothing else uses, and what was fetched of others
  std::vector<std::string> stays;            // what else uses blobs, as sentences
  std::vector<std::string> revisions;        // that are known no more
  int64_t bytes = 0;                         // that become free
};

// Without a revision in all snapshots, without a type all files. Throws Error when there is no such model.
Removal plan_removal(const HubName& name);
// Throws Error when a file cannot be removed, or when it is just being fetched.
void remove_model(const HubName& name, const Removal& removal);

}  // namespace cachalot
