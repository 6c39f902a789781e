#include "text/pretokenizer/pretokenizer.h"

#include <algorithm>

#include "base/error.h"

namespace cachalot {

struct PreTokenizer::Step {
  std::unique_ptr<SplitPattern> pattern;  // none: the step does not split
  SplitBehaviour behaviour = SplitBehaviour::isolated;
  bool invert = false;
  bool prefix_space = false;
};

namespace {

struct Segment {
  size_t begin, end;
  bool is_match;
};

// Matches and the text between them, in order.
void list_segments(size_t piece_bytes, const std::vector<Match>& matches, bool invert,
                   std::vector<Segment>& segments) {
  segments.clear();
  size_t at = 0;
  for (const Match m : matches) {
    if (m.begin > at) segments.push_back({at, m.begin, invert});
    segments.push_back({m.begin, m.end, !invert});
    at = m.end;
  }
  if (at < piece_bytes) segments.push_back({at, piece_bytes, invert});
}

// Joins segments as the behaviour says. `joins(previous, next)`: whether next goes into the piece before it.
template <typename Joins>
void join(std::vector<Segment>& segments, Joins joins) {
  size_t kept = 0;
  bool previous_match = false;
  for (size_t i = 0; i < segments.size(); ++i) {
    const Segment next = segments[i];
    if (kept > 0 && joins(previous_match, next.is_match)) {
      segments[kept - 1].end = next.end;
    } else {
      segments[kept++] = next;
    }
    previous_match = next.is_match;
  }
  segments.resize(kept);
}

void apply(SplitBehaviour behaviour, std::vector<Segment>& segments) {
  switch (behaviour) {
    case SplitBehaviour::isolated: return;
    case SplitBehaviour::removed: std::erase_if(segments, [](const Segment& s) { return s.is_match; }); return;
    case SplitBehaviour::contiguous:
      join(segments, [](bool previous, bool next) { return previous == next; });
      return;
    case SplitBehaviour::merged_with_previous:
      join(segments, [](bool previous, bool next) { return next && !previous; });
      return;
    case SplitBehaviour::merged_with_next: {
      // The same from the right: a match goes into the piece after it unless that piece is a match.
      std::reverse(segments.begin(), segments.end());
      for (Segment& s : segments) std::swap(s.begin, s.end);
      join(segments, [](bool previous, bool next) { return next && !previous; });
      for (Segment& s : segments) std::swap(s.begin, s.end);
      std::reverse(segments.begin(), segments.end());
      return;
    }
  }
}

// Writes all pieces into one new buffer, each that does not start with a space after a new one.
void insert_spaces(std::string& storage, std::vector<std::string_view>& pieces) {
  std::string text;
  std::vector<size_t> ends;
  for (const std::string_view piece : pieces) {
    if (!piece.starts_with(' ')) text += ' ';
    text += piece;
    ends.push_back(text.size());
  }
  storage = std::move(text);
  size_t begin = 0;
  for (size_t i = 0; i < pieces.size(); ++i) {
    pieces[i] = std::string_view(storage).substr(begin, ends[i] - begin);
    begin = ends[i];
  }
}

}  // namespace

PreTokenizer::PreTokenizer(const std::vector<PreTokenizerStep>& steps) {
  for (const PreTokenizerStep& step : steps) {
    if (const auto* split = std::get_if<SplitStep>(&step)) {
      steps_.push_back({split->literal ? literal_pattern(split->pattern) : compile_split_pattern(split->pattern),
                        split->behaviour, split->invert, false});
    } else if (const auto* digits = std::get_if<DigitsStep>(&step)) {
      steps_.push_back({compile_split_pattern(digits->individual ? R"(\p{N})" : R"(\p{N}+)"),
                        SplitBehaviour::isolated, false, false});
    } else {
      const auto& bytes = std::get<ByteLevelStep>(step);
      if (!bytes.use_regex && !bytes.add_prefix_space) continue;
      steps_.push_back({bytes.use_regex ? compile_split_pattern(kGpt2Pattern) : nullptr, SplitBehaviour::isolated,
                        false, bytes.add_prefix_space});
    }
  }
}
PreTokenizer::~PreTokenizer() = default;
PreTokenizer::PreTokenizer(PreTokenizer&&) noexcept = default;
PreTokenizer& PreTokenizer::operator=(PreTokenizer&&) noexcept = default;

void PreTokenizer::split(std::string_view text, std::string& storage, std::vector<std::string_view>& pieces) const {
  pieces.clear();
  if (text.empty()) return;
  pieces.push_back(text);
  PatternBudget budget = budget_for(text.size());
  std::vector<Match> matches;
  std::vector<Segment> segments;
  std::vector<std::string_view> next;
  for (const Step& step : steps_) {
    if (step.prefix_space) insert_spaces(storage, pieces);
    if (!step.pattern) continue;
    next.clear();
    for (const std::string_view piece : pieces) {
      matches.clear();
      step.pattern->find_all(piece, budget, matches);
      list_segments(piece.size(), matches, step.invert, segments);
      apply(step.behaviour, segments);
      for (const Segment& s : segments) {
        if (s.end > s.begin) next.push_back(piece.substr(s.begin, s.end - s.begin));
      }
    }
    pieces.swap(next);
  }
}

}  // namespace cachalot
