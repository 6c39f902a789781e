#include "hub/transfers.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <condition_variable>
#include <exception>
#include <thread>

#include "base/quote.h"

namespace cachalot {

std::optional<ContentRange> ContentRange::parse(std::string_view text) {
  constexpr std::string_view unit = "bytes ";
  if (!text.starts_with(unit)) return std::nullopt;
  text.remove_prefix(unit.size());
  ContentRange range;
  const auto number = [&](int64_t& value, std::string_view after) {
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (code != std::errc() || value < 0) return false;
    text.remove_prefix(static_cast<size_t>(end - text.data()));
    if (!text.starts_with(after)) return false;
    text.remove_prefix(after.size());
    return true;
  };
  const bool whole = number(range.first, "-") && number(range.last, "/") && number(range.total, "") && text.empty();
  return whole && range.first <= range.last && range.last < range.total ? std::optional(range) : std::nullopt;
}

// --- where a file's bytes are ---

// The hub says where; that place may be open to us for a while only, so it is asked again when it no longer is.
class Transfers::Source {
 public:
  Source(const HubSettings& settings, const Repository& repository, const RemoteFile& file)
      : settings_(settings), repository_(repository), file_(file) {}

  const RemoteFile& file() const { return file_; }
  WebAddress location(HttpClient& client) {
    const std::lock_guard lock(mutex_);
    if (!found_) look(client);
    return location_;
  }
  // That place refused us. Whether there is any use in asking the hub for another.
  bool lose(const WebAddress& place) {
    const std::lock_guard lock(mutex_);
    if (place.origin() == settings_.endpoint.origin() && place.text() == address().text()) return false;
    if (place.text() == location_.text()) found_ = false;
    return true;
  }
  Error changed(const std::string& what) const {
    return Error(fmt::format("{} is no longer the file that the hub listed", quote(file_.path)))
        .in(repository_.name)
        .because(what)
        .hint("it changed while it was fetched, or somebody answers in the hub's place; try again");
  }

 private:
  WebAddress address() const { return address_of(settings_.endpoint, repository_, file_); }
  void look(HttpClient& client) {
    const WebAnswer answer =
        client.ask_patiently({.address = address(), .head = true, .follow = false, .total_seconds = 120});
    if (!answer.ok() && !answer.redirects()) throw refusal_of(client, answer, repository_.name, quote(file_.path));
    const std::string commit = answer.header("x-repo-commit"), linked = answer.header("x-linked-etag"),
                      etag = bare_etag(linked.empty() ? answer.header("etag") : linked);
    if (commit.empty())
      throw Error("who answers is no hub: it names no commit")
          .in(answer.address.shown())
          .hint("does HF_ENDPOINT name a hub, and is there no proxy that answers in its place?");
    if (commit != repository_.commit) throw changed("it is of commit " + quote(commit));
    if (etag != file_.etag) throw changed(fmt::format("its ETag is {}, listed is {}", quote(etag), file_.etag));
    const std::string size =
        answer.header(answer.redirects() || !linked.empty() ? "x-linked-size" : "content-length");
    if (!size.empty() && size != std::to_string(file_.size))
      throw changed(fmt::format("it has {} bytes, listed are {}", quote(size), file_.size));
    location_ = answer.redirects() ? answer.address.joined(answer.header("location")) : answer.address;
    found_ = true;
  }

  const HubSettings& settings_;
  const Repository& repository_;
  const RemoteFile file_;
  std::mutex mutex_;
  bool found_ = false;
  WebAddress location_;
};

Transfers::Source& Transfers::source_of(const RemoteFile& file) {
  const std::lock_guard lock(mutex_);
  auto& source = sources_[file.path];
  if (!source) source = std::make_unique<Source>(settings_, repository_, file);
  return *source;
}

// --- side by side ---

Transfers::Transfers(const HubSettings& settings, const Repository& repository, int connections, Hooks hooks)
    : settings_(settings), repository_(repository), hooks_(std::move(hooks)) {
  for (int i = 0; i < connections; ++i)
    clients_.push_back(std::make_unique<HttpClient>(settings, [this] { return stop_ || hooks_.cancelled(); }));
}

Transfers::~Transfers() = default;

void Transfers::in_parallel(int64_t count, const std::function<void(HttpClient&, int64_t)>& work) {
  std::atomic<int64_t> next{0};
  std::mutex mutex;
  std::condition_variable ended;
  std::exception_ptr failure;
  const auto threads = static_cast<size_t>(std::min<int64_t>(count, static_cast<int64_t>(clients_.size())));
  size_t running = threads;
  stop_ = false;
  const auto run = [&](HttpClient& client) {
    std::exception_ptr thrown;
    try {
      for (int64_t i = next++; i < count && !stop_; i = next++) work(client, i);
    } catch (...) { thrown = std::current_exception(); }
    const std::lock_guard lock(mutex);
    if (thrown && !failure) failure = thrown, stop_ = true;
    --running;
    ended.notify_one();
  };
  std::vector<std::jthread> workers;
  workers.reserve(threads);
  for (size_t i = 0; i < threads; ++i) workers.emplace_back([&, i] { run(*clients_[i]); });
  for (std::unique_lock lock(mutex); running > 0;) {
    ended.wait_for(lock, std::chrono::milliseconds(100));
    lock.unlock();
    hooks_.tick();
    lock.lock();
  }
  workers.clear();
  stop_ = false;
  if (failure) std::rethrow_exception(failure);
}

// --- bytes ---

namespace {

// What an answer with a range must say of itself. Throws what to do about it otherwise.
template <typename NoRanges>
void check_range(const WebAnswer& answer, const ByteRange& asked, const RemoteFile& file) {
  if (answer.status == 200) {
    if (asked.first == 0 && asked.size == file.size) return;
    throw NoRanges();
  }
  const auto range = ContentRange::parse(answer.header("content-range"));
  if (!range || range->first != asked.first || range->last >= asked.first + asked.size || range->total != file.size)
    throw WebFailure(
        Error(fmt::format("another part of {} came than was asked for", quote(file.path)))
            .in(answer.address.shown())
            .because(fmt::format("asked for bytes {}-{} of {}, Content-Range is {}", asked.first,
                                 asked.first + asked.size - 1, file.size, quote(answer.header("content-range")))),
        false);
}

WebFailure cut_off(const WebAnswer& answer) {
  return {Error("the answer ended before all bytes were there").in(answer.address.shown()), true};
}

bool is_closed(int status) { return status == 401 || status == 403 || status == 404 || status == 410; }

WebFailure refused_part(const WebAnswer& answer, const RemoteFile& file) {
  if (answer.status != 416) return failure_of(answer);
  return {Error(fmt::format("the server has less of {} than the hub listed", quote(file.path)))
              .in(answer.address.shown())
              .because(fmt::format("it refuses a part within {} bytes (status 416)", file.size)),
          false};
}

}  // namespace

std::string Transfers::read(HttpClient& client, const RemoteFile& file, ByteRange range) {
  range.size = std::min(range.size, file.size - range.first);
  if (range.size <= 0) return {};
  Source& source = source_of(file);
  Patience patience(client);
  for (;;) try {
      const WebAddress place = source.location(client);
      std::string bytes;
      const WebAnswer answer =
          client.ask({.address = place,
                      .range = range,
                      .limit_bytes = range.size,
                      .begin = [&](const WebAnswer& begun) { check_range<NoRanges>(begun, range, file); },
                      .sink =
                          [&](std::span<const std::byte> more) {
                            bytes.append(reinterpret_cast<const char*>(more.data()), more.size());
                          }});
      if (answer.ok() && static_cast<int64_t>(bytes.size()) == range.size) return bytes;
      if (answer.ok()) throw cut_off(answer);
      if (is_closed(answer.status) && source.lose(place)) throw WebFailure(failure_of(answer), true);
      throw refused_part(answer, file);
    } catch (const NoRanges&) {
      throw Error(fmt::format("the server gives {} only as a whole", quote(file.path)))
          .in(repository_.name)
          .because("it does not know ranges of bytes, so that nothing can be told from a beginning alone")
          .hint("--anyway fetches it without looking first");
    } catch (const WebFailure& failure) { patience.wait(failure); }
}

void Transfers::fetch_piece(HttpClient& client, Source& source, PieceFile& pieces, int64_t piece) {
  const ByteRange all = pieces.range(piece);
  Patience patience(client);
  for (int64_t done = 0; done < all.size;) try {
      const ByteRange rest{all.first + done, all.size - done};
      const int64_t before = done;
      const WebAddress place = source.location(client);
      const WebAnswer answer =
          client.ask({.address = place,
                      .range = rest,
                      .limit_bytes = rest.size,
                      .begin = [&](const WebAnswer& begun) { check_range<NoRanges>(begun, rest, source.file()); },
                      .sink =
                          [&](std::span<const std::byte> bytes) {
                            pieces.write(all.first + done, bytes);
                            done += static_cast<int64_t>(bytes.size());
                            hooks_.came(static_cast<int64_t>(bytes.size()));
                            patience.renew();
                          }});
      if (answer.ok() && done > before) continue;  // all of it, or as much as the server gives at once
      if (answer.ok()) throw cut_off(answer);
      if (is_closed(answer.status) && source.lose(place)) throw WebFailure(failure_of(answer), true);
      throw refused_part(answer, source.file());
    } catch (const WebFailure& failure) { patience.wait(failure); }
  pieces.mark(piece);
}

// From a server that knows no ranges: all in one, and from the beginning where it is cut.
void Transfers::fetch_stream(HttpClient& client, Source& source, PieceFile& pieces) {
  const RemoteFile& file = source.file();
  Patience patience(client);
  int64_t done = 0;
  while (done < file.size) try {
      hooks_.came(-done);
      done = 0;
      const WebAddress place = source.location(client);
      const WebAnswer answer =
          client.ask({.address = place, .limit_bytes = file.size, .sink = [&](std::span<const std::byte> bytes) {
                        pieces.write(done, bytes);
                        done += static_cast<int64_t>(bytes.size());
                        hooks_.came(static_cast<int64_t>(bytes.size()));
                      }});
      if (!answer.ok()) {
        if (is_closed(answer.status) && source.lose(place)) throw WebFailure(failure_of(answer), true);
        throw failure_of(answer);
      }
      if (done < file.size) throw cut_off(answer);
    } catch (const WebFailure& failure) { patience.wait(failure); }
  for (int64_t piece = 0; piece < pieces.pieces(); ++piece) pieces.mark(piece);
}

void Transfers::fetch(const RemoteFile& file, PieceFile& pieces) {
  std::vector<int64_t> wanted;
  for (int64_t piece = 0; piece < pieces.pieces(); ++piece)
    if (!pieces.has(piece)) wanted.push_back(piece);
  try {
    in_parallel(static_cast<int64_t>(wanted.size()), [&](HttpClient& client, int64_t i) {
      fetch_piece(client, source_of(file), pieces, wanted[static_cast<size_t>(i)]);
    });
  } catch (const NoRanges&) {
    hooks_.came(-pieces.bytes_there());
    in_parallel(1, [&](HttpClient& client, int64_t) { fetch_stream(client, source_of(file), pieces); });
  }
}

}  // namespace cachalot
