#include "load/gguf_names.h"

#include <algorithm>
#include <cctype>

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

// Whether it is another shard than the first of a split file.
bool is_later_shard(const fs::path& file) {
  const std::string stem = file.stem().string();
  const size_t of = stem.rfind("-of-");
  return of != stem.npos && of >= 6 && stem[of - 6] == '-' && stem.substr(of - 5, 5) != "00001" &&
         stem.find_first_not_of("0123456789", of - 5) == of;
}

// What lies beside models: the part that sees, and importance matrices.
bool is_companion(const fs::path& file) {
  const std::string name = lower(file.filename().string());
  return name.find("mmproj") != name.npos || name.find("imatrix") != name.npos;
}

// A split file's name up to the number of the shard; the whole name of others.
std::string before_number(const fs::path& file) {
  const std::string path = file.string(), stem = file.stem().string();
  const size_t of = stem.rfind("-of-");
  const bool split =
      of != stem.npos && of >= 6 && stem[of - 6] == '-' && stem.find_first_not_of("0123456789", of - 5) == of;
  return split ? path.substr(0, path.size() - (stem.size() - of + 5) - file.extension().string().size()) : path;
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

bool is_gguf_model(const fs::path& file) { return !is_later_shard(file) && !is_companion(file); }

bool is_gguf_of(const fs::path& file, std::string_view wanted) {
  const std::string word = lower(wanted);
  return gguf_type_in(file) == word || lower(file.filename().string()) == word || lower(file.string()) == word;
}

bool is_shard_of(const fs::path& file, const fs::path& model) {
  return file == model || (before_number(model) != model.string() && before_number(file) == before_number(model));
}

}  // namespace cachalot
