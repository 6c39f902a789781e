#include "formats/foreign.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/mapped_file.h"
#include "base/quote.h"
#include "formats/json_text.h"

namespace cachalot {

namespace fs = std::filesystem;

using namespace std::string_view_literals;

// --- files, by their first bytes ---

namespace {

struct Magic {
  size_t at;
  std::string_view bytes;
  ForeignFile file;
};

constexpr std::string_view kUnpack = "unpack it and give what is inside";
constexpr std::string_view kAgain = "download the file again, and look at what the server answers";
constexpr std::string_view kConvert =
    "take a checkpoint of the same model as safetensors or GGUF; most are published as one of them";

constexpr Magic kMagics[] = {
    {0,
     "version https://git-lfs.github.com/spec/"sv,
     {"a Git LFS pointer, not the file itself", "run `git lfs install` and `git lfs pull` in the repository"}},
    {0,
     "# xet version "sv,
     {"a Xet pointer, not the file itself", "fetch the file with Hugging Face's client, or install git-xet"}},
    {0,
     "\0\5\x16\7"sv,
     {"what macOS keeps beside a file (AppleDouble), not the file itself", "give the file without ._ in its name"}},
    {0, "<!doctype html"sv, {"a web page", kAgain}},
    {0, "<!DOCTYPE html"sv, {"a web page", kAgain}},
    {0, "<html"sv, {"a web page", kAgain}},
    {0, "Entry not found"sv, {"a server's refusal", kAgain}},
    {0, "Invalid username or password"sv, {"a server's refusal", "log in to the server, and download it again"}},
    {0, "Access to model"sv, {"a server's refusal", "ask for access to the model, log in, and download it again"}},
    {0, "GGUF"sv, {"a GGUF file", "give the file itself as the model, with a name that ends in .gguf"}},
    {0, "lmgg"sv, {"a GGML file, the format before GGUF", kConvert}},
    {0, "fmgg"sv, {"a GGML file, the format before GGUF", kConvert}},
    {0, "tjgg"sv, {"a GGML file, the format before GGUF", kConvert}},
    {0, "algg"sv, {"an adapter (LoRA) as GGML, the format before GGUF", kConvert}},
    {0, "PK\3\4"sv, {"a zip archive", kUnpack}},
    {0, "\x1f\x8b\x08"sv, {"a gzip archive", kUnpack}},
    {0,
     "\xfd"
     "7zXZ\0"sv,
     {"an xz archive", kUnpack}},
    {0, "BZh9"sv, {"a bzip2 archive", kUnpack}},
    {0, "\x28\xb5\x2f\xfd"sv, {"a Zstandard archive", kUnpack}},
    {0, "7z\xbc\xaf\x27\x1c"sv, {"a 7-Zip archive", kUnpack}},
    {0, "Rar!\x1a\x07"sv, {"a RAR archive", kUnpack}},
    {257, "ustar"sv, {"a tar archive", kUnpack}},
    {0, "\x89HDF\r\n\x1a\n"sv, {"an HDF5 file, as TensorFlow and Keras write them", kConvert}},
    {0, "\x93NUMPY"sv, {"an array of NumPy", kConvert}},
    {4, "TFL3"sv, {"a TensorFlow Lite model", kConvert}},
    {0, "\x80\2"sv, {"a Python pickle", ""}},  // the advice of kPickle
    {0, "\x80\4"sv, {"a Python pickle", ""}},
};

constexpr ForeignFile kPickle = {
    "a PyTorch pickle, which is not read: such files can run code when they are opened",
    "save it once as safetensors: AutoModelForCausalLM.from_pretrained(SRC).save_pretrained(DST)"};

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

std::optional<ForeignFile> foreign_file(std::span<const std::byte> bytes) {
  constexpr size_t kHead = 512;
  const std::string_view head = as_text(bytes.first(std::min(bytes.size(), kHead)));
  for (const Magic& magic : kMagics) {
    if (head.substr(std::min(magic.at, head.size()), magic.bytes.size()) != magic.bytes) continue;
    const bool torch = magic.file.advice.empty() ||
                       (magic.bytes.starts_with("PK") && head.find("data.pkl") != std::string_view::npos);
    return torch ? kPickle : magic.file;
  }
  if (head.size() >= 64 && head.find_first_not_of('\0') == std::string_view::npos)
    return ForeignFile{"zeros where its beginning should be", "the download was interrupted; fetch the file again"};
  return std::nullopt;
}

void refuse_foreign(std::span<const std::byte> bytes, std::string_view where) {
  if (const auto foreign = foreign_file(bytes))
    throw Error(fmt::format("this is {}", foreign->what)).in(where).hint(foreign->advice);
}

std::string read_checkpoint_text(const fs::path& path, size_t limit_bytes) {
  // Looked at before it is read: an archive in place of a text may be longer than any text.
  if (std::error_code code; fs::is_regular_file(path, code)) refuse_foreign(MappedFile(path).bytes(), path.string());
  return read_text_file(path, limit_bytes);
}

// --- folders, by the names in them ---

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code code;
  for (fs::directory_iterator entry(folder, code), end; !code && entry != end; entry.increment(code)) {
    std::string name = entry->path().filename().string();
    if (!name.starts_with("._") && name != ".DS_Store") names.push_back(std::move(name));
  }
  if (code) throw Error("cannot list the folder").in(folder.string()).because(code.message());
  std::sort(names.begin(), names.end());
  return names;
}

bool is_there(const fs::path& path) {
  std::error_code code;
  return fs::symlink_status(path, code).type() != fs::file_type::not_found;
}

static bool ends_with_any(std::string_view name, std::initializer_list<std::string_view> endings) {
  return std::any_of(endings.begin(), endings.end(), [&](std::string_view e) { return name.ends_with(e); });
}

bool is_unfinished(std::string_view name) {
  return ends_with_any(name, {".incomplete", ".part", ".partial", ".crdownload", ".download", ".aria2", ".tmp"});
}

bool is_adapter(std::string_view name) { return name.starts_with("adapter_model") && name.ends_with(".safetensors"); }

namespace {

struct OtherFormat {
  std::string_view ending, what;
};
constexpr OtherFormat kOtherFormats[] = {
    {".onnx", "ONNX"},
    {".h5", "TensorFlow (HDF5)"},
    {".msgpack", "Flax"},
    {".ot", "Rust (libtorch)"},
    {".tflite", "TensorFlow Lite"},
    {".mlmodel", "Core ML"},
    {".mlpackage", "Core ML"},
    {".engine", "TensorRT"},
    {".nemo", "NeMo"},
    {".xml", "OpenVINO"},
    {".npz", "NumPy"},
};

bool is_pickle(std::string_view name) { return ends_with_any(name, {".bin", ".pt", ".pth", ".ckpt", ".pkl"}); }

// A text of a JSON file that may be anything; empty when it is not there.
std::string text_in(const fs::path& file, std::string_view key) {
  try {
    const auto json = parse_json(read_text_file(file), file.string());
    const auto found = json.find(key);
    return found != json.end() && found->is_string() ? quote(found->get<std::string>()) : "";
  } catch (const Error&) { return ""; }
}

// Folders that hold something else than one model's weights.
std::optional<Error> other_folder(const fs::path& folder, const std::vector<std::string>& names) {
  const auto has = [&](std::string_view name) { return std::find(names.begin(), names.end(), name) != names.end(); };
  if (has("adapter_config.json") || std::any_of(names.begin(), names.end(), is_adapter)) {
    const std::string base = text_in(folder / "adapter_config.json", "base_model_name_or_path");
    return Error("this is an adapter (LoRA), not a model")
        .in(folder.string())
        .because(base.empty() ? "it changes the weights of another model" : "it changes the weights of " + base)
        .hint("merge the two once with peft: model.merge_and_unload().save_pretrained(DST)");
  }
  if (has("model_index.json"))
    return Error("this is a pipeline of diffusers, which makes images or sound, not a language model")
        .in(folder.string())
        .because("model_index.json: _class_name = " + text_in(folder / "model_index.json", "_class_name"))
        .hint("give the folder of a language model");
  if (has("snapshots") && (has("refs") || has("blobs")))
    return Error("this is a repository of the Hugging Face cache, not a checkpoint")
        .in(folder.string())
        .hint("give one of the folders in snapshots/, or the repository's name");
  const auto is_commit = [](const std::string& name) {
    return name.size() == 40 && name.find_first_not_of("0123456789abcdef") == std::string::npos;
  };
  if (folder.filename() == "snapshots" && std::any_of(names.begin(), names.end(), is_commit))
    return Error("this folder holds the snapshots of a repository").in(folder.string()).hint("give one of them");
  return std::nullopt;
}

}  // namespace

Error no_weights(const fs::path& folder) {
  const auto names = names_in(folder);
  if (auto other = other_folder(folder, names)) return *other;
  const auto first = [&](auto matches) { return std::find_if(names.begin(), names.end(), matches); };
  const auto in = [&](std::string what) { return Error(std::move(what)).in(folder.string()); };
  if (const auto found = first(is_unfinished); found != names.end())
    return in("the download is incomplete: there are no *.safetensors files yet")
        .because("there is " + quote(*found))
        .hint("go on with the download, or fetch the files again");
  if (const auto found = first(is_pickle); found != names.end()) {
    Error error = in("the weights are a PyTorch pickle (.bin, .pt, .pth), which is not read")
                      .because("such files can run code when they are opened")
                      .because("there is " + quote(*found));
    if (found->starts_with("consolidated."))
      return std::move(error).hint(
          "these are weights in Meta's own form; fetch the repository whose name ends in -hf, "
          "or the other files of this one");
    return std::move(error).hint(kPickle.advice);
  }
  if (first([](const std::string& name) { return name.ends_with(".gguf"); }) != names.end())
    return in("there are no *.safetensors files")
        .hint("the folder holds GGUF files: give the file itself (of a split one the first)");
  for (const OtherFormat& format : kOtherFormats)
    if (const auto found = first([&](const std::string& n) { return n.ends_with(format.ending); });
        found != names.end())
      return in(fmt::format("the weights are in the format of {}, which is not read", format.what))
          .because("there is " + quote(*found))
          .hint(kConvert);
  return in("there are no *.safetensors files")
      .hint("give a folder with config.json and *.safetensors, or a .gguf file");
}

Error no_checkpoint(const fs::path& file, std::span<const std::byte> bytes) {
  const std::string name = file.filename().string();
  const auto in = [&](std::string what) { return Error(std::move(what)).in(file.string()); };
  if (is_unfinished(name))
    return in("the file is not finished, as its name says").hint("go on with the download, or fetch the file again");
  if (const auto foreign = foreign_file(bytes))
    return in(fmt::format("this is {}", foreign->what)).hint(foreign->advice);
  Error error = in("this is neither a Hugging Face folder nor a GGUF file");
  const bool safetensors = bytes.size() > 8 && bytes[8] == std::byte{'{'} && bytes[7] == std::byte{0};
  if (safetensors && !name.ends_with(".safetensors")) error = std::move(error).because("it looks like safetensors");
  if (safetensors || ends_with_any(name, {".safetensors", ".json"}))
    return std::move(error).hint("give the folder that holds config.json and the *.safetensors files");
  if (is_pickle(name))
    return std::move(error)
        .because("PyTorch pickles are not read; they can run code when they are opened")
        .hint(kPickle.advice);
  for (const OtherFormat& format : kOtherFormats)
    if (name.ends_with(format.ending))
      return std::move(error).because(fmt::format("the format of {} is not read", format.what)).hint(kConvert);
  if (bytes.empty()) return std::move(error).because("it is empty").hint("download it again");
  if (name.ends_with(".gguf"))
    return std::move(error).because("it does not start with the letters GGUF").hint("download it again");
  return std::move(error).hint("give a folder with config.json and *.safetensors, or a .gguf file");
}

}  // namespace cachalot
