#include "text/tokenizer/added_tokens.h"

#include <algorithm>

#include "text/unicode.h"

namespace cachalot {
namespace {

bool touches_word(std::string_view text, size_t begin, size_t end) {
  return (begin > 0 && is_word(code_point_before(text, begin).value)) ||
         (end < text.size() && is_word(code_point_at(text, end).value));
}

size_t back_over_space(std::string_view text, size_t at, size_t limit) {
  while (at > limit) {
    const CodePoint c = code_point_before(text, at);
    if (!(char_classes(c.value) & kSpace)) break;
    at -= c.bytes;
  }
  return at;
}

size_t forward_over_space(std::string_view text, size_t at) {
  while (at < text.size()) {
    const CodePoint c = code_point_at(text, at);
    if (!(char_classes(c.value) & kSpace)) break;
    at += c.bytes;
  }
  return at;
}

bool is_ordinary_text(const AddedToken& t) {
  if (t.special || !is_valid_utf8(t.content)) return false;
  if (code_point_at(t.content, 0).bytes == static_cast<int>(t.content.size())) return true;
  return forward_over_space(t.content, 0) == t.content.size();
}

// Walks through a text and tells where the words of the template that `at` stands in end; `at` itself in what was
// said.
class WrittenEnds {
 public:
  WrittenEnds(const Provenance& provenance, size_t bytes) : spans_(provenance.spans()), bytes_(bytes) {}
  size_t from(size_t at) {
    while (span_ < spans_.size() && spans_[span_].end <= at) ++span_;
    return span_ == spans_.size() ? bytes_ : std::max<size_t>(spans_[span_].begin, at);
  }

 private:
  const std::span<const Provenance::Span> spans_;
  size_t bytes_, span_ = 0;
};

}  // namespace

AddedTokenFinder::AddedTokenFinder(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  std::sort(tokens_.begin(), tokens_.end(),
            [](const AddedToken& a, const AddedToken& b) { return a.content < b.content; });
  for (size_t i = 0; i < tokens_.size(); ++i) {
    ordinary_.push_back(is_ordinary_text(tokens_[i]));
    Bucket& bucket = by_first_byte_[static_cast<uint8_t>(tokens_[i].content[0])];
    if (bucket.end == 0) bucket.begin = i;
    bucket.end = i + 1;
  }
}

// Narrows the sorted list by one byte of the text after the other; a content that is used up sorts first.
const AddedToken* AddedTokenFinder::longest_at(std::string_view text, size_t at, size_t written_end) const {
  auto [begin, end] = by_first_byte_[static_cast<uint8_t>(text[at])];
  const AddedToken* longest = nullptr;
  for (size_t depth = 1; begin < end; ++depth) {
    if (tokens_[begin].content.size() == depth) {
      if (ordinary_[begin] || at + depth <= written_end) longest = &tokens_[begin];
      ++begin;
    }
    if (begin == end || at + depth == text.size()) break;
    const auto byte_at = [&](const AddedToken& t) { return static_cast<uint8_t>(t.content[depth]); };
    const auto byte = static_cast<uint8_t>(text[at + depth]);
    const auto first = tokens_.begin();
    const auto low =
        std::partition_point(first + begin, first + end, [&](const auto& t) { return byte_at(t) < byte; });
    const auto high = std::partition_point(low, first + end, [&](const auto& t) { return byte_at(t) <= byte; });
    begin = low - first;
    end = high - first;
  }
  return longest;
}

void AddedTokenFinder::split(std::string_view text, const Provenance& provenance, std::vector<Part>& parts) const {
  WrittenEnds written_ends(provenance, text.size());
  size_t done = 0;  // everything before is in parts
  for (size_t at = 0; at < text.size();) {
    const Bucket bucket = by_first_byte_[static_cast<uint8_t>(text[at])];
    const AddedToken* token = bucket.begin < bucket.end ? longest_at(text, at, written_ends.from(at)) : nullptr;
    if (!token) {
      ++at;
      continue;
    }
    size_t begin = at, end = at + token->content.size();
    at = end;  // a match is used up even when it is not accepted
    if (token->single_word && touches_word(text, begin, end)) continue;
    if (token->lstrip) begin = back_over_space(text, begin, done);
    if (token->rstrip) end = forward_over_space(text, end);
    if (begin > done) parts.push_back({done, begin, std::nullopt});
    parts.push_back({begin, end, token->id});
    done = end;
    at = std::max(at, end);
  }
  if (done < text.size()) parts.push_back({done, text.size(), std::nullopt});
}

}  // namespace cachalot
