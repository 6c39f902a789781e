// A conversation as the tokens that a model reads. What the template writes may be special tokens; what users, tools
// and models said stays plain text, so that a message which contains "<|im_end|>" cannot end its own turn.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "text/chat/chat_template.h"
#include "text/tokenizer/tokenizer.h"

namespace cachalot {

struct ChatPrompt {
  std::vector<int32_t> tokens;  // no BOS is added: the template writes it where there is one
  AttributedText rendered;
};

// Renders `variables` (messages, tools, add_generation_prompt, …) and encodes the result. Added tokens are plain text
// in all that was said, by ChatTemplate::write's account of it.
// Malformed UTF-8 in strings becomes U+FFFD. Throws Error when the template fails or refuses.
ChatPrompt encode_chat(const Tokenizer& tokenizer, const ChatTemplate& chat_template,
                       const nlohmann::ordered_json& variables);

}  // namespace cachalot
