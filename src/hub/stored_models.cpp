#include "hub/stored_models.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/error.h"
#include "base/quote.h"
#include "formats/checkpoint.h"
#include "formats/foreign.h"
#include "hub/store.h"
#include "load/find_model.h"
#include "load/gguf_names.h"
#include "model/family.h"
#include "model/gguf_config.h"

namespace cachalot {

namespace fs = std::filesystem;

namespace {

// All files below a folder, links among them, by their paths in it.
std::vector<fs::path> files_below(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code code;
  for (fs::recursive_directory_iterator entry(folder, code), end; !code && entry != end; entry.increment(code))
    if (entry->is_symlink(code) || entry->is_regular_file(code))
      files.push_back(entry->path().lexically_relative(folder));
  std::sort(files.begin(), files.end());
  return files;
}

std::vector<fs::path> folders_in(const fs::path& folder) {
  std::vector<fs::path> folders;
  std::error_code code;
  for (fs::directory_iterator entry(folder, code), end; !code && entry != end; entry.increment(code))
    if (entry->is_directory(code) && !entry->path().filename().string().starts_with(".")) folders.push_back(*entry);
  std::sort(folders.begin(), folders.end());
  return folders;
}

bool is_weights(const fs::path& file) { return file.extension() == ".gguf" || file.extension() == ".safetensors"; }

// Adds what the files take, and when the last of them was read.
void measure(StoredModel& model, const std::vector<fs::path>& files) {
  for (const fs::path& file : files) {
    struct stat known = {};
    if (stat(file.c_str(), &known) != 0) continue;
    model.bytes += known.st_size;
    if (is_weights(file)) model.last_use = std::max<int64_t>(model.last_use.value_or(0), known.st_atime);
  }
}

// What the headers say; a model that cannot be opened says why.
void look_inside(StoredModel& model) {
  if (!model.whole()) return;
  try {
    const Checkpoint checkpoint = Checkpoint::open(model.path);
    std::map<std::string_view, int64_t> bytes_of_type;
    for (const StoredTensor& tensor : checkpoint.tensors())
      bytes_of_type[tensor.type_name()] += tensor.stored_bytes();
    int64_t most = 0;
    for (const auto& [type, bytes] : bytes_of_type)
      if (bytes > most) most = bytes, model.type = type;
    model.family = family_of(model_config(checkpoint)).name;
  } catch (const Error& error) {
    if (model.type.empty()) model.missing = std::string(error.what()).substr(0, std::string(error.what()).find('\n'));
  }
}

void add_folder(std::vector<StoredModel>& models, const fs::path& folder, StoredModel::Place place) {
  std::error_code code;
  std::vector<fs::path> entries;
  for (fs::directory_iterator entry(folder, code), end; !code && entry != end; entry.increment(code)) {
    const bool is_model = entry->is_directory(code)
                              ? fs::exists(entry->path() / "config.json", code)
                              : entry->path().extension() == ".gguf" && is_gguf_model(entry->path().filename());
    if (is_model) entries.push_back(entry->path());
  }
  std::sort(entries.begin(), entries.end());
  for (const fs::path& entry : entries) {
    StoredModel model{.name = entry.filename().string(), .place = place, .path = fs::weakly_canonical(entry, code)};
    const auto known = [&](const StoredModel& other) { return other.path == model.path || other.name == model.name; };
    if (std::any_of(models.begin(), models.end(), known)) continue;  // its name stands for the other
    std::vector<fs::path> files;
    if (fs::is_directory(entry, code))
      for (const fs::path& file : files_below(entry)) files.push_back(entry / file);
    else
      files = gguf_files_of(entry);
    measure(model, files);
    look_inside(model);
    models.push_back(std::move(model));
  }
}

// "models--OWNER--NAME" → "OWNER/NAME"; none for other folders.
std::optional<std::string> repo_of(const fs::path& folder) {
  constexpr std::string_view kind = "models--";
  std::string name = folder.filename().string();
  if (!name.starts_with(kind)) return std::nullopt;
  name.erase(0, kind.size());
  if (const size_t dashes = name.find("--"); dashes != name.npos) name.replace(dashes, 2, "/");
  const auto parsed = HubName::parse(name);
  return parsed && parsed->repo == name ? std::optional(name) : std::nullopt;
}

// How a snapshot is told from the others of its repository.
std::string revision_mark(const std::map<std::string, std::string>& refs, const std::string& commit, bool only) {
  const auto main = refs.find("main");
  if (main != refs.end() ? main->second == commit : only) return "";
  for (const auto& [revision, at] : refs)
    if (at == commit) return "@" + revision;
  return "@" + commit;
}

void add_snapshot(std::vector<StoredModel>& models, const fs::path& snapshot, const std::string& name) {
  std::error_code code;
  const auto files = files_below(snapshot);
  const auto is_tensors = [](const fs::path& file) { return file.extension() == ".safetensors"; };
  std::vector<StoredModel> found;
  std::map<std::string, int> of_type;
  for (const fs::path& file : files)
    if (file.extension() == ".gguf" && is_gguf_model(file)) ++of_type[gguf_type_in(file)];
  for (const fs::path& file : files) {
    if (file.extension() != ".gguf" || !is_gguf_model(file)) continue;
    const std::string type = gguf_type_in(file);
    StoredModel model{.name = name + ":" + (type.empty() || of_type[type] > 1 ? file.string() : type),
                      .place = StoredModel::Place::hub,
                      .path = snapshot / file};
    const auto shards = gguf_files_of(model.path);
    for (const fs::path& shard : shards)
      if (!fs::exists(shard, code)) model.missing = quote(shard.filename().string()) + " is not there";
    measure(model, shards);
    found.push_back(std::move(model));
  }
  if (found.empty() ||
      (fs::exists(snapshot / "config.json", code) && std::any_of(files.begin(), files.end(), is_tensors))) {
    StoredModel model{.name = name, .place = StoredModel::Place::hub, .path = snapshot};
    std::vector<fs::path> own;
    for (const fs::path& file : files)
      if (file.extension() != ".gguf") own.push_back(snapshot / file);
    model.missing = missing_from_snapshot(snapshot);
    measure(model, own);
    found.push_back(std::move(model));
  }
  for (StoredModel& model : found) {
    look_inside(model);
    models.push_back(std::move(model));
  }
}

int64_t allocated_bytes(const fs::path& file) {
  struct stat known = {};
  return lstat(file.c_str(), &known) == 0 ? int64_t{512} * known.st_blocks : 0;
}

// What was fetched of blobs that are not whole yet.
std::vector<fs::path> unfinished_blobs(const fs::path& repository) {
  std::vector<fs::path> files;
  std::error_code code;
  for (fs::directory_iterator entry(repository / "blobs", code), end; !code && entry != end; entry.increment(code))
    if (entry->path().extension() == ".incomplete") files.push_back(entry->path());
  return files;
}

void add_repository(std::vector<StoredModel>& models, const fs::path& folder, const std::string& repo) {
  const auto snapshots = folders_in(folder / "snapshots");
  const auto refs = hub_refs(folder);
  const size_t before = models.size();
  for (const fs::path& snapshot : snapshots)
    if (!files_below(snapshot).empty())
      add_snapshot(models, snapshot, repo + revision_mark(refs, snapshot.filename().string(), snapshots.size() == 1));
  const auto unfinished = unfinished_blobs(folder);
  if (models.size() > before || unfinished.empty()) return;
  StoredModel model{.name = repo, .place = StoredModel::Place::hub, .path = folder};
  model.missing = "its download is not finished";
  for (const fs::path& file : unfinished) model.bytes += allocated_bytes(file);
  models.push_back(std::move(model));
}

}  // namespace

const char* name(StoredModel::Place place) {
  switch (place) {
    case StoredModel::Place::shipped: return "shipped";
    case StoredModel::Place::own: return "CACHALOT_MODELS";
    case StoredModel::Place::hub: return "hub cache";
  }
  return "";
}

std::vector<StoredModel> stored_models() {
  std::vector<StoredModel> models;
  const ModelFolders folders = model_folders();
  for (const fs::path& folder : folders.shipped) add_folder(models, folder, StoredModel::Place::shipped);
  for (const fs::path& folder : folders.own) add_folder(models, folder, StoredModel::Place::own);
  for (const fs::path& folder : folders_in(hub_cache_folder()))
    if (const auto repo = repo_of(folder)) add_repository(models, folder, *repo);
  return models;
}

// --- removing ---

namespace {

// Of the files of a snapshot those that a name stands for. Where no weights would be left, all of them.
std::vector<fs::path> meant_files(const fs::path& snapshot, const std::optional<std::string>& type) {
  auto files = files_below(snapshot);
  if (!type) return files;
  std::vector<fs::path> meant;
  for (const fs::path& model : files) {
    if (model.extension() != ".gguf" || !is_gguf_model(model) || !is_gguf_of(model, *type)) continue;
    for (const fs::path& file : gguf_files_of(model))
      if (std::binary_search(files.begin(), files.end(), file)) meant.push_back(file);
  }
  const auto stays = [&](const fs::path& file) {
    return is_weights(file) && std::find(meant.begin(), meant.end(), file) == meant.end();
  };
  return meant.empty() || std::any_of(files.begin(), files.end(), stays) ? meant : files;
}

// The blob that a file of a snapshot is a link to; none where it is the bytes itself, or leads out of the cache.
std::optional<fs::path> blob_of(const fs::path& repository, const fs::path& file) {
  std::error_code code;
  if (!fs::is_symlink(file, code)) return std::nullopt;
  const fs::path target = (file.parent_path() / fs::read_symlink(file, code)).lexically_normal();
  return target.parent_path() == (repository / "blobs").lexically_normal() ? std::optional(target) : std::nullopt;
}

}  // namespace

Removal plan_removal(const HubName& name) {
  const fs::path repository = hub_repository(hub_cache_folder(), name.repo);
  const auto snapshots = folders_in(repository / "snapshots");
  std::optional<fs::path> only;
  if (name.revision) only = hub_snapshot(repository, name.revision);
  Removal removal;
  std::set<fs::path> blobs;
  std::map<fs::path, std::string> users;  // of blobs, among what stays
  for (const fs::path& snapshot : snapshots) {
    const std::string commit = snapshot.filename().string();
    const auto meant = !only || *only == snapshot ? meant_files(snapshot, name.type) : std::vector<fs::path>();
    const auto files = files_below(snapshot);
    for (const fs::path& file : files) {
      const auto blob = blob_of(repository, snapshot / file);
      const bool goes = std::find(meant.begin(), meant.end(), file) != meant.end();
      if (goes && blob) blobs.insert(*blob);
      if (!goes && blob) users[*blob] = commit;
      if (goes) removal.files.push_back(snapshot / file);
      if (goes && !blob) removal.bytes += allocated_bytes(snapshot / file);
    }
    if (!meant.empty() && meant.size() == files.size())
      for (const auto& [revision, at] : hub_refs(repository))
        if (at == commit) removal.revisions.push_back(revision);
  }
  std::map<std::string, int> kept;  // blobs, by who uses them
  for (const fs::path& blob : blobs) {
    if (const auto user = users.find(blob); user != users.end()) {
      ++kept[user->second];
    } else {
      removal.blobs.push_back(blob);
    }
  }
  for (const auto& [commit, count] : kept)
    removal.stays.push_back(
        fmt::format("{} of its files stay, since snapshot {} has them, too", count, commit.substr(0, 12)));
  if (!name.revision && !name.type)
    for (const fs::path& file : unfinished_blobs(repository)) removal.blobs.push_back(file);
  for (const fs::path& blob : removal.blobs) {
    struct stat known = {};
    removal.bytes += allocated_bytes(blob);
    if (lstat(blob.c_str(), &known) == 0 && known.st_nlink > 1)
      removal.stays.push_back(
          fmt::format("{} has other names outside the cache, which keep its bytes", blob.filename().string()));
  }
  if (removal.files.empty() && removal.blobs.empty())
    throw Error(fmt::format("there is no such model in the cache of the hub: {}", quote(name.repo)))
        .in(repository.string())
        .hint("`cachalot list` shows what is there; only models of that cache are removed");
  return removal;
}

void remove_model(const HubName& name, const Removal& removal) {
  const fs::path cache = hub_cache_folder(), repository = hub_repository(cache, name.repo);
  const fs::path locks = cache / ".locks" / repository.filename();
  std::error_code code;
  std::vector<FileLock> held;
  for (const fs::path& blob : removal.blobs) {
    const std::string file = blob.filename().string();
    const fs::path lock = locks / (file.substr(0, file.find('.')) + ".lock");
    if (!fs::exists(lock, code)) continue;
    auto taken = FileLock::try_take(lock);
    if (!taken)
      throw Error(fmt::format("{} is being fetched by another process", quote(name.repo))).in(blob.string());
    held.push_back(std::move(*taken));
  }
  const auto remove = [&](const fs::path& path) {
    fs::remove(path, code);
    if (code) throw Error("the file cannot be removed").in(path.string()).because(code.message());
  };
  for (const std::string& revision : removal.revisions) remove(repository / "refs" / revision);
  for (const fs::path& file : removal.files) {
    remove(file);
    // Folders that are empty now, up to the snapshot itself.
    for (fs::path folder = file.parent_path(); folder != repository / "snapshots"; folder = folder.parent_path())
      if (!fs::is_empty(folder, code) || !fs::remove(folder, code)) break;
  }
  for (const fs::path& blob : removal.blobs) remove(blob);
  if (folders_in(repository / "snapshots").empty() && fs::is_empty(repository / "blobs", code))
    fs::remove_all(repository, code);
}

}  // namespace cachalot
