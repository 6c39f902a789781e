#include "load/find_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "base/quote.h"
#include "load/hub_cache.h"

namespace cachalot {

namespace fs = std::filesystem;

ModelFolders model_folders() {
  ModelFolders folders;
  std::error_code code;
  const fs::path program = fs::read_symlink("/proc/self/exe", code);
  if (!code) {
    folders.shipped.push_back(program.parent_path() / "../models");                 // build/cachalot in a checkout
    folders.shipped.push_back(program.parent_path() / "../share/cachalot/models");  // bin/cachalot of an installation
  }
  if (const char* list = std::getenv("CACHALOT_MODELS")) {
    std::string_view left = list;
    while (!left.empty()) {
      const auto colon = std::min(left.find(':'), left.size());
      if (colon > 0) folders.own.emplace_back(left.substr(0, colon));
      left.remove_prefix(std::min(left.size(), colon + 1));
    }
  }
  return folders;
}

// Whether a name stays inside the folder that it is looked up in.
static bool stays_inside(std::string_view name) {
  const fs::path path = name;
  return !name.empty() && name.find('\0') == name.npos && path.is_relative() &&
         std::find(path.begin(), path.end(), "..") == path.end();
}

// A repository's folder of the cache, given by its path.
static fs::path in_repository(const fs::path& folder) {
  const auto snapshot = hub_snapshot(folder, std::nullopt);
  if (!snapshot)
    throw Error("this repository of the Hugging Face cache holds no snapshot")
        .in(folder.string())
        .hint("the download has not begun or was cleaned up; fetch it again");
  note("{}: a repository of the Hugging Face cache; taken is its snapshot {}", folder.string(),
       snapshot->filename().string());
  return checkpoint_of_snapshot(*snapshot, std::nullopt);
}

fs::path resolve_model(std::string_view name) {
  std::error_code code;
  if (fs::exists(name, code)) return is_hub_repository(name) ? in_repository(name) : fs::path(name);
  std::string looked;
  if (stays_inside(name)) {
    const ModelFolders all = model_folders();
    for (const auto* folders : {&all.shipped, &all.own})
      for (const fs::path& folder : *folders) {
        if (fs::exists(folder / name, code)) return fs::weakly_canonical(folder / name, code);
        looked += (looked.empty() ? "" : ", ") + folder.lexically_normal().string();
      }
  }
  if (const auto hub = HubName::parse(name)) {
    const fs::path cache = hub_cache_folder();
    if (const auto snapshot = hub_snapshot(hub_repository(cache, hub->repo), hub->revision))
      return checkpoint_of_snapshot(*snapshot, hub->type);
    looked += fmt::format("{}the Hugging Face cache {}", looked.empty() ? "" : ", ", cache.string());
  }
  throw Error(fmt::format("there is no model {}", quote(name)))
      .because(looked.empty() ? "no such file or folder" : "no such file or folder, nor one in " + looked)
      .hint(
          "give a folder with config.json and *.safetensors, a .gguf file, the name of a model that ships "
          "(tiny-r1, tiny-qwen), or REPO[@REVISION][:TYPE] of the Hugging Face cache; `cachalot list` shows what is "
          "here, and `cachalot pull REPO` (or --pull) fetches more");
}

}  // namespace cachalot
