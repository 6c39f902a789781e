#include "server/responses/tools.h"

#include <fmt/format.h>

#include <set>
#include <vector>

#include "base/quote.h"
#include "server/dialect/tools.h"

namespace cachalot::responses {
namespace {

constexpr size_t kMostFunctions = 1024;  // in all namespaces

// What clients list and nobody here can run. Some have dates in their names.
bool runs_elsewhere(std::string_view type) {
  static const std::set<std::string_view> kTypes = {"file_search",
                                                    "computer",
                                                    "computer_use",
                                                    "computer_use_preview",
                                                    "mcp",
                                                    "code_interpreter",
                                                    "image_generation",
                                                    "programmatic_tool_calling",
                                                    "local_shell",
                                                    "shell",
                                                    "tool_search",
                                                    "apply_patch"};
  return kTypes.contains(type) || type.starts_with("web_search");
}

// What a custom tool's input is to look like, in words: nothing holds the model to it yet.
std::string input_in_words(const Value& tool) {
  constexpr const char* kPlain = "The whole input, as plain text.";
  if (!find(tool.json, "format")) return kPlain;
  const Value format = tool.member("format");
  const Value type = format.member("type");
  if (type.text() == "text") return kPlain;
  if (type.text() != "grammar") type.expect("\"text\" or \"grammar\"");
  return fmt::format("The whole input, a text of this {} grammar:\n{}", format.member("syntax").text(),
                     format.member("definition").text());
}

Json custom_parameters(const Value& tool) {
  Json input = {{"type", "string"}, {"description", input_in_words(tool)}};
  return {{"type", "object"},
          {"properties", {{"input", std::move(input)}}},
          {"required", Json::array({"input"})},
          {"additionalProperties", false}};
}

// One tool that the model is told of.
struct ReadTool {
  OfferedTool offered;
  Value name;
  Json function;
};

class ReadTools {
 public:
  std::vector<ReadTool> all;
  Json told = Json::array();

  void take(const Value& tool) {
    const Value type = tool.member("type");
    if (type.text() == "function" || type.text() == "custom") {
      add(tool, "", "");
      told.push_back(as_told(tool));
    } else if (type.text() == "namespace") {
      take_namespace(tool);
    } else if (!runs_elsewhere(type.text())) {
      type.refuse(fmt::format("there are no tools of the type {} here, but functions, custom tools and namespaces",
                              quote(type.text())));
    }
  }

 private:
  void take_namespace(const Value& space) {
    const Value name = space.member("name");
    if (name.text().empty()) name.refuse("is empty");
    std::string about = find(space.json, "description") ? space.member("description").text() : "";
    for (const Value& tool : space.member("tools").list(kMostTools)) {
      const Value type = tool.member("type");
      if (type.text() != "function" && type.text() != "custom") type.expect("\"function\" or \"custom\"");
      add(tool, name.text(), std::exchange(about, ""));
    }
    told.push_back(space.json);
  }

  void add(const Value& tool, const std::string& space, std::string about) {
    if (all.size() == kMostFunctions)
      tool.refuse(fmt::format("is one more than the {} functions that are taken in all", kMostFunctions));
    check_function(tool);
    const bool custom = tool.json["type"] == "custom";
    const Value name = tool.member("name");
    names_[space].add(name);
    if (const Json* own = find(tool.json, "description"))
      about += (about.empty() ? "" : "\n\n") + own->get_ref<const std::string&>();
    Json function = {{"name", name.text()}};
    if (!about.empty()) function["description"] = std::move(about);
    if (custom)
      function["parameters"] = custom_parameters(tool);
    else if (const Json* parameters = find(tool.json, "parameters"))
      function["parameters"] = *parameters;
    all.push_back({{name.text(), space, custom}, name, std::move(function)});
  }

  // What was not said is null.
  static Json as_told(const Value& tool) {
    Json told = tool.json;
    if (told["type"] == "function")
      for (const char* name : {"description", "parameters", "strict"})
        if (!told.contains(name)) told[name] = nullptr;
    return told;
  }

  std::map<std::string, ToolNames> names_;  // of each namespace
};

}  // namespace

void OfferedTools::read(const Value& list) {
  ReadTools read;
  for (const Value& tool : list.list(kMostTools)) read.take(tool);
  std::map<std::string_view, int> times;  // that a name is there, in all
  for (const ReadTool& tool : read.all) ++times[tool.offered.name];
  for (ReadTool& tool : read.all) {
    const OfferedTool& offered = tool.offered;
    const bool own = offered.space.empty() || times[offered.name] == 1;
    const std::string name = own ? offered.name : offered.space + "." + offered.name;
    if (!by_name_.emplace(name, offered).second) tool.name.refuse(fmt::format("two tools are {}", quote(name)));
    names_[{offered.space, offered.name}] = name;
    tool.function["name"] = name;
    for_template_.push_back({{"type", "function"}, {"function", std::move(tool.function)}});
  }
  told_ = std::move(read.told);
}

const OfferedTool* OfferedTools::known_as(std::string_view name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : &found->second;
}

std::string OfferedTools::name_for_model(const std::string& space, const std::string& name) const {
  const auto found = names_.find({space, name});
  return found == names_.end() ? name : found->second;
}

Json custom_arguments(const std::string& input) { return {{"input", input}}; }

std::string custom_input(const std::string& arguments) {
  const Json json = Json::parse(arguments, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("input") || !json["input"].is_string()) return arguments;
  return json["input"].get<std::string>();
}

}  // namespace cachalot::responses
