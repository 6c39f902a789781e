// Getting a model from a hub: what is there, what it would be, and then its bytes, into the hub's own cache.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "hub/selection.h"
#include "hub/settings.h"
#include "hub/store.h"
#include "hub/transfers.h"

namespace cachalot {

class Pull {
 public:
  // What comes is told, from the thread that waits. All functions throw Cancelled once `cancelled` says so.
  struct Listener {
    std::function<bool()> cancelled;                                // any thread asks it
    std::function<void(int64_t done, int64_t total)> progress;      // bytes that are here, of those that are wanted
    std::function<void(const RemoteFile& file, bool first)> waits;  // for another process that fetches it
    std::function<void(const RemoteFile& file)> has;                // a file is whole
  };
  // Asks the hub what the repository holds. Throws Error.
  Pull(const HubSettings& settings, const HubName& name, Listener listener, int connections);
  ~Pull();
  Pull(const Pull&) = delete;
  Pull& operator=(const Pull&) = delete;

  const Repository& repository() const { return repository_; }
  // What is to be fetched: of several GGUF models one, else (nullptr) the repository's safetensors.
  void select(const GgufChoice* choice);

  // Fetches what is small, and of the weights the headers alone, into a temporary folder that goes with this object.
  // The result can be opened as a checkpoint; its numbers are zeros.
  std::filesystem::path look();
  int64_t bytes() const { return selection_.bytes(); }
  int64_t missing_bytes() const;  // of them, those that are not here
  // Throws Error unless the file system has room for what is missing.
  void check_room() const;
  // Fetches what is not here yet. The model's place in the cache.
  std::filesystem::path fetch();

 private:
  class Folder;
  void look_at_weights(const std::filesystem::path& folder);
  std::filesystem::path in(const std::filesystem::path& folder) const;  // the model of the selection
  void take_words(const std::filesystem::path& folder);
  bool linked(const RemoteFile& file, const std::filesystem::path& place) const;
  void fetch_file(const RemoteFile& file);
  void keep_index();
  void take_headers(HttpClient& client, const RemoteFile& file, const std::filesystem::path& place);
  std::filesystem::path incomplete(const RemoteFile& file) const;
  std::vector<RemoteFile> all_files() const;  // in the order in which they are fetched

  Listener listener_;
  HubSettings settings_;
  Repository repository_;
  HubStore store_;
  std::atomic<int64_t> done_{0};
  int64_t total_ = 0;
  std::unique_ptr<Transfers> transfers_;
  Selection selection_;
  std::unique_ptr<Folder> folder_;                       // of look()
  std::map<std::string, std::filesystem::path> looked_;  // whole files in it, by path
};

}  // namespace cachalot
