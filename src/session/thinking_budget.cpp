#include "session/thinking_budget.h"

#include <algorithm>
#include <memory>

#include "base/check.h"
#include "text/unicode.h"

namespace cachalot {
namespace {

constexpr std::string_view kSpaces = " \t\r\n\v\f";
constexpr int kMostOfCharacter = 3;  // tokens by which the end of a character is waited for

// Whether the last character lacks bytes.
bool within_character(std::string_view text) {
  for (size_t size = 1; size <= std::min<size_t>(3, text.size()); ++size) {
    const Utf8Step step = utf8_step(text, text.size() - size);
    if (step.kind == Utf8::incomplete && step.bytes == static_cast<int>(size)) return true;
  }
  return false;
}

// The length of the longest end of `text` that begins `whole`.
size_t overlap(std::string_view text, std::string_view whole) {
  for (size_t size = std::min(text.size(), whole.size()); size > 0; --size)
    if (text.ends_with(whole.substr(0, size))) return size;
  return 0;
}

}  // namespace

ThinkingBudget::ThinkingBudget(const Tokenizer& tokenizer, const ReplyFormat& format, bool starts_inside,
                               int most_tokens, int answers, int vocab)
    : tokenizer_(tokenizer),
      open_(format.reasoning_open),
      close_(format.reasoning_close),
      end_(format.reasoning_end),
      starts_inside_(starts_inside),
      most_tokens_(most_tokens),
      vocab_(vocab),
      answers_(static_cast<size_t>(answers)) {
  CHECK(end_.find(close_) != std::string::npos);
  for (Answer& answer : answers_) restart(answer);
}

void ThinkingBudget::restart(Answer& answer) const {
  answer.state = starts_inside_ ? State::reasoning : State::unknown;
  answer.seen = 0;
  answer.last = -1;
  answer.spent = 0;
  answer.text.clear();
  end_if_spent(answer);
}

std::span<const uint64_t> ThinkingBudget::allowed(int number, std::span<const int32_t> so_far) {
  Answer& answer = answers_[static_cast<size_t>(number)];
  if (so_far.size() < answer.seen || (answer.seen > 0 && so_far[answer.seen - 1] != answer.last)) restart(answer);
  while (answer.seen < so_far.size()) {
    answer.last = so_far[answer.seen];
    ++answer.seen;
    take(answer, answer.last);
  }
  if (answer.state != State::ending) return {};
  const int32_t next = answer.ending[answer.seen - answer.ending_begin];
  answer.mask.assign(static_cast<size_t>(vocab_ + 63) / 64, 0);
  answer.mask[static_cast<size_t>(next) / 64] = uint64_t{1} << (next % 64);
  return answer.mask;
}

void ThinkingBudget::take(Answer& answer, int32_t token) const {
  switch (answer.state) {
    case State::over: return;
    case State::ending:
      if (answer.seen - answer.ending_begin == answer.ending.size()) answer.state = State::over;
      return;
    case State::unknown: {
      answer.text += tokenizer_.bytes(token);
      const size_t begin = answer.text.find_first_not_of(kSpaces);
      if (begin == std::string::npos) return;
      const auto said = std::string_view(answer.text).substr(begin);
      if (said.starts_with(open_)) {
        answer.state = State::reasoning;
        answer.text.erase(0, begin + open_.size());
        answer.spent = answer.text.empty() ? 0 : 1;
        return end_if_spent(answer);
      }
      if (!open_.starts_with(said)) answer.state = State::over;
      return;
    }
    case State::reasoning: {
      answer.text += tokenizer_.bytes(token);
      ++answer.spent;
      if (answer.text.find(close_) != std::string::npos) {
        answer.state = State::over;
        return;
      }
      const size_t matters = close_.size() + end_.size();
      if (answer.text.size() > matters) answer.text.erase(0, answer.text.size() - matters);
      return end_if_spent(answer);
    }
  }
}

void ThinkingBudget::end_if_spent(Answer& answer) const {
  if (answer.state != State::reasoning || answer.spent < most_tokens_) return;
  if (within_character(answer.text) && answer.spent < most_tokens_ + kMostOfCharacter) return;
  const std::string rest = rest_of_end(answer.text);
  answer.ending = tokenizer_.encode(rest);
  // A tag that the model has no row for, it would not write either.
  const auto exists = [&](int32_t token) { return token < vocab_; };
  if (!std::all_of(answer.ending.begin(), answer.ending.end(), exists))
    answer.ending = tokenizer_.encode(rest, /*special=*/false);
  answer.ending_begin = answer.seen;
  answer.state = answer.ending.empty() ? State::over : State::ending;
}

std::string ThinkingBudget::rest_of_end(const std::string& text) const {
  const size_t said = overlap(text, end_), tag = overlap(text, close_);
  if (tag <= said) return end_.substr(said);
  return end_.substr(end_.find(close_) + tag);
}

void limit_reasoning(Request& request, int most_tokens, const Tokenizer& tokenizer, const ReplyFormat& format,
                     bool starts_inside, int vocab) {
  const auto budget =
      std::make_shared<ThinkingBudget>(tokenizer, format, starts_inside, most_tokens, request.answers, vocab);
  request.allowed = [budget, others = std::move(request.allowed)](int answer, std::span<const int32_t> so_far) {
    const auto ending = budget->allowed(answer, so_far);
    return ending.empty() && others ? others(answer, so_far) : ending;
  };
}

}  // namespace cachalot
