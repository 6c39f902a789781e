// cachalot template: renders a checkpoint's chat template. No weights are read.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/command.h"
#include "cli/input.h"
#include "cli/options.h"
#include "cli/pulling.h"
#include "cli/terminal.h"
#include "formats/json_text.h"

namespace cachalot {
namespace {

struct TemplateOptions {
  std::string model, file;
  bool json = false, pull = false;
};

int render_template(const TemplateOptions& o) {
  const TextModel model = TextModel::read(Checkpoint::open(find_model(o.model, o.pull)));
  if (!model.chat_template) throw Error("it has no chat template").in(o.model);
  const std::string where = o.file == "-" ? "standard input" : o.file;
  nlohmann::ordered_json variables = parse_ordered_json(read_input(o.file), where);
  if (!variables.is_object() || !variables.contains("messages"))
    throw Error("the JSON must be an object with the key 'messages'")
        .in(where)
        .hint(R"(for example {"messages": [{"role": "user", "content": "Hello"}]})");
  if (!variables.contains("add_generation_prompt")) variables["add_generation_prompt"] = true;
  const std::string text = model.chat_template->render(variables);
  if (o.json)
    fmt::print("{}\n", nlohmann::ordered_json{{"text", text}}.dump());
  else
    print_whole_text(text);
  return 0;
}

}  // namespace

Command template_command() {
  auto o = std::make_shared<TemplateOptions>();
  Command command{.name = "template", .about = "Render the chat template of a checkpoint"};
  add_model_argument(command, o->model, o->pull);
  command.add(
      {.name = "FILE",
       .help = "JSON with messages, and optionally tools, add_generation_prompt [true] and other variables of the "
               "template; - reads standard input",
       .value = &o->file,
       .required = true});
  add_json_flag(command, o->json);
  command.footer = R"(Example:
  echo '{"messages": [{"role": "user", "content": "Hello"}]}' | cachalot template tiny-r1 -)";
  command.work = [o] { return render_template(*o); };
  return command;
}

}  // namespace cachalot
