#include "server/dialect/tools.h"

#include <fmt/format.h>

#include "base/quote.h"
#include "session/chat_request.h"

namespace cachalot::dialect {

void check_function(const Value& function, std::string_view schema) {
  const Value name = function.member("name");
  if (const std::string fault = fault_of_tool_name(name.text()); !fault.empty()) name.refuse(fault);
  if (find(function.json, "description")) function.member("description").text();
  if (find(function.json, "strict")) function.member("strict").flag();
  if (!find(function.json, schema)) return;
  const Value parameters = function.member(schema);
  parameters.object();
  if (find(parameters.json, "type") && parameters.json["type"] != "object")
    parameters.member("type").expect("\"object\"");
  if (find(parameters.json, "properties")) parameters.member("properties").object();
}

void ToolNames::add(const Value& name) {
  const auto [place, is_new] = paths_.emplace(name.text(), name.path);
  if (!is_new) name.refuse(fmt::format("{} is {}, too", quote(name.text()), place->second));
}

}  // namespace cachalot::dialect
