// What agents have asked of a server, as tools/goldens/agent_requests.py has written it down: tests/goldens/agents/.
#pragma once

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

namespace cachalot::testing {

struct AgentRequest {
  std::string agent, name, path;  // the path without its query
  nlohmann::ordered_json headers, body;
};

// «N» stands for a text of N bytes.
inline std::string unfilled(const std::string& text) {
  static const std::string kOpen = "«", kClose = "»";
  if (!text.starts_with(kOpen) || !text.ends_with(kClose)) return text;
  const auto size = std::stoul(text.substr(kOpen.size()));
  std::string filler;
  while (filler.size() < size) filler += "So goes a day in words of no weight, one beside the other. ";
  return filler.substr(0, size);
}
inline void unfill(nlohmann::ordered_json& value) {
  if (value.is_string()) value = unfilled(value.get_ref<const std::string&>());
  if (value.is_structured())
    for (auto& item : value) unfill(item);
}

// Of claude_code, codex, qwen_code or opencode.
inline std::vector<AgentRequest> agent_requests(const std::string& agent) {
  const auto folder = std::filesystem::path(CACHALOT_SOURCE_DIR) / "tests/goldens/agents";
  const auto golden = nlohmann::ordered_json::parse(std::ifstream(folder / (agent + ".json")));
  std::vector<AgentRequest> all;
  for (const auto& request : golden.at("requests")) {
    const auto path = request.at("path").get<std::string>();
    all.push_back(
        {agent, request.at("name"), path.substr(0, path.find('?')), request.at("headers"), request.at("body")});
    unfill(all.back().headers);
    unfill(all.back().body);
  }
  return all;
}

inline std::vector<AgentRequest> all_agent_requests() {
  std::vector<AgentRequest> all;
  for (const char* agent : {"claude_code", "codex", "qwen_code", "opencode"})
    for (AgentRequest& request : agent_requests(agent)) all.push_back(std::move(request));
  return all;
}

// One by its name.
inline AgentRequest agent_request(const std::string& agent, const std::string& name) {
  for (AgentRequest& request : agent_requests(agent))
    if (request.name == name) return request;
  throw std::runtime_error(agent + " has no request '" + name + "'");
}

}  // namespace cachalot::testing
