// The tools that a model is told of.
#include "server/dialect/tools.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/quote.h"
#include "server/anthropic/fields.h"

namespace cachalot::anthropic {
namespace {

// Types have dates behind their names.
bool is_of(std::string_view type, std::initializer_list<std::string_view> names) {
  return std::any_of(names.begin(), names.end(), [&](std::string_view name) { return type.starts_with(name); });
}

[[noreturn]] void refuse_type(const Value& type) {
  const std::string& name = type.text();
  if (is_of(name, {"bash_", "text_editor_", "computer_", "memory_", "browser_"}))
    type.refuse(
        fmt::format("is {}, a tool whose schema other models were taught; declare it with an input_schema of "
                    "its own, and run it as any other",
                    quote(name)));
  if (is_of(name, {"web_search", "web_fetch", "code_execution", "advisor", "mcp_"}))
    type.refuse(fmt::format("is {}, a tool that a server runs; this one runs none", quote(name)));
  type.refuse(fmt::format("is {}; tools of the type 'custom' are taken, which may be absent", quote(name)));
}

// With what else the model can be told of it.
std::string description(const Value& tool) {
  std::string text = find(tool.json, "description") ? tool.member("description").text() : "";
  if (!find(tool.json, "input_examples")) return text;
  for (const Value& example : tool.member("input_examples").list(64)) {
    example.object();
    text += (text.empty() ? "" : "\n") + fmt::format("Example of its input: {}", dump(example.json));
  }
  return text;
}

Json function_of(const Value& tool) {
  Json function = {{"name", tool.json["name"]}};
  if (std::string text = description(tool); !text.empty()) function["description"] = std::move(text);
  function["parameters"] = tool.json["input_schema"];
  return {{"type", "function"}, {"function", std::move(function)}};
}

bool flag_of(const Value& tool, std::string_view name) { return find(tool.json, name) && tool.member(name).flag(); }

}  // namespace

Json offered_tools(const Value& tools, const ToolMentions& mentions) {
  ToolNames names;
  std::vector<Value> waiting;
  std::vector<Json> shown;
  bool searches = false;  // by a tool of the API's own: instead, all tools are shown at once
  for (const Value& tool : tools.list(kMostTools)) {
    tool.object();
    if (find(tool.json, "type") && tool.member("type").text().starts_with("tool_search_tool")) {
      searches = true;
      continue;
    }
    if (find(tool.json, "type") && tool.member("type").text() != "custom") refuse_type(tool.member("type"));
    tool.member("input_schema");
    check_function(tool, "input_schema");
    names.add(tool.member("name"));
    if (mentions.removed.contains(tool.member("name").text())) continue;
    if (flag_of(tool, "defer_loading"))
      waiting.push_back(tool);
    else
      shown.push_back(function_of(tool));
  }
  for (const std::string& name : mentions.added)
    for (const Value& tool : waiting)
      if (!searches && tool.json["name"] == name) shown.push_back(function_of(tool));
  if (searches)
    for (const Value& tool : waiting) shown.push_back(function_of(tool));
  return shown;
}

}  // namespace cachalot::anthropic
