// What a chat template does with a conversation. Templates do not say it, so one is asked, once, with short
// conversations whose words can be found again in what it writes.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <vector>

#include "session/thinking.h"
#include "text/chat/chat_template.h"

namespace cachalot {

struct TemplateHabits {
  // How a message that calls tools is to be given to it.
  struct Calls {
    enum class Content { absent, empty, null };
    Content content = Content::absent;  // of one without text
    bool objects = true;                // arguments are objects, or else texts
    bool beside_text = false;           // it writes calls and text of the same message
    bool several = false;               // it writes several calls of one message
  };

  bool tools = false;              // it writes the definitions of tools
  std::optional<Calls> calls;      // none: it leaves calls out
  bool results = false;            // it writes messages of tools
  bool switches_thinking = false;  // `enable_thinking` or `thinking` make a difference
  std::vector<Effort> efforts;     // `reasoning_effort` makes a difference: those that it takes

  bool reads(Effort effort) const;

  // with_tools: in conversations that offer some; a checkpoint may have another template for those.
  static TemplateHabits of(const ChatTemplate& chat_template, bool with_tools);
};

}  // namespace cachalot
