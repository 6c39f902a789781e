// Responses that are kept for a while, so that a client can look at one again and go on from it: in memory alone, in
// bounded memory, and each for the caller who has asked for it.
#pragma once

#include <chrono>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace cachalot::responses {

struct KeptItem {
  std::string id;
  std::string json;
};

struct KeptResponse {
  std::string id, caller;
  std::string previous;  // the response that it goes on from; "" where there is none
  std::string json;      // with an empty list of output
  std::vector<KeptItem> input, output;

  size_t bytes() const;
};

struct ResponseStoreOptions {
  using Clock = std::chrono::steady_clock;
  size_t bytes = size_t{64} << 20;      // of all that is kept; 0: nothing is
  std::chrono::seconds lifetime{3600};  // since a response was used last
  std::function<Clock::time_point()> now = Clock::now;
};

// Any thread may use it. What was used last is kept longest; a response that alone is too big is not
// kept.
class ResponseStore {
 public:
  explicit ResponseStore(ResponseStoreOptions options) : options_(std::move(options)) {}

  bool keeps() const { return options_.bytes > 0; }
  bool keep(KeptResponse response);  // whether it is

  // These find nothing of another caller's, and nothing whose time is over. To find is to use.
  std::shared_ptr<const KeptResponse> find(std::string_view caller, std::string_view id);
  // The one whose output has an item of that id.
  std::shared_ptr<const KeptResponse> with_item(std::string_view caller, std::string_view item);
  bool remove(std::string_view caller, std::string_view id);

  size_t size() const;
  size_t bytes() const;

 private:
  struct Entry {
    std::shared_ptr<const KeptResponse> response;
    size_t bytes;
    ResponseStoreOptions::Clock::time_point used;
  };
  using Entries = std::list<Entry>;  // what was used last is the first

  std::shared_ptr<const KeptResponse> use(std::string_view caller, const std::string& id);
  void drop_old();
  void drop(Entries::iterator entry);

  const ResponseStoreOptions options_;
  mutable std::mutex mutex_;
  Entries entries_;
  std::unordered_map<std::string, Entries::iterator> by_id_;
  std::unordered_map<std::string, std::string> by_item_;  // ids of responses
  size_t bytes_ = 0;
};

}  // namespace cachalot::responses
