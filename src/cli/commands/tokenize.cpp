// cachalot tokenize and detokenize. No weights are read.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "base/log.h"
#include "cli/command.h"
#include "cli/generate.h"
#include "cli/input.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "load/find_model.h"

namespace cachalot {
namespace {

struct TokenizeOptions {
  std::string model;
  bool no_special = false, bos = false, json = false;
};
struct DetokenizeOptions {
  std::string model, ids;
  bool skip_special = false, json = false;
};

TextModel open_text(const std::string& model) { return TextModel::read(Checkpoint::open(resolve_model(model))); }

int tokenize(const TokenizeOptions& o) {
  const TextModel model = open_text(o.model);
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
  const TextModel model = open_text(o.model);
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

void add_tokenize(CLI::App& program, Work& chosen) {
  auto o = std::make_shared<TokenizeOptions>();
  CLI::App& command = new_command(program, "tokenize", "Turn text on standard input into token ids");
  add_model_argument(command, o->model);
  command.add_flag("--no-special", o->no_special, "treat special tokens in the text as plain text");
  command.add_flag("--bos", o->bos, "add the BOS (and EOS) token that the checkpoint asks for");
  add_json_flag(command, o->json);
  command.footer("Example:\n  printf 'Hello, world' | cachalot tokenize ./Qwen3-0.6B --json");
  when_chosen(command, chosen, o, tokenize);
}

void add_detokenize(CLI::App& program, Work& chosen) {
  auto o = std::make_shared<DetokenizeOptions>();
  CLI::App& command = new_command(program, "detokenize", "Turn token ids into text");
  add_model_argument(command, o->model);
  command.add_option("IDS", o->ids, "ids separated by commas; - reads them from standard input")
      ->required()
      ->type_name("");
  command.add_flag("--skip-special", o->skip_special, "leave special tokens out");
  add_json_flag(command, o->json);
  command.footer("Example:\n  cachalot detokenize ./Qwen3-0.6B 9707,11,1879");
  when_chosen(command, chosen, o, detokenize);
}

}  // namespace cachalot
