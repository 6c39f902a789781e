#include "load/hub_cache.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <set>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "base/mapped_file.h"
#include "base/quote.h"
#include "formats/foreign.h"
#include "formats/safetensors/file.h"
#include "load/gguf_names.h"

namespace cachalot {

namespace fs = std::filesystem;

// --- where the cache is, by Python's rules for ~ and $NAME, which the client applies ---

static std::string home_of(const passwd* entry) { return entry ? entry->pw_dir : ""; }

// "~/x" and "~user/x"; as it is where there is no such user.
static std::string with_home(std::string path) {
  if (!path.starts_with('~')) return path;
  const size_t end = std::min(path.find('/'), path.size());
  const char* own = std::getenv("HOME");
  std::string home = end > 1 ? home_of(getpwnam(path.substr(1, end - 1).c_str()))
                     : own   ? own
                             : home_of(getpwuid(getuid()));
  if (home.empty() && !(own && end == 1)) return path;
  while (home.ends_with('/')) home.pop_back();
  home += path.substr(end);
  return home.empty() ? "/" : home;
}

// $NAME and ${NAME}; as they are where there is no such variable. What is put in is not looked at again.
static std::string with_variables(std::string_view path) {
  const auto of_name = [](char c) { return c == '_' || std::isalnum(static_cast<unsigned char>(c)); };
  std::string result;
  for (size_t i = 0; i < path.size();) {
    size_t end = i + 1;
    std::string name;
    if (path[i] == '$' && path.substr(i + 1).starts_with('{')) {
      if (const size_t close = path.find('}', i); close != path.npos) {
        name = path.substr(i + 2, close - i - 2);
        end = close + 1;
      }
    } else if (path[i] == '$') {
      while (end < path.size() && of_name(path[end])) ++end;
      name = path.substr(i + 1, end - i - 1);
    }
    const char* value = name.empty() ? nullptr : std::getenv(name.c_str());
    result += value ? std::string_view(value) : path.substr(i, end - i);
    i = end;
  }
  return result;
}

static std::string variable_or(const char* name, const std::string& fallback) {
  const char* value = std::getenv(name);
  return value ? value : fallback;
}

static fs::path hub_home_folder() {
  const fs::path caches = variable_or("XDG_CACHE_HOME", fs::path(with_home("~")) / ".cache");
  return with_variables(with_home(variable_or("HF_HOME", caches / "huggingface")));
}

fs::path hub_cache_folder() {
  const std::string own = hub_home_folder() / "hub";
  return with_variables(with_home(variable_or("HF_HUB_CACHE", variable_or("HUGGINGFACE_HUB_CACHE", own))));
}

fs::path hub_token_file() {
  return with_variables(with_home(variable_or("HF_TOKEN_PATH", hub_home_folder() / "token")));
}

// --- names ---

// One part of a repository's name.
static bool is_repo_part(std::string_view part) {
  const auto word = [](char c) { return c == '_' || std::isalnum(static_cast<unsigned char>(c)); };
  return !part.empty() && part.size() <= 96 && word(part.front()) && word(part.back()) &&
         std::all_of(part.begin(), part.end(), [&](char c) { return word(c) || c == '-' || c == '.'; });
}

static bool is_repo(std::string_view repo) {
  const size_t slash = repo.find('/');
  const bool parts = slash == repo.npos ? is_repo_part(repo)
                                        : is_repo_part(repo.substr(0, slash)) && is_repo_part(repo.substr(slash + 1));
  return parts && repo.find("--") == repo.npos && repo.find("..") == repo.npos && !repo.ends_with(".git");
}

// A path below refs/: no part may lead elsewhere.
static bool is_revision(std::string_view revision) {
  const fs::path path = revision;
  return !revision.empty() && revision.find('\0') == revision.npos && path.is_relative() && path.has_filename() &&
         std::none_of(path.begin(), path.end(), [](const fs::path& p) { return p == ".." || p == "."; });
}

std::optional<HubName> HubName::parse(std::string_view text) {
  HubName name;
  if (const size_t colon = text.rfind(':'); colon != text.npos) {
    name.type = text.substr(colon + 1);
    text = text.substr(0, colon);
    if (name.type->empty()) return std::nullopt;
  }
  if (const size_t at = text.find('@'); at != text.npos) {
    name.revision = text.substr(at + 1);
    text = text.substr(0, at);
    if (!is_revision(*name.revision)) return std::nullopt;
  }
  name.repo = text;
  return is_repo(name.repo) ? std::optional(name) : std::nullopt;
}

fs::path hub_repository(const fs::path& cache, std::string_view repo) {
  std::string folder = "models--" + std::string(repo);
  if (const size_t slash = folder.find('/'); slash != std::string::npos) folder.replace(slash, 1, "--");
  return cache / folder;
}

bool is_in_hub_cache(const fs::path& path) {
  const fs::path inside = path.lexically_normal().lexically_relative(hub_cache_folder().lexically_normal());
  return !inside.empty() && *inside.begin() != ".." && *inside.begin() != ".";
}

bool is_hub_repository(const fs::path& folder) {
  std::error_code code;
  return fs::is_directory(folder / "snapshots", code) &&
         (fs::is_directory(folder / "refs", code) || fs::is_directory(folder / "blobs", code));
}

// --- snapshots ---

std::vector<fs::path> gguf_files(const fs::path& snapshot) {
  std::vector<fs::path> files;
  std::error_code code;
  for (fs::recursive_directory_iterator entry(snapshot, code), end; !code && entry != end; entry.increment(code)) {
    const std::string name = entry->path().filename().string();
    if (entry.depth() > 2) entry.disable_recursion_pending();
    if (name.ends_with(".gguf") && !name.starts_with("._"))
      files.push_back(entry->path().lexically_relative(snapshot));
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::string missing_from_snapshot(const fs::path& snapshot) {
  std::error_code code;
  for (const std::string& name : names_in(snapshot))
    if (fs::is_symlink(snapshot / name, code) && !fs::exists(snapshot / name, code))
      return fmt::format("{} leads to a file that is not there", quote(name));
  if (!fs::exists(snapshot / "config.json", code))
    return gguf_files(snapshot).empty() ? "there is no config.json" : "";
  try {
    find_safetensors(snapshot);
    return "";
  } catch (const Error&) {}
  // Said in few words here; whoever opens it hears the whole.
  return fs::exists(snapshot / "model.safetensors.index.json", code) ? "shards are missing" : "there are no weights";
}

namespace {

struct Snapshot {
  fs::path path;
  std::string missing;
};

// The newest first.
std::vector<Snapshot> snapshots_of(const fs::path& repository) {
  std::vector<std::pair<fs::file_time_type, fs::path>> found;
  std::error_code code;
  for (fs::directory_iterator entry(repository / "snapshots", code), end; !code && entry != end;
       entry.increment(code))
    if (entry->is_directory(code) && !entry->path().filename().string().starts_with("."))
      found.emplace_back(fs::last_write_time(entry->path(), code), entry->path());
  std::sort(found.rbegin(), found.rend());
  std::vector<Snapshot> snapshots;
  for (const auto& [time, path] : found) snapshots.push_back({path, missing_from_snapshot(path)});
  return snapshots;
}

// The commit that a branch or tag was at, when it was fetched; none where the cache does not know it.
std::optional<std::string> commit_of(const fs::path& repository, std::string_view revision) {
  std::error_code code;
  const fs::path ref = repository / "refs" / revision;
  if (!fs::is_regular_file(ref, code)) return std::nullopt;
  std::string commit = read_text_file(ref, 4096);
  while (!commit.empty() && std::isspace(static_cast<unsigned char>(commit.back()))) commit.pop_back();
  return commit;
}

// All that may stand behind @.
std::string revisions_text(const fs::path& repository) {
  std::vector<std::string> known;
  for (const auto& [revision, commit] : hub_refs(repository)) known.push_back(quote(revision));
  for (const Snapshot& s : snapshots_of(repository)) known.push_back(quote(s.path.filename().string()));
  return fmt::format("{}", fmt::join(known, ", "));
}

fs::path snapshot_at(const fs::path& repository, const std::string& revision) {
  std::error_code code;
  const std::string commit = commit_of(repository, revision).value_or(revision);
  const fs::path snapshot = repository / "snapshots" / commit;
  if (is_revision(commit) && commit.find('/') == commit.npos && fs::is_directory(snapshot, code)) return snapshot;
  throw Error(fmt::format("the cache has no revision {} of this repository", quote(revision)))
      .in(repository.string())
      .because("it has " + revisions_text(repository))
      .hint("give one of them (commits whole), or fetch the other");
}

std::string short_name(const fs::path& snapshot) { return snapshot.filename().string().substr(0, 12); }

}  // namespace

std::map<std::string, std::string> hub_refs(const fs::path& repository) {
  std::map<std::string, std::string> refs;
  std::error_code code;
  for (fs::recursive_directory_iterator entry(repository / "refs", code), end; !code && entry != end;
       entry.increment(code)) {
    const std::string revision = entry->path().lexically_relative(repository / "refs").string();
    if (entry->is_regular_file(code)) refs[revision] = commit_of(repository, revision).value_or("");
  }
  return refs;
}

std::optional<fs::path> hub_snapshot(const fs::path& repository, const std::optional<std::string>& revision) {
  const auto snapshots = snapshots_of(repository);
  if (snapshots.empty()) return std::nullopt;
  if (revision) return snapshot_at(repository, *revision);
  const auto commit = commit_of(repository, "main");
  const auto of_main = std::find_if(snapshots.begin(), snapshots.end(),
                                    [&](const Snapshot& s) { return s.path.filename() == commit.value_or(""); });
  if (of_main != snapshots.end() && of_main->missing.empty()) return of_main->path;
  const auto complete =
      std::find_if(snapshots.begin(), snapshots.end(), [](const Snapshot& s) { return s.missing.empty(); });
  const std::string where = repository.filename().string();
  if (complete == snapshots.end()) {
    const Snapshot& taken = of_main != snapshots.end() ? *of_main : snapshots.front();
    note("{}: the snapshot {} is not complete: {}", where, short_name(taken.path), taken.missing);
    return taken.path;
  }
  if (of_main != snapshots.end())
    note("{}: main's snapshot {} is not complete ({}); taken is {}, which is", where, short_name(of_main->path),
         of_main->missing, short_name(complete->path));
  else if (commit)
    note("{}: main's snapshot {} is not there; taken is {}", where, commit->substr(0, 12),
         short_name(complete->path));
  else if (snapshots.size() > 1)
    note("{}: nothing says which snapshot is main's; taken is the newest that is complete, {}", where,
         short_name(complete->path));
  return complete->path;
}

// --- one of several GGUF files ---

namespace {

std::string choices_text(const std::vector<fs::path>& files) {
  std::vector<std::string> names;
  for (const fs::path& file : files)
    names.push_back(gguf_type_in(file).empty() ? quote(file.string()) : gguf_type_in(file));
  return fmt::format("{}", fmt::join(names, ", "));
}

}  // namespace

fs::path checkpoint_of_snapshot(const fs::path& snapshot, const std::optional<std::string>& type) {
  std::vector<fs::path> files = gguf_files(snapshot);
  std::erase_if(files, [](const fs::path& f) { return !is_gguf_model(f); });
  std::error_code code;
  if (!type && (files.empty() || fs::exists(snapshot / "config.json", code))) {
    // Repositories of GGUF files have a config.json now and then, but no other weights.
    const auto names = names_in(snapshot);
    const auto other = [](const std::string& name) { return name.ends_with(".safetensors"); };
    if (files.empty() || std::any_of(names.begin(), names.end(), other)) return snapshot;
  }
  if (files.empty())
    throw Error(fmt::format("a type {} is asked for, but the repository holds no GGUF files", quote(*type)))
        .in(snapshot.string())
        .hint("leave the type out; --weights chooses how weights are held");
  if (!type && files.size() == 1) return snapshot / files[0];
  std::vector<fs::path> matches;
  for (const fs::path& file : files)
    if (type && is_gguf_of(file, *type)) matches.push_back(file);
  if (matches.size() == 1) return snapshot / matches[0];
  std::vector<std::string> paths;
  for (const fs::path& match : matches) paths.push_back(quote(match.string()));
  if (matches.size() > 1)
    throw Error(fmt::format("several GGUF files are of type {}: {}", quote(*type), fmt::join(paths, ", ")))
        .in(snapshot.string())
        .hint("give the path of one of them");
  throw Error(type ? fmt::format("no GGUF file is of type {}", quote(*type))
                   : fmt::format("the repository holds {} GGUF files", files.size()))
      .in(snapshot.string())
      .because("there are " + choices_text(files))
      .hint("name one: REPO:TYPE");
}

}  // namespace cachalot
