// Whose words a text is made of. A prompt is written by its template, and within it stands what was said in the
// conversation: by users, tools, models. Which is which is noted beside the text, never in it, so that whoever reads
// or compares the text sees nothing else.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace cachalot {

// Which bytes of a text (of less than 4 GiB) were said; the template wrote the others.
class Provenance {
 public:
  struct Span {
    uint32_t begin, end;
    bool operator==(const Span&) const = default;
  };

  Provenance() = default;  // nothing was said
  static Provenance all_said(size_t bytes);

  bool nothing_said() const { return first_.end == 0; }
  bool all_said_of(size_t bytes) const { return more_.empty() && first_.begin == 0 && first_.end == bytes; }
  bool said(size_t begin, size_t end) const;  // any of these bytes
  // Ascending; none is empty or touches the next.
  std::span<const Span> spans() const {
    return more_.empty() ? std::span(&first_, nothing_said() ? 0 : 1) : std::span<const Span>(more_);
  }
  size_t heap_bytes() const { return more_.capacity() * sizeof(Span); }

  // Both add at the end: `at` is not before what was added last.
  void add(size_t at, size_t bytes);
  // What was said of bytes begin to end of another text, which now stand at `at`.
  void add(size_t at, const Provenance& of, size_t begin, size_t end) {
    if (!of.nothing_said()) add_spans(at, of, begin, end);
  }

 private:
  void add_spans(size_t at, const Provenance& of, size_t begin, size_t end);

  Span first_ = {0, 0};     // the only one: of most texts all was said or nothing
  std::vector<Span> more_;  // all, when there are several
};

// A text and its provenance. Grows at its end.
struct AttributedText {
  std::string text;
  Provenance provenance;

  void write(std::string_view words) { text += words; }  // as the template
  void say(std::string_view words);
  void add(std::string_view words, bool said) { said ? say(words) : write(words); }
  void append(const AttributedText& more);
  void append(const AttributedText& whole, std::string_view part);  // a view into whole.text
  AttributedText part(std::string_view part) const;                 // a view into this text
  AttributedText all_said() &&;
};

// The text's words are those of the template.
inline AttributedText written(std::string text) { return {std::move(text), {}}; }

// Follows a rewriting of one text into another, step by step: what became of said text counts as said.
class Rewriting {
 public:
  Rewriting(const AttributedText& from, AttributedText& to) : from_(from), to_(to), made_(to.text.size()) {}
  // What `to` has grown by since the last step came of the bytes of `from` since then, up to `read`.
  void step(size_t read) {
    if (!from_.provenance.nothing_said()) attribute(read);
  }

 private:
  void attribute(size_t read);

  const AttributedText& from_;
  AttributedText& to_;
  size_t span_ = 0;         // of `from`: the first that ends behind read_
  size_t read_ = 0, made_;  // where the last step ended
};

// By address, the strings below a JSON value (keys included) in which something was said.
using Attribution = std::unordered_map<const std::string*, Provenance>;

}  // namespace cachalot
