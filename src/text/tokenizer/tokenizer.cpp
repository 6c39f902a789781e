#include "text/tokenizer/tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/quote.h"
#include "text/unicode.h"

namespace cachalot {
namespace {

constexpr int kMostTokens = 1 << 24;
constexpr size_t kMostMergesById = 4 << 20;
constexpr size_t kLongestAdded = 512;             // bytes
constexpr size_t kLongestText = size_t{1} << 30;  // bytes
constexpr size_t kWorthCaching = 2048;            // bytes of text

void check_added(const Vocabulary& v) {
  for (const AddedToken& t : v.added) {
    if (t.content.empty()) throw Error(fmt::format("the added token with id {} has no content", t.id));
    if (t.content.size() > kLongestAdded) {
      throw Error(fmt::format("the added token with id {} is {} bytes long", t.id, t.content.size()))
          .because(fmt::format("the limit is {} bytes", kLongestAdded));
    }
    if (t.id < 0 || t.id >= kMostTokens) {
      throw Error(fmt::format("the added token {} has id {}, which is out of range", quote(t.content), t.id));
    }
    const bool in_model = static_cast<size_t>(t.id) < v.tokens.size() && !v.tokens[t.id].empty();
    if (in_model && v.tokens[t.id] != t.content) {
      throw Error(fmt::format("id {} is taken twice, by {} and by the added token {}", t.id, quote(v.tokens[t.id]),
                              quote(t.content)));
    }
  }
}

AddedTokenFinder finder(const Vocabulary& v, bool normalized) {
  std::vector<AddedToken> tokens;
  for (const AddedToken& t : v.added) {
    if (t.normalized != normalized) continue;
    tokens.push_back(t);
    if (normalized && v.nfc && is_valid_utf8(t.content)) tokens.back().content = nfc(t.content);
  }
  std::vector<std::string_view> contents;
  contents.reserve(tokens.size());
  for (const AddedToken& t : tokens) contents.push_back(t.content);
  std::sort(contents.begin(), contents.end());
  const auto twin = std::adjacent_find(contents.begin(), contents.end());
  if (twin != contents.end()) throw Error(fmt::format("the added token {} is listed twice", quote(*twin)));
  return AddedTokenFinder(std::move(tokens));
}

std::vector<Bpe::Merge> resolve_merges(const Vocabulary& v) {
  const auto text_of = [&](int id) -> std::string_view { return v.tokens[id]; };
  const int tokens = static_cast<int>(v.tokens.size());
  StringIndex ids(v.tokens.size());
  for (int id = 0; id < tokens; ++id) {
    if (!v.tokens[id].empty()) ids.insert(v.tokens[id], id, text_of);
  }
  const auto id_of = [&](std::string_view token, size_t rank) {
    if (const auto id = ids.find(token, text_of)) return *id;
    throw Error(fmt::format("merge {} ({} + {}) needs the token {}, which the vocabulary does not have", rank,
                            quote(v.merges[rank].first), quote(v.merges[rank].second), quote(token)));
  };
  std::vector<Bpe::Merge> merges;
  merges.reserve(v.merges.size());
  std::string joined;
  int guess = 0;  // published vocabularies number their tokens in the order of the merges
  for (size_t rank = 0; rank < v.merges.size(); ++rank) {
    const auto& [left, right] = v.merges[rank];
    joined = left;
    joined += right;
    const int result = guess < tokens && v.tokens[guess] == joined ? guess : id_of(joined, rank);
    merges.push_back({id_of(left, rank), id_of(right, rank), result, static_cast<int>(rank)});
    guess = result + 1;
  }
  return merges;
}

}  // namespace

// In normal form C. What follows an ASCII character may join it, but nothing joins what stands before it: each begins
// a step of the rewriting.
static AttributedText composed(const AttributedText& text) {
  const std::string_view all = text.text;
  AttributedText out = written(nfc(all));
  if (text.provenance.nothing_said()) return out;
  if (out.text == all) return text;
  out.text.clear();
  Rewriting rewriting(text, out);
  for (size_t at = 0; at < all.size();) {
    size_t end = at + 1;
    while (end < all.size() && static_cast<signed char>(all[end]) < 0) ++end;
    out.text += nfc(all.substr(at, end - at));
    rewriting.step(at = end);
  }
  return out;
}

// The ids of pieces met before in the same call, for pieces of up to 24 bytes, one entry per hash value. Text repeats
// its words: on 2 MB of mixed text this takes encoding from 21 to 25 MB/s (DeepSeek-V3) and from 15 to 19 MB/s
// (Qwen3).
class Tokenizer::PieceCache {
 public:
  explicit PieceCache(size_t text_bytes) {
    if (text_bytes >= kWorthCaching) entries_.resize(4096);
  }
  // Appends the ids and returns true when the piece is known.
  bool recall(std::string_view piece, std::vector<int>& ids) {
    if (entries_.empty() || piece.size() > sizeof(Entry::piece)) return false;
    slot_ = &entries_[std::hash<std::string_view>()(piece) % entries_.size()];
    if (slot_->bytes != piece.size() || std::memcmp(slot_->piece, piece.data(), piece.size()) != 0) return false;
    for (uint32_t i = 0; i < slot_->count; ++i) {
      const int id = ids[slot_->begin + i];
      ids.push_back(id);
    }
    return true;
  }
  // After a failed recall of the piece: its ids are ids[begin..].
  void remember(std::string_view piece, size_t begin, const std::vector<int>& ids) {
    if (!slot_ || piece.size() > sizeof(Entry::piece)) return;
    std::memcpy(slot_->piece, piece.data(), piece.size());
    slot_->bytes = static_cast<uint8_t>(piece.size());
    slot_->begin = static_cast<uint32_t>(begin);
    slot_->count = static_cast<uint32_t>(ids.size() - begin);
  }

 private:
  struct Entry {
    char piece[24];
    uint8_t bytes = 0;
    uint32_t begin = 0, count = 0;
  };
  std::vector<Entry> entries_;
  Entry* slot_ = nullptr;
};

Tokenizer::Tokenizer(const Vocabulary& vocabulary) try
    : where_(vocabulary.where),
      model_ids_(vocabulary.tokens.size()),
      added_ids_(vocabulary.added.size()),
      nfc_(vocabulary.nfc),
      ignore_merges_(vocabulary.ignore_merges),
      pretokenizer_(vocabulary.steps),
      added_((check_added(vocabulary), Finders{finder(vocabulary, false), finder(vocabulary, true)})),
      bpe_({}, {}) {
  load_tokens(vocabulary);
  load_bos_eos(vocabulary);
  std::array<int, 256> id_of_byte;
  for (int byte = 0; byte < 256; ++byte) {
    const char text = static_cast<char>(byte);
    const auto id = model_ids_.find(std::string_view(&text, 1), [this](int i) { return bytes(i); });
    id_of_byte[byte] = id ? *id : vocabulary.unknown.value_or(-1);
  }
  bpe_ = Bpe(id_of_byte, vocabulary.join_by_id ? merges_by_id() : resolve_merges(vocabulary));
} catch (Error& error) { throw std::move(error).in(vocabulary.where); }

void Tokenizer::load_tokens(const Vocabulary& v) {
  size_t size = v.tokens.size(), pool_bytes = 0;
  if (size > kMostTokens) throw Error(fmt::format("the vocabulary has {} tokens", size)).because("the limit is 2^24");
  for (const std::string& token : v.tokens) pool_bytes += token.size();
  for (const AddedToken& t : v.added) {
    size = std::max(size, static_cast<size_t>(t.id) + 1);
    pool_bytes += t.content.size();
  }
  std::vector<const AddedToken*> added(size, nullptr);
  for (const AddedToken& t : v.added) {
    if (added[t.id]) throw Error(fmt::format("id {} is taken by two added tokens", t.id));
    added[t.id] = &t;
  }
  pool_.reserve(pool_bytes);
  ends_.reserve(size);
  special_.resize(size);
  const auto text_of = [this](int id) { return bytes(id); };
  for (size_t id = 0; id < size; ++id) {
    const std::string_view token = id < v.tokens.size() ? std::string_view(v.tokens[id]) : std::string_view();
    auto raw = bytes_of_letters(token);
    if (added[id] && raw != added[id]->content) raw.reset();
    const std::string_view text = added[id] ? added[id]->content : raw ? *raw : token;
    pool_ += text;
    ends_.push_back(pool_.size());
    special_[id] = added[id] && added[id]->special;
    if (text.empty()) continue;
    if (added[id]) added_ids_.insert(text, static_cast<int>(id), text_of);
    if (!raw) continue;
    if (const auto twin = model_ids_.insert(text, static_cast<int>(id), text_of)) {
      throw Error(fmt::format("the token {} is listed twice, as {} and {}", quote(token), *twin, id));
    }
  }
}

void Tokenizer::load_bos_eos(const Vocabulary& v) {
  const auto check = [&](std::optional<int> id, std::string_view name, bool needed) {
    if (id && (*id < 0 || *id >= size())) {
      throw Error(fmt::format("{} is {}, but the vocabulary ends at {}", name, *id, size() - 1));
    }
    if (needed && !id) throw Error(fmt::format("{} is to be added to every text, but no such token is named", name));
  };
  if (v.add_bos) before_ = v.added_bos ? v.added_bos : v.bos;
  if (v.add_eos) after_ = v.added_eos ? v.added_eos : v.eos;
  check(v.bos, "the BOS token", v.add_bos && !before_);
  check(v.eos, "the EOS token", v.add_eos && !after_);
  check(before_, "the token before a text", false);
  check(after_, "the token after a text", false);
  check(v.unknown, "the unknown token", false);
  if (v.infill)
    for (const int id : {v.infill->prefix, v.infill->suffix, v.infill->middle}) check(id, "a fill-in token", false);
  bos_ = v.bos;
  eos_ = v.eos;
  infill_ = v.infill;
}

// Every way to cut a token into two tokens, with the token's id for a rank.
std::vector<Bpe::Merge> Tokenizer::merges_by_id() const {
  const auto text_of = [this](int id) { return bytes(id); };
  std::vector<Bpe::Merge> merges;
  for (int id = 0; id < size(); ++id) {
    const std::string_view token = bytes(id);
    if (model_ids_.find(token, text_of) != id) continue;  // an added token
    for (size_t cut = 1; cut < token.size(); ++cut) {
      const auto left = model_ids_.find(token.substr(0, cut), text_of);
      if (!left) continue;
      if (const auto right = model_ids_.find(token.substr(cut), text_of)) merges.push_back({*left, *right, id, id});
    }
    if (merges.size() > kMostMergesById)
      throw Error(fmt::format("the tokens join in more than {} ways", kMostMergesById))
          .because("each way to make a token of two others takes memory; Qwen1's vocabulary has some 400,000");
  }
  return merges;
}

std::vector<int> Tokenizer::encode(std::string_view text, bool special) const {
  const auto encode = [&](std::string_view valid) {
    return encode_valid(valid, special ? Provenance() : Provenance::all_said(valid.size()));
  };
  return is_valid_utf8(text) ? encode(text) : encode(repaired_utf8(text));
}

std::vector<int> Tokenizer::encode(const AttributedText& text) const {
  return encode_valid(text.text, text.provenance);
}

std::vector<int> Tokenizer::encode_with_bos(std::string_view text, bool special) const {
  std::vector<int> ids = encode(text, special);
  if (before_) ids.insert(ids.begin(), *before_);
  if (after_) ids.push_back(*after_);
  return ids;
}

std::vector<int> Tokenizer::encode_valid(std::string_view text, const Provenance& provenance) const {
  if (text.size() > kLongestText)
    throw Error(fmt::format("the text has {} bytes", text.size())).because("the limit is 1 GiB");
  std::vector<int> ids;
  PieceCache cache(text.size());
  std::vector<AddedTokenFinder::Part> raw, normalized;
  added_.raw.split(text, provenance, raw);
  for (const auto& part : raw) {
    if (part.id) {
      ids.push_back(*part.id);
      continue;
    }
    AttributedText segment = written(std::string(text.substr(part.begin, part.end - part.begin)));
    segment.provenance.add(0, provenance, part.begin, part.end);
    if (nfc_) segment = composed(segment);
    normalized.clear();
    added_.normalized.split(segment.text, segment.provenance, normalized);
    for (const auto& inner : normalized) {
      if (inner.id) {
        ids.push_back(*inner.id);
      } else {
        encode_plain(std::string_view(segment.text).substr(inner.begin, inner.end - inner.begin), cache, ids);
      }
    }
  }
  return ids;
}

void Tokenizer::encode_plain(std::string_view text, PieceCache& cache, std::vector<int>& ids) const {
  std::string storage;
  std::vector<std::string_view> pieces;
  pretokenizer_.split(text, storage, pieces);
  const auto text_of = [this](int id) { return bytes(id); };
  for (const std::string_view piece : pieces) {
    if (cache.recall(piece, ids)) continue;
    const size_t begin = ids.size();
    const auto whole = ignore_merges_ ? model_ids_.find(piece, text_of) : std::nullopt;
    if (whole) {
      ids.push_back(*whole);
    } else {
      bpe_.encode(piece, ids);
    }
    cache.remember(piece, begin, ids);
  }
}

std::string Tokenizer::decode(std::span<const int> ids, bool skip_special) const {
  std::string text;
  for (const int id : ids) {
    if (!skip_special || !is_special(id)) text += bytes(id);
  }
  return is_valid_utf8(text) ? text : repaired_utf8(text);
}

std::string_view Tokenizer::bytes(int id) const {
  if (id < 0 || id >= size()) return {};
  const size_t begin = id == 0 ? 0 : ends_[id - 1];
  return {pool_.data() + begin, ends_[id] - begin};
}

std::string Tokenizer::piece(int id) const {
  const std::string_view text = bytes(id);
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const Utf8Step step = utf8_step(text, at);
    if (step.kind == Utf8::valid) {
      out.append(text, at, step.bytes);
    } else {
      for (int i = 0; i < step.bytes; ++i) out += fmt::format("<0x{:02X}>", static_cast<uint8_t>(text[at + i]));
    }
    at += step.bytes;
  }
  return out;
}

bool Tokenizer::is_special(int id) const { return id >= 0 && id < size() && special_[id]; }

std::optional<int> Tokenizer::find(std::string_view token_text) const {
  const auto text_of = [this](int id) { return bytes(id); };
  const auto added = added_ids_.find(token_text, text_of);
  return added ? added : model_ids_.find(token_text, text_of);
}

}  // namespace cachalot
