#include "jinja/provenance.h"

#include <algorithm>

namespace cachalot {
namespace {

// The first span that ends behind `at`.
auto first_behind(std::span<const Provenance::Span> spans, size_t at) {
  return std::partition_point(spans.begin(), spans.end(), [&](const auto& span) { return span.end <= at; });
}

}  // namespace

Provenance Provenance::all_said(size_t bytes) {
  Provenance all;
  all.add(0, bytes);
  return all;
}

bool Provenance::said(size_t begin, size_t end) const {
  const auto all = spans();
  const auto span = first_behind(all, begin);
  return span != all.end() && span->begin < end;
}

void Provenance::add(size_t at, size_t bytes) {
  if (bytes == 0) return;
  const Span span = {static_cast<uint32_t>(at), static_cast<uint32_t>(at + bytes)};
  Span& last = more_.empty() ? first_ : more_.back();
  if (nothing_said()) {
    first_ = span;
  } else if (last.end == span.begin) {
    last.end = span.end;
  } else {
    if (more_.empty()) more_.push_back(first_);
    more_.push_back(span);
  }
}

void Provenance::add_spans(size_t at, const Provenance& of, size_t begin, size_t end) {
  const auto all = of.spans();
  for (auto span = first_behind(all, begin); span != all.end() && span->begin < end; ++span) {
    const size_t first = std::max<size_t>(span->begin, begin), last = std::min<size_t>(span->end, end);
    add(at + first - begin, last - first);
  }
}

void AttributedText::say(std::string_view words) {
  provenance.add(text.size(), words.size());
  text += words;
}

void AttributedText::append(const AttributedText& more) {
  provenance.add(text.size(), more.provenance, 0, more.text.size());
  text += more.text;
}

void AttributedText::append(const AttributedText& whole, std::string_view part) {
  if (part.empty()) return;
  const auto begin = static_cast<size_t>(part.data() - whole.text.data());
  provenance.add(text.size(), whole.provenance, begin, begin + part.size());
  text += part;
}

AttributedText AttributedText::part(std::string_view part) const {
  AttributedText out;
  out.append(*this, part);
  return out;
}

AttributedText AttributedText::all_said() && {
  provenance = Provenance::all_said(text.size());
  return std::move(*this);
}

void Rewriting::attribute(size_t read) {
  const auto spans = from_.provenance.spans();
  while (span_ < spans.size() && spans[span_].end <= read_) ++span_;
  if (span_ < spans.size() && spans[span_].begin < read) to_.provenance.add(made_, to_.text.size() - made_);
  read_ = read;
  made_ = to_.text.size();
}

}  // namespace cachalot
