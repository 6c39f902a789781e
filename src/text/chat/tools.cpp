#include "text/chat/tools.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"

namespace cachalot {

using Json = nlohmann::ordered_json;

Tools::Tools(const Json& list) {
  if (!list.is_array()) throw Error("'tools' is not a list");
  for (size_t i = 0; i < list.size(); ++i) {
    const Json& said = list[i];
    const Json& tool = said.is_object() && said.contains("function") ? said["function"] : said;
    const auto name = tool.is_object() ? tool.find("name") : tool.end();
    if (name == tool.end() || !name->is_string() || name->get_ref<const std::string&>().empty())
      throw Error(fmt::format("tools[{}] has no name", i))
          .hint(R"(for example {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}})");
    const auto parameters = tool.find("parameters");
    tools_.push_back({*name, parameters == tool.end() ? Json::object() : *parameters});
  }
}

const Tools::Tool* Tools::find(std::string_view name) const {
  const auto found = std::find_if(tools_.begin(), tools_.end(), [&](const Tool& tool) { return tool.name == name; });
  return found == tools_.end() ? nullptr : &*found;
}

const Json* Tools::arguments(std::string_view tool) const {
  const Tool* found = find(tool);
  const Json* schema = found ? resolved(tool, found->parameters) : nullptr;
  if (!schema || !schema->is_object()) return nullptr;
  const auto properties = schema->find("properties");
  return properties == schema->end() || !properties->is_object() ? nullptr : &*properties;
}

const Json* Tools::argument(std::string_view tool, std::string_view name) const {
  const Json* declared = arguments(tool);
  if (!declared) return nullptr;
  const auto argument = declared->find(name);
  return argument == declared->end() ? nullptr : resolved(tool, *argument);
}

const Json* Tools::resolved(std::string_view tool, const Json& schema) const {
  const Tool* found = find(tool);
  const Json* at = &schema;
  for (int hops = 0; at->is_object() && at->contains("$ref"); ++hops) {
    const Json& target = (*at)["$ref"];
    if (hops == kMostHops || !found || !target.is_string() || !target.get_ref<const std::string&>().starts_with('#'))
      return nullptr;
    try {
      at = &found->parameters.at(Json::json_pointer(target.get_ref<const std::string&>().substr(1)));
    } catch (const Json::exception&) { return nullptr; }
  }
  return at;
}

}  // namespace cachalot
