#include "text/chat/reasoning.h"

#include <algorithm>

namespace cachalot {
namespace {

constexpr std::string_view kOpen = "<think>", kClose = "</think>";
constexpr std::string_view kSpaces = " \t\r\n\v\f";

// The length of the longest end of `text` that begins `tag` without being all of it.
size_t begun(std::string_view text, std::string_view tag) {
  for (size_t size = std::min(text.size(), tag.size() - 1); size > 0; --size) {
    if (text.ends_with(tag.substr(0, size))) return size;
  }
  return 0;
}

}  // namespace

SplitReply ReasoningSplitter::push(std::string_view text) {
  SplitReply split;
  held_ += text;
  while (step(split)) {}
  return split;
}

SplitReply ReasoningSplitter::flush() {
  SplitReply split;
  if (state_ == State::opened) held_.erase(0, held_.find_first_not_of('\n'));
  const bool inside = state_ == State::reasoning || state_ == State::opened;
  (inside ? split.reasoning : split.content) = std::move(held_);
  held_.clear();
  state_ = State::content;
  return split;
}

// Moves on in the held text; true when the next state may have work.
bool ReasoningSplitter::step(SplitReply& split) {
  switch (state_) {
    case State::unknown: return step_unknown();
    case State::opened: return step_opened();
    case State::reasoning: return step_reasoning(split);
    case State::closed: return drop_newlines(State::content);
    case State::content:
      split.content += held_;
      held_.clear();
      return false;
  }
  return false;
}

bool ReasoningSplitter::step_unknown() {
  const size_t begin = held_.find_first_not_of(kSpaces);
  if (begin == std::string::npos) return false;
  const std::string_view text = std::string_view(held_).substr(begin);
  if (text.starts_with(kOpen)) {
    held_.erase(0, begin + kOpen.size());
    state_ = State::opened;
    return true;
  }
  if (kOpen.starts_with(text)) return false;
  state_ = State::content;
  return true;
}

// A reply may open what is open already: models do that when the prompt ends with the tag.
bool ReasoningSplitter::step_opened() {
  const size_t begin = held_.find_first_not_of(kSpaces);
  if (begin == std::string::npos) return false;
  const std::string_view text = std::string_view(held_).substr(begin);
  if (text.starts_with(kOpen)) {
    held_.erase(0, begin + kOpen.size());
    return true;
  }
  return !kOpen.starts_with(text) && drop_newlines(State::reasoning);
}

bool ReasoningSplitter::drop_newlines(State next) {
  const size_t begin = held_.find_first_not_of('\n');
  held_.erase(0, begin);
  if (begin == std::string::npos) return false;
  state_ = next;
  return true;
}

bool ReasoningSplitter::step_reasoning(SplitReply& split) {
  const size_t close = held_.find(kClose);
  size_t end = close == std::string::npos ? held_.size() - begun(held_, kClose) : close;
  const size_t tag = end;
  while (end > 0 && held_[end - 1] == '\n') --end;
  split.reasoning += std::string_view(held_).substr(0, end);
  if (close == std::string::npos) {
    held_.erase(0, end);
    return false;
  }
  held_.erase(0, tag + kClose.size());
  state_ = State::closed;
  return true;
}

bool prompt_opens_reasoning(std::string_view rendered_prompt) {
  const size_t last = rendered_prompt.find_last_not_of(kSpaces);
  return last != std::string_view::npos && rendered_prompt.substr(0, last + 1).ends_with(kOpen);
}

}  // namespace cachalot
