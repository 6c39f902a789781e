#include "session/answer_spans.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace cachalot {
namespace {

std::string_view between(std::string_view text, size_t begin, size_t end) { return text.substr(begin, end - begin); }

size_t common_prefix(std::string_view a, std::string_view b) {
  return static_cast<size_t>(std::mismatch(a.begin(), a.begin() + std::min(a.size(), b.size()), b.begin()).first -
                             a.begin());
}

// Where the template itself wrote `words`: behind each place.
std::vector<size_t> ends_of(const AttributedText& rendered, std::string_view words) {
  std::vector<size_t> ends;
  for (size_t at = rendered.text.find(words); at != std::string::npos; at = rendered.text.find(words, at + 1))
    if (!rendered.provenance.said(at, at + words.size())) ends.push_back(at + words.size());
  return ends;
}

}  // namespace

std::string answer_opening(const ChatTemplate& chat_template) {
  const nlohmann::ordered_json asked = {{"role", "user"}, {"content", "a"}},
                               answered = {{"role", "assistant"}, {"content", "b"}};
  try {
    const AttributedText turns = chat_template.write({{"messages", {asked, answered, asked}}});
    const auto said = turns.provenance.spans();
    if (said.size() != 3) return "";
    const std::string_view before_answer = between(turns.text, said[0].end, said[1].begin),
                           before_question = between(turns.text, said[1].end, said[2].begin),
                           end_of_prompt = std::string_view(turns.text).substr(said[2].end);
    std::string_view opening = before_answer.substr(common_prefix(before_answer, before_question));
    // A space that is not there yet when the model begins is the answer's.
    while (!opening.empty() && end_of_prompt.find(opening) == end_of_prompt.npos) opening.remove_suffix(1);
    return std::string(opening);
  } catch (const Error&) { return ""; }
}

std::vector<PositionSpan> answer_spans(const AttributedText& rendered, std::span<const int32_t> tokens,
                                       const Tokenizer& tokenizer, std::string_view opening,
                                       std::span<const int32_t> end_tokens) {
  if (opening.empty()) return {};
  const std::string_view text = rendered.text;
  std::vector<size_t> openings = ends_of(rendered, opening);
  if (openings.empty()) return {};
  const std::string_view rest = text.substr(openings.back());  // "<think>\n"
  if (rendered.provenance.said(openings.back(), text.size())) return {};
  openings.pop_back();
  for (size_t& begin : openings) begin += common_prefix(text.substr(begin), rest);  // now of answers

  std::vector<PositionSpan> spans;
  auto next = openings.begin();
  size_t at = 0;        // where the token begins
  bool inside = false;  // an answer
  for (size_t i = 0; i < tokens.size(); ++i) {
    const auto position = static_cast<int>(i);
    if (next != openings.end() && at >= *next) {
      if (!inside) spans.push_back({position, position});
      inside = true;
      ++next;
    }
    if (inside && std::find(end_tokens.begin(), end_tokens.end(), tokens[i]) != end_tokens.end()) inside = false;
    if (inside) spans.back().end = position + 1;
    at += tokenizer.bytes(tokens[i]).size();
  }
  if (at != text.size()) return {};
  std::erase_if(spans, [](const PositionSpan& span) { return span.begin == span.end; });
  return spans;
}

}  // namespace cachalot
