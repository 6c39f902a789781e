// Bytes of a repository's files, over several connections at once.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "hub/http_client.h"
#include "hub/piece_file.h"
#include "hub/repository.h"

namespace cachalot {

class Transfers {
 public:
  struct Hooks {
    std::function<bool()> cancelled;          // any thread asks it
    std::function<void(int64_t bytes)> came;  // any thread tells it; negative: they are asked for again
    std::function<void()> tick;               // called some times a second by the thread that waits
  };
  Transfers(const HubSettings& settings, const Repository& repository, int connections, Hooks hooks);
  ~Transfers();
  Transfers(const Transfers&) = delete;
  Transfers& operator=(const Transfers&) = delete;

  // Does work(client, i) for all i below `count`, over the connections. Throws what the first one throws that fails.
  void in_parallel(int64_t count, const std::function<void(HttpClient&, int64_t)>& work);

  // A part of a file, as much of it as there is.
  std::string read(HttpClient& client, const RemoteFile& file, ByteRange range);
  // All pieces that are not there yet. Throws Error.
  void fetch(const RemoteFile& file, PieceFile& pieces);

 private:
  class Source;
  struct NoRanges {};
  Source& source_of(const RemoteFile& file);
  void fetch_piece(HttpClient& client, Source& source, PieceFile& pieces, int64_t piece);
  void fetch_stream(HttpClient& client, Source& source, PieceFile& pieces);

  const HubSettings& settings_;
  const Repository& repository_;
  Hooks hooks_;
  std::atomic<bool> stop_{false};
  std::vector<std::unique_ptr<HttpClient>> clients_;
  std::mutex mutex_;
  std::map<std::string, std::unique_ptr<Source>> sources_;  // by path
};

// "bytes 0-99/1234"; none when it is not of that form.
struct ContentRange {
  int64_t first = 0, last = 0, total = 0;
  static std::optional<ContentRange> parse(std::string_view text);
};

}  // namespace cachalot
