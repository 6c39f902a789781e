#include "load/gguf_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>

namespace cachalot {

namespace fs = std::filesystem;

namespace {

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  return result;
}

// Whether a word is the name of a type of weights: q4_k_m, iq2_xxs, bf16, mxfp4 …
bool is_type(std::string_view word) {
  const auto digit_at = [&](size_t i) {
    return i < word.size() && std::isdigit(static_cast<unsigned char>(word[i]));
  };
  for (const std::string_view stem : {"q", "iq", "tq"})
    if (word.starts_with(stem) && digit_at(stem.size())) return true;
  for (const std::string_view whole : {"f16", "f32", "bf16", "fp16", "fp32", "mxfp4", "nvfp4"})
    if (word == whole || word.starts_with(std::string(whole) + "_")) return true;
  return false;
}

// What lies beside models: the part that sees, and importance matrices.
bool is_companion(const fs::path& file) {
  const std::string name = lower(file.filename().string());
  return name.find("mmproj") != name.npos || name.find("imatrix") != name.npos;
}

}  // namespace

std::string gguf_type_in(const fs::path& file) {
  const std::string path = lower(file.string());
  std::string type;
  for (size_t begin = 0; begin < path.size();) {
    const size_t end = std::min(path.find_first_of("-./", begin), path.size());
    const std::string_view word = std::string_view(path).substr(begin, end - begin);
    for (size_t i = 0; i < word.size(); i = std::min(word.find('_', i), word.size() - 1) + 1)
      if (is_type(word.substr(i))) {
        const bool dynamic = i == 0 && begin >= 3 && path.substr(begin - 3, 3) == "ud-";
        type = (dynamic ? "ud-" : "") + std::string(word.substr(i));
        break;
      }
    begin = end + 1;
  }
  return type;
}

std::optional<GgufShard> gguf_shard(const fs::path& file) {
  constexpr std::string_view form = "-00001-of-00003.gguf";
  const std::string path = file.string();
  if (path.size() <= form.size()) return std::nullopt;
  const std::string_view tail = std::string_view(path).substr(path.size() - form.size());
  GgufShard shard{.stem = path.substr(0, path.size() - form.size())};
  const auto read = [&](size_t at, int& number) {
    const auto [end, code] = std::from_chars(tail.data() + at, tail.data() + at + 5, number);
    return code == std::errc() && end == tail.data() + at + 5 && number > 0;
  };
  const bool is_form = tail[0] == '-' && tail.substr(6, 4) == "-of-" && tail.ends_with(".gguf");
  return is_form && read(1, shard.number) && read(10, shard.count) ? std::optional(shard) : std::nullopt;
}

std::string GgufShard::file(int other) const { return fmt::format("{}-{:05}-of-{:05}.gguf", stem, other, count); }

std::vector<fs::path> gguf_files_of(const fs::path& model) {
  const auto shard = gguf_shard(model);
  if (!shard) return {model};
  std::vector<fs::path> files;
  for (int i = 1; i <= shard->count; ++i) files.emplace_back(shard->file(i));
  return files;
}

bool is_gguf_model(const fs::path& file) {
  const auto shard = gguf_shard(file);
  return (!shard || shard->number == 1) && !is_companion(file);
}

bool is_gguf_of(const fs::path& file, std::string_view wanted) {
  const std::string word = lower(wanted);
  return gguf_type_in(file) == word || lower(file.filename().string()) == word || lower(file.string()) == word;
}

}  // namespace cachalot
