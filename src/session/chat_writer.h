// A conversation as its template writes it, by rules that hold for every template and every API:
//
// - What the system says at the beginning is one message; its parts are joined by a blank line. What it says later
//   stays where it is if the template writes it there and refuses nothing. Otherwise it becomes the beginning of what
//   the user says next, or a turn of the user's where that is not next.
// - Several messages in a row of the user or the assistant stay several, unless the template refuses that; then they
//   are joined by a blank line.
// - A template that takes no system message at all finds its text in the user's first turn.
// - Tools are given to the template as they are. One that does not write them finds them in the system's text, behind
//   what that says (call_syntax.h has the words).
// - Calls are given in the shape that the template takes (TemplateHabits): with the arguments as an object or as a
//   text, with no content, an empty or a null one beside them. A template that takes one call a message finds each in
//   a message of its own, followed by its result. What a template leaves out, or takes only without text beside it,
//   stands in the assistant's text as the model writes it; and results, where it leaves those out, in a user's turn.
// - Results that name their calls stand in the order of those, since templates tell them apart by their place alone.
//
// So the arrangement is the first, of at most eight, that the template does not refuse and in which all that the
// system said and all names of tools called appear; or the first without the former, where a template changes texts.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <vector>

#include "session/template_habits.h"
#include "text/chat/chat_template.h"
#include "text/chat/reply_format.h"

namespace cachalot {

struct ChatRequest;

struct WrittenChat {
  AttributedText text;
  std::optional<int> reasoning_tokens;  // that the answer may have at most
};

class ChatWriter {
 public:
  // Borrows the template, and asks it for its habits.
  ChatWriter(const ChatTemplate& chat_template, ReplyFormat format);

  // Throws Error with the template's reason when it refuses all arrangements. There must be a message.
  WrittenChat write(const ChatRequest& request) const;

 private:
  struct Turn;
  enum class Arrangement { as_it_is, later_system_by_user, joined, system_by_user };
  class Arranging;
  AttributedText render(const ChatRequest& request, const std::vector<Turn>& turns,
                        const nlohmann::ordered_json& variables) const;

  // Where there are tools that the template writes, and elsewhere.
  const TemplateHabits& habits_for(const ChatRequest& request) const;

  const ChatTemplate& template_;
  ReplyFormat format_;
  TemplateHabits habits_, habits_with_tools_;
};

}  // namespace cachalot
