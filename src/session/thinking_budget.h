// A limit of reasoning. When an answer has spent it, the model is made to say what ends reasoning in its format, and
// goes on with the answer: until that is said, the one token may follow that comes next of it.
//
// What counts are the tokens behind the opening tag, which may stand in the prompt or be written by the model. A
// character of several tokens is not cut, so up to three more may follow. Of what ends reasoning, "\n</think>\n\n",
// that is left out which has been said already: a line break, the beginning of a tag.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/request.h"
#include "text/chat/reply_format.h"
#include "text/tokenizer/tokenizer.h"

namespace cachalot {

// Follows the answers of a request. Different answers may be asked for by different threads at once.
class ThinkingBudget {
 public:
  // Borrows the tokenizer. starts_inside: the prompt has opened reasoning. `vocab` is the model's.
  ThinkingBudget(const Tokenizer& tokenizer, const ReplyFormat& format, bool starts_inside, int most_tokens,
                 int answers, int vocab);

  // The tokens that may follow, as in Request::allowed; empty: this limits nothing. An answer grows by any number of
  // tokens from call to call, or is asked for again, or begins anew.
  std::span<const uint64_t> allowed(int answer, std::span<const int32_t> so_far);

 private:
  enum class State { unknown, reasoning, ending, over };
  struct Answer {
    State state = State::unknown;
    size_t seen = 0;    // tokens
    int32_t last = -1;  // of them
    int spent = 0;      // tokens of reasoning
    std::string text;   // in State::unknown all, in State::reasoning what may matter of its end
    std::vector<int32_t> ending;
    size_t ending_begin = 0;  // the tokens before
    std::vector<uint64_t> mask;
  };
  void restart(Answer& answer) const;
  void take(Answer& answer, int32_t token) const;
  void end_if_spent(Answer& answer) const;
  std::string rest_of_end(const std::string& text) const;

  const Tokenizer& tokenizer_;
  std::string open_, close_, end_;
  bool starts_inside_;
  int most_tokens_, vocab_;
  std::vector<Answer> answers_;
};

// Limits the reasoning of all answers. What else the request allows holds where reasoning is not being ended.
void limit_reasoning(Request& request, int most_tokens, const Tokenizer& tokenizer, const ReplyFormat& format,
                     bool starts_inside, int vocab);

}  // namespace cachalot
