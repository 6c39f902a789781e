// The tools that a conversation offers to the model, by name.
#pragma once

#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

namespace cachalot {

class Tools {
 public:
  // A list in the shape that templates take: {"type": "function", "function": {"name", "description", "parameters"}},
  // or what stands under "function" alone. Throws Error for another one.
  explicit Tools(const nlohmann::ordered_json& list);

  bool empty() const { return tools_.empty(); }
  bool has(std::string_view name) const { return find(name) != nullptr; }
  // "properties" of the tool's parameters; nullptr where there are none.
  const nlohmann::ordered_json* arguments(std::string_view tool) const;
  // What they say of one: its JSON schema ($ref is followed within the parameters). nullptr where it is not declared.
  const nlohmann::ordered_json* argument(std::string_view tool, std::string_view name) const;
  // What a schema within the tool's parameters stands for: itself, or where its "$ref" leads; nullptr where that is
  // nowhere.
  const nlohmann::ordered_json* resolved(std::string_view tool, const nlohmann::ordered_json& schema) const;

 private:
  struct Tool {
    std::string name;
    nlohmann::ordered_json parameters;
  };
  static constexpr int kMostHops = 16;  // of a $ref that leads to another
  const Tool* find(std::string_view name) const;

  std::vector<Tool> tools_;
};

}  // namespace cachalot
