#include "hub/pull.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "base/error.h"
#include "base/mapped_file.h"
#include "base/quote.h"
#include "hub/header_extent.h"
#include "hub/piece_file.h"

namespace cachalot {

namespace fs = std::filesystem;

namespace {

constexpr int64_t kFirstLook = int64_t{1} << 20, kMostExtent = int64_t{1} << 30;
constexpr std::string_view kIndex = "model.safetensors.index.json";

Repository repository_at(const HubSettings& settings, const HubName& name, const std::function<bool()>& cancelled) {
  HttpClient client(settings, cancelled);
  return list_repository(client, name);
}

[[noreturn]] void wrong_checksum(const RemoteFile& file, const Repository& repository) {
  throw Error(fmt::format("what came of {} is not what the hub listed: its checksum is another", quote(file.path)))
      .in(repository.name)
      .because(fmt::format("{} {} was expected", file.large ? "SHA-256" : "git's SHA-1", file.etag))
      .hint("nothing of it is kept; give the same command again, and if that helps not, report it to the hub");
}

std::string bytes_text(int64_t bytes) { return fmt::format("{:.2f} GB", static_cast<double>(bytes) / 1e9); }

}  // namespace

// A folder that goes away.
class Pull::Folder {
 public:
  Folder() {
    std::string name = (fs::temp_directory_path() / "cachalot-XXXXXX").string();
    if (!mkdtemp(name.data()))
      throw Error("a temporary folder cannot be made").in(name).because(std::strerror(errno)).hint("see TMPDIR");
    path_ = name;
  }
  ~Folder() {
    std::error_code code;
    fs::remove_all(path_, code);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

Pull::Pull(const HubSettings& settings, const HubName& name, Listener listener, int connections)
    : listener_(std::move(listener)),
      settings_(settings),
      repository_(repository_at(settings_, name, listener_.cancelled)),
      store_(hub_cache_folder(), repository_.name, settings_.links) {
  Transfers::Hooks hooks;
  hooks.cancelled = listener_.cancelled;
  hooks.came = [this](int64_t bytes) { done_ += bytes; };
  hooks.tick = [this] {
    if (total_ > 0) listener_.progress(std::min<int64_t>(done_, total_), total_);
  };
  transfers_ = std::make_unique<Transfers>(settings_, repository_, connections, std::move(hooks));
}

Pull::~Pull() = default;

void Pull::select(const GgufChoice* choice) {
  selection_ = choice ? select_gguf(repository_, *choice) : select_safetensors(repository_);
  folder_.reset();
  looked_.clear();
}

fs::path Pull::in(const fs::path& folder) const {
  return selection_.model.empty() ? folder : folder / selection_.model;
}

std::vector<RemoteFile> Pull::all_files() const {
  std::vector<RemoteFile> files = selection_.others;
  files.insert(files.end(), selection_.weights.begin(), selection_.weights.end());
  return files;
}

fs::path Pull::incomplete(const RemoteFile& file) const {
  return store_.blob(file).string() + ".cachalot.incomplete";
}

// --- looking before ---

fs::path Pull::look() {
  folder_ = std::make_unique<Folder>();
  take_words(folder_->path());
  look_at_weights(folder_->path());
  return in(folder_->path());
}

// Makes room for a file in the temporary folder. Whether it is here already, and a link to it does.
bool Pull::linked(const RemoteFile& file, const fs::path& place) const {
  std::error_code code;
  fs::create_directories(place.parent_path(), code);
  const auto here = store_.find(repository_.commit, file);
  if (!code && here) fs::create_symlink(fs::absolute(*here), place, code);
  if (code)
    throw Error("a temporary file cannot be made").in(place.string()).because(code.message()).hint("see TMPDIR");
  return here.has_value();
}

// What is small, whole.
void Pull::take_words(const fs::path& folder) {
  for (const RemoteFile& file : selection_.others) {
    const fs::path place = folder / file.path;
    if (!linked(file, place)) {
      PieceFile pieces(place, file.size);
      transfers_->fetch(file, pieces);
      if (!pieces.is_right(file, [](int64_t) {})) wrong_checksum(file, repository_);
      pieces.finish();
      looked_[file.path] = place;
    }
    if (file.path == kIndex && selection_.indexed) keep_indexed(selection_, place, repository_);
  }
  selection_.indexed = false;
}

void Pull::look_at_weights(const fs::path& folder) {
  std::vector<RemoteFile> files;
  for (const RemoteFile& file : selection_.weights)
    if (!linked(file, folder / file.path)) files.push_back(file);
  transfers_->in_parallel(static_cast<int64_t>(files.size()), [&](HttpClient& client, int64_t i) {
    const RemoteFile& file = files[static_cast<size_t>(i)];
    take_headers(client, file, folder / file.path);
  });
}

// A sparse file of the true length.
void Pull::take_headers(HttpClient& client, const RemoteFile& file, const fs::path& place) {
  const auto extent = file.path.ends_with(".gguf") ? gguf_header_bytes : safetensors_header_bytes;
  std::string bytes = transfers_->read(client, file, {0, kFirstLook});
  for (auto end = extent(bytes); !end || *end > static_cast<int64_t>(bytes.size()); end = extent(bytes)) {
    const auto have = static_cast<int64_t>(bytes.size());
    if (have == file.size) break;  // the parser says what it lacks
    if (have >= kMostExtent)
      throw Error(fmt::format("the header of {} is longer than that of any model", quote(file.path)))
          .in(repository_.name);
    bytes += transfers_->read(client, file, {have, end ? *end - have : have});
  }
  std::ofstream out(place, std::ios::binary);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  out.close();
  std::error_code code;
  if (out) fs::resize_file(place, static_cast<uintmax_t>(file.size), code);
  if (!out || code)
    throw Error("a temporary file cannot be written")
        .in(place.string())
        .because(std::strerror(errno))
        .hint("see TMPDIR");
}

// --- fetching ---

int64_t Pull::missing_bytes() const {
  int64_t bytes = 0;
  for (const RemoteFile& file : all_files())
    if (!store_.find(repository_.commit, file)) bytes += file.size;
  return bytes;
}

void Pull::check_room() const {
  int64_t needed = missing_bytes();
  for (const RemoteFile& file : all_files())
    if (!store_.find(repository_.commit, file)) needed -= PieceFile::bytes_there(incomplete(file), file.size);
  if (const int64_t room = store_.free_bytes(); needed > room)
    throw Error(
        fmt::format("{} are to be written, and the disk has room for {}", bytes_text(needed), bytes_text(room)))
        .in(store_.folder().string())
        .hint("`cachalot list` says what is there and `cachalot rm` frees it; HF_HUB_CACHE names another folder");
}

// Whichever process has the lock makes the blob; the others find it then.
void Pull::fetch_file(const RemoteFile& file) {
  bool first = true;
  const FileLock lock = store_.lock(file, [&] {
    if (listener_.cancelled()) throw Cancelled();
    listener_.waits(file, first);
    first = false;
  });
  if (const auto here = store_.find(repository_.commit, file)) {
    done_ += file.size;
    if (*here == store_.blob(file)) store_.link(repository_.commit, file, /*fresh=*/false);
    return;
  }
  const fs::path path = incomplete(file);
  PieceFile pieces(path, file.size);
  if (const auto looked = looked_.find(file.path); looked != looked_.end()) {
    const MappedFile bytes(looked->second);
    pieces.write(0, bytes.bytes());
    for (int64_t piece = 0; piece < pieces.pieces(); ++piece) pieces.mark(piece);
  }
  done_ += pieces.bytes_there();
  transfers_->fetch(file, pieces);
  if (!pieces.is_right(file, [&](int64_t) {
        if (listener_.cancelled()) throw Cancelled();
        listener_.progress(std::min<int64_t>(done_, total_), total_);
      })) {
    pieces.remove();
    wrong_checksum(file, repository_);
  }
  pieces.finish();
  store_.keep_blob(path, file);
  store_.link(repository_.commit, file, /*fresh=*/true);
}

fs::path Pull::fetch() {
  if (selection_.indexed) keep_index();
  total_ = bytes(), done_ = 0;
  const std::vector<RemoteFile> files = all_files();
  const bool there = std::all_of(files.begin(), files.end(), [&](const RemoteFile& file) {
    std::error_code code;
    const fs::path place = store_.place(repository_.commit, file);
    return fs::is_regular_file(place, code) && static_cast<int64_t>(fs::file_size(place, code)) == file.size;
  });
  if (!there) {
    store_.prepare();
    check_room();
  }
  for (const RemoteFile& file : files) {
    if (!there) fetch_file(file);
    listener_.has(file);
  }
  try {
    store_.write_ref(repository_.revision, repository_.commit);
  } catch (const Error&) {
    if (!there) throw;  // a cache that is only read may hold all that is wanted
  }
  return in(store_.snapshot(repository_.commit));
}

// The index says which of the weights are wanted; without look() it is not here yet.
void Pull::keep_index() {
  for (const RemoteFile& file : selection_.others)
    if (file.path == kIndex) {
      store_.prepare();
      fetch_file(file);
      keep_indexed(selection_, store_.place(repository_.commit, file), repository_);
    }
  selection_.indexed = false;
}

}  // namespace cachalot
