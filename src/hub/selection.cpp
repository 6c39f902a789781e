#include "hub/selection.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/quote.h"
#include "formats/foreign.h"
#include "formats/safetensors/file.h"
#include "load/gguf_names.h"

namespace cachalot {
namespace {

constexpr std::string_view kIndexFile = "model.safetensors.index.json";
constexpr int64_t kMostWordBytes = int64_t{256} << 20;  // of one file that is no weights

bool in_a_folder(const RemoteFile& file) { return file.path.find('/') != std::string::npos; }

// Licence and readme, which go with every copy.
bool is_paper(const RemoteFile& file) {
  std::string name = file.path;
  for (char& c : name)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  for (const char* begin : {"license", "licence", "notice", "readme", "use_policy"})
    if (name.starts_with(begin)) return !in_a_folder(file);
  return false;
}

// Of sentence-transformers: how embeddings are made, in the folder of a module ("1_Pooling").
bool is_pooling(const RemoteFile& file) {
  const auto slash = file.path.find('/');
  return slash != file.path.npos && file.path.substr(0, slash).ends_with("_Pooling") &&
         file.path.substr(slash) == "/config.json";
}

// What is read beside the weights of safetensors: the folder's own words. Templates may lie in a folder of their own.
bool is_word(const RemoteFile& file) {
  if (file.path.starts_with("additional_chat_templates/") && file.path.ends_with(".jinja")) return true;
  if (is_pooling(file)) return true;
  if (in_a_folder(file)) return false;
  static constexpr std::string_view kNames[] = {"config.json",
                                                "generation_config.json",
                                                kIndexFile,
                                                "tokenizer.json",
                                                "tokenizer_config.json",
                                                "special_tokens_map.json",
                                                "added_tokens.json",
                                                "vocab.json",
                                                "merges.txt",
                                                "tokenizer.model",
                                                "chat_template.json",
                                                "chat_template.jinja",
                                                "adapter_config.json",
                                                "modules.json",
                                                "hf_quant_config.json",
                                                "quantize_config.json"};
  if (std::find(std::begin(kNames), std::end(kNames), file.path) != std::end(kNames)) return true;
  return file.path.ends_with(".tiktoken") || file.path.ends_with(".jinja");
}

bool is_safetensors(const RemoteFile& file) {
  return !in_a_folder(file) && file.path.ends_with(".safetensors") && !is_adapter(file.path);
}

bool has(const Repository& r, std::string_view path) {
  return std::any_of(r.files.begin(), r.files.end(), [&](const RemoteFile& f) { return f.path == path; });
}

Error no_model(const Repository& r) {
  bool pickles = false, pipeline = false, adapter = false;
  for (const RemoteFile& file : r.files) {
    pickles = pickles || file.path.ends_with(".bin") || file.path.ends_with(".pt") || file.path.ends_with(".pth");
    pipeline = pipeline || file.path == "model_index.json";
    adapter = adapter || is_adapter(file.path);
  }
  Error error = Error("the repository holds no model that runs here: neither safetensors with a config.json nor GGUF")
                    .in(r.name);
  if (pipeline) return std::move(error).because("model_index.json: it makes images, or something else of many parts");
  if (adapter)
    return std::move(error)
        .because("it holds an adapter (LoRA), which changes another model's weights")
        .hint("its page names the model; merge the two with peft");
  if (pickles)
    return std::move(error)
        .because("it holds .bin or .pt files, which can run any code when they are opened")
        .hint("look for the same model as safetensors, or for one whose name ends in -GGUF");
  return error;
}

void check_sizes(const Selection& selection) {
  for (const RemoteFile& file : selection.others)
    if (file.size > kMostWordBytes)
      throw Error(fmt::format("{} has {} bytes, more than such a file has", quote(file.path), file.size));
}

}  // namespace

int64_t Selection::bytes() const {
  int64_t bytes = 0;
  for (const auto* files : {&weights, &others})
    for (const RemoteFile& file : *files) bytes += file.size;
  return bytes;
}

bool is_of_safetensors(const Repository& r) {
  return has(r, "config.json") && std::any_of(r.files.begin(), r.files.end(), is_safetensors);
}

std::vector<GgufChoice> gguf_choices(const Repository& r) {
  std::map<std::string, std::vector<RemoteFile>> split;  // by the name of the first shard
  for (const RemoteFile& file : r.files)
    if (const auto shard = gguf_shard(file.path)) split[shard->file(1)].push_back(file);
  std::vector<GgufChoice> choices;
  std::map<std::string, int> models_of_type;
  for (const RemoteFile& file : r.files)
    if (file.path.ends_with(".gguf") && is_gguf_model(file.path)) {
      const auto shards = split.find(file.path);
      GgufChoice choice{.name = gguf_type_in(file.path), .first = file, .files = {file}};
      if (shards != split.end()) choice.files = shards->second;
      for (const RemoteFile& shard : choice.files) choice.bytes += shard.size;
      ++models_of_type[choice.name];
      choices.push_back(std::move(choice));
    }
  for (GgufChoice& choice : choices)
    if (choice.name.empty() || models_of_type[choice.name] > 1) choice.name = choice.first.path;
  std::stable_sort(choices.begin(), choices.end(),
                   [](const GgufChoice& a, const GgufChoice& b) { return a.bytes < b.bytes; });
  return choices;
}

const GgufChoice& choice_of(const std::vector<GgufChoice>& choices, const std::string& wanted, const Repository& r) {
  std::vector<const GgufChoice*> meant;
  std::vector<std::string> names;
  for (const GgufChoice& choice : choices) {
    if (is_gguf_of(choice.first.path, wanted)) meant.push_back(&choice);
    names.push_back(quote(choice.name));
  }
  if (meant.size() == 1) return *meant[0];
  throw Error(meant.empty() ? fmt::format("no GGUF file there is of type {}", quote(wanted))
                            : fmt::format("{} GGUF files there are of type {}", meant.size(), quote(wanted)))
      .in(r.name)
      .because(fmt::format("there are {}", fmt::join(names, ", ")))
      .hint("name one: REPO:TYPE, or REPO:FILE");
}

Selection select_safetensors(const Repository& r) {
  const bool index = has(r, kIndexFile), single = has(r, "model.safetensors");
  Selection selection;
  for (const RemoteFile& file : r.files) {
    if (is_word(file) || is_paper(file)) selection.others.push_back(file);
    if (!is_safetensors(file)) continue;
    if (!single || file.path == "model.safetensors") selection.weights.push_back(file);
  }
  if (selection.weights.empty() || !has(r, "config.json")) throw no_model(r);
  selection.indexed = index && !single;
  if (!selection.indexed && selection.weights.size() > 1)
    throw Error(fmt::format("the repository holds {} files of safetensors and no index that says which make a model",
                            selection.weights.size()))
        .in(r.name);
  check_sizes(selection);
  return selection;
}

void keep_indexed(Selection& selection, const std::filesystem::path& index, const Repository& r) {
  std::set<std::string> wanted;
  for (const auto& [tensor, file] :
       parse_weight_map(read_checkpoint_text(index), fmt::format("{}: {}", r.name, kIndexFile)))
    wanted.insert(file);
  std::erase_if(selection.weights, [&](const RemoteFile& file) { return !wanted.contains(file.path); });
  for (const RemoteFile& file : selection.weights) wanted.erase(file.path);
  if (!wanted.empty())
    throw Error(fmt::format("the repository lacks {} of the files that its index names", wanted.size()))
        .in(r.name)
        .because(fmt::format("there is no {}", quote(*wanted.begin())));
}

Selection select_gguf(const Repository& r, const GgufChoice& choice) {
  const auto shard = gguf_shard(choice.first.path);
  if (shard && static_cast<size_t>(shard->count) != choice.files.size())
    throw Error(fmt::format("the repository holds {} of the {} files of {}", choice.files.size(), shard->count,
                            quote(choice.name)))
        .in(r.name);
  Selection selection{.weights = choice.files, .model = choice.first.path};
  for (const RemoteFile& file : r.files)
    if (is_paper(file)) selection.others.push_back(file);
  check_sizes(selection);
  return selection;
}

}  // namespace cachalot
