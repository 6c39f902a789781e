#include "cli/chat_options.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/quote.h"
#include "formats/json_text.h"
#include "load/loaded_model.h"

namespace cachalot {
namespace {

constexpr int kMostTokens = 1 << 30;

// What is wrong with NAME=JSON.
std::string check_variable(const std::string& given) {
  return given.find('=') == std::string::npos || given.starts_with('=')
             ? quote(given) + " is not of the form NAME=JSON, as enable_thinking=false is"
             : "";
}

}  // namespace

void ChatOptions::add_to(Command& command) {
  constexpr const char* kGroup = "Prompt";
  command.add({.name = "--think",
               .help = "whether the model reasons before it answers [as it does by itself]",
               .value = &think,
               .type = "on|off",
               .group = kGroup,
               .one_of = {"on", "off"}});
  command.add({.name = "--max-thinking-tokens",
               .help = "after so many tokens of reasoning the model is made to answer",
               .value = &max_thinking_tokens,
               .type = "N",
               .group = kGroup,
               .range = Range{0, kMostTokens}});
  command.add({.name = "--template-var",
               .help = "a variable for the chat template; may be given several times",
               .value = &variables,
               .type = "NAME=JSON",
               .group = kGroup,
               .check = check_variable});
}

std::string ChatOptions::given() const {
  if (!think.empty()) return "--think";
  if (max_thinking_tokens) return "--max-thinking-tokens";
  return variables.empty() ? "" : "--template-var";
}

ChatRequest ChatOptions::request(const ChatTemplate& chat_template) const {
  ChatRequest request;
  for (const std::string& given : variables) {
    const size_t equals = given.find('=');
    const std::string name = given.substr(0, equals);
    for (const char* own : {"messages", "tools", "add_generation_prompt"})
      if (name == own) throw Error(fmt::format("--template-var: {} is not a variable of its own", quote(name)));
    if (chat_template.provides(name))
      throw Error(fmt::format("--template-var: {} is a name of the template's own", quote(name)));
    try {
      request.variables[name] = parse_ordered_json(given.substr(equals + 1), "--template-var " + name);
    } catch (Error& error) {
      throw std::move(error).hint("a text stands in double quotes: --template-var 'name=\"text\"'");
    }
  }
  request.thinking.read(request.variables);
  if (!think.empty()) request.thinking.on = think == "on";
  if (max_thinking_tokens) request.thinking.limit(*max_thinking_tokens);
  return request;
}

}  // namespace cachalot
