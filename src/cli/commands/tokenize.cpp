// cachalot tokenize and detokenize. No weights are read.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "base/log.h"
#include "cli/command.h"
#include "cli/input.h"
#include "cli/options.h"
#include "cli/pulling.h"
#include "cli/terminal.h"
#include "session/prompt.h"

namespace cachalot {
namespace {

struct TokenizeOptions {
  std::string model;
  bool no_special = false, bos = false, json = false, pull = false;
};
struct DetokenizeOptions {
  std::string model, ids;
  bool skip_special = false, json = false, pull = false;
};

TextModel open_text(const std::string& model, bool pull) {
  return TextModel::read(Checkpoint::open(find_model(model, pull)));
}

int tokenize(const TokenizeOptions& o) {
  const TextModel model = open_text(o.model, o.pull);
  const std::string text = read_input("-");
  const auto ids =
      o.bos ? model.tokenizer.encode_with_bos(text, !o.no_special) : model.tokenizer.encode(text, !o.no_special);
  if (o.bos) warn_of_second_bos(model.tokenizer, ids);
  if (!o.json) {
    fmt::print("{}\n", fmt::join(ids, ","));
    return 0;
  }
  nlohmann::ordered_json pieces = nlohmann::ordered_json::array();
  for (const int id : ids) pieces.push_back(model.tokenizer.piece(id));
  fmt::print("{}\n", nlohmann::ordered_json{{"ids", ids}, {"pieces", pieces}}.dump());
  return 0;
}

int detokenize(const DetokenizeOptions& o) {
  const auto ids =
      o.ids == "-" ? parse_token_ids(read_input("-"), "standard input") : parse_token_ids(o.ids, "the list of ids");
  const TextModel model = open_text(o.model, o.pull);
  for (const int id : ids) {
    if (id < model.tokenizer.size()) continue;
    warn("id {} has no token: the vocabulary ends at {}", id, model.tokenizer.size() - 1);
    break;
  }
  const std::string text = model.tokenizer.decode(ids, o.skip_special);
  if (o.json)
    fmt::print("{}\n", nlohmann::ordered_json{{"text", text}}.dump());
  else
    print_whole_text(text);
  return 0;
}

}  // namespace

Command tokenize_command() {
  auto o = std::make_shared<TokenizeOptions>();
  Command command{.name = "tokenize", .about = "Turn text on standard input into token ids"};
  add_model_argument(command, o->model, o->pull);
  command.add(
      {.name = "--no-special", .help = "treat special tokens in the text as plain text", .value = &o->no_special});
  command.add(
      {.name = "--bos", .help = "add the BOS (and EOS) token that the checkpoint asks for", .value = &o->bos});
  add_json_flag(command, o->json);
  command.footer = "Example:\n  printf 'Hello, world' | cachalot tokenize ./Qwen3-0.6B --json";
  command.work = [o] { return tokenize(*o); };
  return command;
}

Command detokenize_command() {
  auto o = std::make_shared<DetokenizeOptions>();
  Command command{.name = "detokenize", .about = "Turn token ids into text"};
  add_model_argument(command, o->model, o->pull);
  command.add({.name = "IDS",
               .help = "ids separated by commas; - reads them from standard input",
               .value = &o->ids,
               .required = true});
  command.add({.name = "--skip-special", .help = "leave special tokens out", .value = &o->skip_special});
  add_json_flag(command, o->json);
  command.footer = "Example:\n  cachalot detokenize ./Qwen3-0.6B 9707,11,1879";
  command.work = [o] { return detokenize(*o); };
  return command;
}

}  // namespace cachalot
