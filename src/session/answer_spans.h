// Where the assistant's earlier answers stand in a prompt. A generated row of latent attention takes the absorbed
// form; so do these, when the prompt of a later turn holds them, and what is cached of them can be used again
// (ops/batch.h).
//
// Templates do not say where an answer begins, so one is asked: a short conversation that tells what it writes before
// an answer and before nothing else ("assistant\n" in ChatML). An answer goes from there, and from what the prompt
// itself ends with beyond it ("<think>\n"), to the token that ends a turn. Whatever comes out is a function of the
// prompt alone; where it is not what was meant, answers are computed anew, and nothing is wrong.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "ops/batch.h"
#include "text/chat/chat_template.h"
#include "text/tokenizer/tokenizer.h"

namespace cachalot {

// What the template writes before an answer and not before what users say; empty where it tells no difference or
// refuses the question.
std::string answer_opening(const ChatTemplate& chat_template);

// The positions of earlier answers among `tokens`, which `rendered` was encoded to. None where the prompt does not
// end by opening an answer, or where tokens do not spell the text byte for byte (normalisation).
std::vector<PositionSpan> answer_spans(const AttributedText& rendered, std::span<const int32_t> tokens,
                                       const Tokenizer& tokenizer, std::string_view opening,
                                       std::span<const int32_t> end_tokens);

}  // namespace cachalot
