// Splits a streamed reply into the reasoning between <think> and </think> and the content behind it, on text: it does
// not matter how the tags were cut into tokens. Tool calls stay in the content.
//
//   ReasoningSplitter splitter(prompt_opens_reasoning(prompt));
//   for each piece of valid UTF-8:  show(splitter.push(piece));
//   show(splitter.flush());
#pragma once

#include <string>
#include <string_view>

namespace cachalot {

// What became certain; either part may be empty.
struct SplitReply {
  std::string reasoning, content;
};

class ReasoningSplitter {
 public:
  // starts_inside: the prompt ended with an opened <think>. Otherwise reasoning begins when the reply, after white
  // space, begins with <think>; a reply that begins otherwise is content to its end. Reasoning that is
  // opened once more before it says anything, by one <think> or several with white space between, is opened once.
  explicit ReasoningSplitter(bool starts_inside) : state_(starts_inside ? State::opened : State::unknown) {}

  // Holds back what may still become a tag, and newlines, which are dropped next to a tag. The first </think> ends
  // the reasoning; later ones are content.
  SplitReply push(std::string_view text);
  // The end of the reply: gives out what was held back. In reasoning, everything was reasoning.
  SplitReply flush();

  size_t held_bytes() const { return held_.size(); }
  // Whether what comes now is certainly reasoning, certainly content.
  bool in_reasoning() const { return state_ == State::opened || state_ == State::reasoning; }
  bool in_content() const { return state_ == State::content; }

 private:
  enum class State { unknown, opened, reasoning, closed, content };
  bool step(SplitReply& split);
  bool step_unknown();
  bool step_opened();
  bool step_reasoning(SplitReply& split);
  bool drop_newlines(State next);

  State state_;
  std::string held_;
};

// Whether a prompt ends with an opened <think>, white space behind it allowed.
bool prompt_opens_reasoning(std::string_view rendered_prompt);

}  // namespace cachalot
