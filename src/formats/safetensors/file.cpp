#include "formats/safetensors/file.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>
#include <unordered_set>

#include "base/error.h"
#include "base/quote.h"
#include "formats/foreign.h"
#include "formats/json_text.h"

namespace cachalot {

namespace fs = std::filesystem;

static_assert(std::endian::native == std::endian::little, "safetensors is read in place");

static constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // as the reference reader
static constexpr size_t kMaxDims = 8;
static constexpr size_t kMaxIndexBytes = 64 << 20;
static constexpr std::string_view kIndexName = "model.safetensors.index.json";

static DType stored_dtype(std::string_view name) {
  static constexpr std::pair<std::string_view, DType> kTypes[] = {
      {"F32", DType::f32}, {"F16", DType::f16},      {"BF16", DType::bf16},       {"F64", DType::f64},
      {"I8", DType::i8},   {"I16", DType::i16},      {"I32", DType::i32},         {"I64", DType::i64},
      {"U8", DType::u8},   {"BOOL", DType::boolean}, {"F8_E4M3", DType::f8_e4m3}, {"F8_E5M2", DType::f8_e5m2}};
  for (const auto& [known, dtype] : kTypes)
    if (known == name) return dtype;
  return DType::opaque;
}

namespace {

struct HeaderEntry {
  std::string name;
  std::optional<DType> dtype;
  std::string other_type;
  bool has_shape = false, has_offsets = false;
  std::vector<int64_t> shape;
  std::vector<uint64_t> offsets;
};

// Reads the header's fixed form event by event, so that no JSON tree of a hostile header is ever built:
//   {"__metadata__": {text: text, …}, name: {"dtype": text, "shape": [n, …], "data_offsets": [begin, end]}, …}
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit HeaderReader(std::string_view where) : where_(where) {}

  std::vector<HeaderEntry> entries;
  std::map<std::string, std::string> metadata;

  bool start_object(std::size_t) override {
    if (state_ == State::start) return go(State::header);
    if (state_ == State::header) return go(key_ == "__metadata__" ? State::metadata : State::entry);
    throw unexpected("an object");
  }

  bool end_object() override {
    if (state_ == State::entry) {
      const HeaderEntry& entry = entries.back();
      if (!entry.dtype || !entry.has_shape || !entry.has_offsets)
        throw error(fmt::format("tensor {} lacks dtype, shape or data_offsets", quote(entry.name)));
    }
    return go(state_ == State::header ? State::end : State::header);
  }

  bool key(string_t& key) override {
    if (state_ == State::header) {
      if (!names_.insert(key).second) throw error(fmt::format("tensor {} appears twice", quote(key)));
      if (key != "__metadata__") entries.emplace_back().name = key;
    } else if (state_ == State::entry && key != "dtype" && key != "shape" && key != "data_offsets") {
      throw error(fmt::format("tensor {} has the unknown field {}", quote(entries.back().name), quote(key)));
    }
    key_ = key;
    return true;
  }

  bool string(string_t& text) override {
    if (state_ == State::metadata) {
      metadata[key_] = text;
      return true;
    }
    if (state_ != State::entry || key_ != "dtype") throw unexpected("a text");
    if (entries.back().dtype) throw twice();
    entries.back().dtype = stored_dtype(text);
    if (entries.back().dtype == DType::opaque) entries.back().other_type = text;
    return true;
  }

  bool start_array(std::size_t) override {
    if (state_ != State::entry || key_ == "dtype") throw unexpected("a list");
    bool& had = key_ == "shape" ? entries.back().has_shape : entries.back().has_offsets;
    if (had) throw twice();
    had = true;
    return go(key_ == "shape" ? State::shape : State::offsets);
  }

  bool end_array() override {
    if (state_ == State::offsets && entries.back().offsets.size() != 2) throw unexpected("a list of that length");
    return go(State::entry);
  }

  bool number_unsigned(number_unsigned_t number) override {
    if (state_ == State::shape) {
      auto& shape = entries.back().shape;
      if (shape.size() == kMaxDims)
        throw error(fmt::format("tensor {} has more than {} dimensions", quote(entries.back().name), kMaxDims));
      if (number > INT64_MAX) throw unexpected("so large a number");
      shape.push_back(static_cast<int64_t>(number));
      return true;
    }
    if (state_ == State::offsets && entries.back().offsets.size() < 2) {
      entries.back().offsets.push_back(number);
      return true;
    }
    throw unexpected("a number");
  }

  bool null() override {
    if (state_ == State::header && key_ == "__metadata__") return true;
    throw unexpected("null");
  }
  bool boolean(bool) override { throw unexpected("true or false"); }
  bool number_integer(number_integer_t) override { throw unexpected("a negative number"); }
  bool number_float(number_float_t, const string_t&) override { throw unexpected("a fraction"); }
  bool binary(binary_t&) override { throw unexpected("binary data"); }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception& problem) override {
    throw error("the header is not valid JSON").because(json_complaint(problem));
  }

 private:
  enum class State { start, header, metadata, entry, shape, offsets, end };

  bool go(State state) {
    state_ = state;
    return true;
  }
  Error error(std::string what) const { return Error(std::move(what)).in(where_); }
  Error twice() const {
    return error(fmt::format("tensor {} has two fields {}", quote(entries.back().name), quote(key_)));
  }
  Error unexpected(std::string_view what) const {
    return error(fmt::format("the header has {} where the format has none", what))
        .because("after key " + quote(key_));
  }

  std::string where_;
  State state_ = State::start;
  std::string key_;
  std::unordered_set<std::string> names_;
};

}  // namespace

static Error error_in(std::string_view where, std::string what) { return Error(std::move(what)).in(where); }

static std::span<const std::byte> header_bytes(std::span<const std::byte> bytes, std::string_view where) {
  if (bytes.size() < 8)
    throw error_in(where, "this is not a safetensors file")
        .because("it is shorter than 8 bytes")
        .hint("download it again");
  uint64_t length;
  std::memcpy(&length, bytes.data(), sizeof length);
  if (length > kMaxHeaderBytes)
    throw error_in(where, fmt::format("the header is said to be {} bytes long", length))
        .because(fmt::format("at most {} are accepted", kMaxHeaderBytes));
  if (length > bytes.size() - 8)
    throw error_in(where, fmt::format("the header is {} bytes long, but only {} follow", length, bytes.size() - 8))
        .hint("the file is cut off or not a safetensors file; download it again");
  return bytes.subspan(8, length);
}

// Whether `bytes` are those of `shape` in `dtype`. In a type that is not known an element takes at least a bit.
static bool has_bytes(const std::vector<int64_t>& shape, DType dtype, uint64_t bytes) {
  uint64_t needed = dtype == DType::opaque ? 1 : static_cast<uint64_t>(info(dtype).block_bytes);
  for (const int64_t size : shape)
    if (__builtin_mul_overflow(needed, static_cast<uint64_t>(size), &needed)) return false;
  return dtype == DType::opaque ? needed / 8 + (needed % 8 != 0) <= bytes : needed == bytes;
}

// The reference reader's rule: sorted by place, each tensor begins where the one before it ends, the first at 0 and
// the last ends with the file.
static void place(std::vector<HeaderEntry>& entries, std::span<const std::byte> data, std::string_view where,
                  std::vector<SafetensorsEntry>& tensors) {
  std::sort(entries.begin(), entries.end(), [](const HeaderEntry& a, const HeaderEntry& b) {
    return std::tie(a.offsets, a.name) < std::tie(b.offsets, b.name);  // tensors without bytes share a place
  });
  uint64_t end = 0;
  for (HeaderEntry& entry : entries) {
    const uint64_t begin = entry.offsets[0], entry_end = entry.offsets[1];
    const auto problem = [&](std::string_view what) {
      return error_in(where, fmt::format("tensor {} {}", quote(entry.name), what))
          .because(fmt::format("data_offsets = [{}, {}], the data has {} bytes", begin, entry_end, data.size()));
    };
    if (entry_end < begin) throw problem("ends before it begins");
    if (entry_end > data.size())
      throw std::move(problem("lies beyond the end of the file"))
          .hint("the file is cut off or corrupt; download it again");
    if (begin < end) throw problem("overlaps the one before it");
    if (begin > end) throw problem("leaves a hole before it");
    if (!has_bytes(entry.shape, *entry.dtype, entry_end - begin))
      throw problem(fmt::format("of shape [{}] and dtype {} does not have the bytes for it",
                                fmt::join(entry.shape, ", "), name(*entry.dtype, entry.other_type)));
    tensors.push_back({std::move(entry.name), *entry.dtype, std::move(entry.shape),
                       data.subspan(begin, entry_end - begin), std::move(entry.other_type)});
    end = entry_end;
  }
  if (end != data.size())
    throw error_in(where, fmt::format("{} bytes at the end of the file belong to no tensor", data.size() - end));
}

SafetensorsFile::SafetensorsFile(std::optional<MappedFile> file, std::span<const std::byte> bytes, std::string where)
    : file_(std::move(file)), where_(std::move(where)) {
  const auto header = header_bytes(bytes, where_);
  const std::string_view text(reinterpret_cast<const char*>(header.data()), header.size());
  if (!text.starts_with('{')) throw error_in(where_, "the header does not start with {");
  refuse_nul(text, where_);
  HeaderReader reader(where_);
  nlohmann::json::sax_parse(text.begin(), text.end(), &reader);
  metadata_ = std::move(reader.metadata);
  tensors_.reserve(reader.entries.size());
  place(reader.entries, bytes.subspan(8 + header.size()), where_, tensors_);
  index_.reserve(tensors_.size());
  for (size_t i = 0; i < tensors_.size(); ++i) index_.emplace(tensors_[i].name, i);
}

SafetensorsFile SafetensorsFile::parse(MappedFile file) {
  const auto bytes = file.bytes();
  std::string where = file.path().string();
  if (bytes.size() <= 8 || bytes[8] != std::byte{'{'}) refuse_foreign(bytes, where);
  return SafetensorsFile(std::move(file), bytes, std::move(where));
}

SafetensorsFile SafetensorsFile::parse(std::span<const std::byte> bytes, std::string where) {
  return SafetensorsFile(std::nullopt, bytes, std::move(where));
}

const SafetensorsEntry* SafetensorsFile::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

// --- folders ---

std::map<std::string, std::string> parse_weight_map(std::string_view text, std::string_view where) {
  const auto index = parse_json(text, where);
  const auto map = index.find("weight_map");
  if (map == index.end() || !map->is_object()) throw error_in(where, "there is no object 'weight_map'");
  if (map->empty()) throw error_in(where, "'weight_map' names no tensor");
  std::map<std::string, std::string> files;
  for (const auto& [tensor, file] : map->items()) {
    if (!file.is_string()) throw error_in(where, fmt::format("tensor {} has no file name", quote(tensor)));
    const auto& name = file.get_ref<const std::string&>();
    if (name.find_first_of(std::string_view("/\\\0", 3)) != name.npos || !name.ends_with(".safetensors"))
      throw error_in(where, fmt::format("tensor {} is said to be in {}", quote(tensor), quote(name)))
          .because("the name of a .safetensors file in the same folder is expected");
    files[tensor] = name;
  }
  return files;
}

static Error missing_shards(const fs::path& folder, const std::vector<std::string>& missing, size_t named) {
  const auto shown = std::span(missing).first(std::min<size_t>(3, missing.size()));
  const bool one = missing.size() == 1;
  Error error =
      error_in(folder.string(), fmt::format("the shard{} {}{} {} missing", one ? "" : "s", fmt::join(shown, ", "),
                                            shown.size() < missing.size() ? " …" : "", one ? "is" : "are"))
          .because(fmt::format("{} names {} files, and {} of them {} not there", kIndexName, named, missing.size(),
                               one ? "is" : "are"));
  const auto names = names_in(folder);
  if (const auto rest = std::find_if(names.begin(), names.end(), is_unfinished); rest != names.end())
    error = std::move(error).because(fmt::format("there is {}, which a download has not finished", quote(*rest)));
  return std::move(error).hint("the download is incomplete; fetch the missing files");
}

static SafetensorsFolder read_index(const fs::path& folder) {
  const fs::path path = folder / kIndexName;
  SafetensorsFolder found;
  found.file_of_tensor = parse_weight_map(read_checkpoint_text(path, kMaxIndexBytes), path.string());
  std::set<std::string> names;
  for (const auto& [tensor, file] : found.file_of_tensor) names.insert(file);
  std::vector<std::string> missing;
  for (const auto& name : names) {
    found.files.push_back(folder / name);
    if (std::error_code code; !fs::exists(found.files.back(), code)) missing.push_back(quote(name));
  }
  if (!missing.empty()) throw missing_shards(folder, missing, names.size());
  return found;
}

// Of the one file that is there: NAME-00001-of-00003.safetensors is a part.
static void check_whole(const fs::path& file) {
  const std::string stem = file.stem().string();
  const size_t of = stem.rfind("-of-");
  const bool part = of != stem.npos && of + 4 < stem.size() &&
                    stem.find_first_not_of("0123456789", of + 4) == stem.npos && stem.substr(of + 4) != "00001";
  if (part)
    throw Error("the file is one of several, and the others are missing")
        .in(file.string())
        .because(fmt::format("its name says so, and there is no {}", kIndexName))
        .hint("the download is incomplete; fetch the missing files");
}

SafetensorsFolder find_safetensors(const fs::path& folder) {
  if (is_there(folder / "model.safetensors")) return {{folder / "model.safetensors"}, {}};
  if (is_there(folder / kIndexName)) return read_index(folder);
  std::vector<fs::path> files;
  for (const std::string& name : names_in(folder))
    if (name.ends_with(".safetensors") && !is_adapter(name)) files.push_back(folder / name);
  if (files.empty()) throw no_weights(folder);
  if (files.size() > 1)
    throw Error(fmt::format("there are {} *.safetensors files, but no {}", files.size(), kIndexName))
        .in(folder.string())
        .hint("fetch the index as well; it comes with every sharded checkpoint");
  check_whole(files[0]);
  return {files, {}};
}

}  // namespace cachalot
