#include "session/thinking.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "session/template_habits.h"

namespace cachalot {
namespace {

constexpr const char* kSwitches[] = {"enable_thinking", "thinking"};

}  // namespace

std::string_view name(Effort effort) {
  constexpr std::string_view kNames[] = {"none", "minimal", "low", "medium", "high", "xhigh", "max"};
  return kNames[static_cast<size_t>(effort)];
}

std::optional<Effort> effort_named(std::string_view wanted) {
  for (const Effort effort : kEfforts)
    if (name(effort) == wanted) return effort;
  return std::nullopt;
}

void ThinkingWishes::read(const nlohmann::ordered_json& variables) {
  for (const char* name : kSwitches)
    if (const auto found = variables.find(name); found != variables.end() && found->is_boolean())
      on = found->get<bool>();
  const auto wished = variables.find("reasoning_effort");
  if (wished == variables.end() || !wished->is_string()) return;
  if (const auto known = effort_named(wished->get_ref<const std::string&>())) effort = known;
}

std::optional<int> apply(const ThinkingWishes& wishes, const TemplateHabits& habits,
                         nlohmann::ordered_json& variables) {
  const bool effort_is_read = wishes.effort && habits.reads(*wishes.effort);
  std::optional<bool> on = wishes.on;
  if (!on && wishes.most_tokens == 0) on = false;
  if (!on && wishes.effort == Effort::none) on = false;
  if (!on && wishes.effort == Effort::minimal && !effort_is_read) on = false;
  if (!on && wishes.effort) on = true;

  if (effort_is_read && !variables.contains("reasoning_effort")) variables["reasoning_effort"] = name(*wishes.effort);
  if (on && habits.switches_thinking)
    for (const char* name : kSwitches)
      if (!variables.contains(name) || variables[name].is_boolean()) variables[name] = *on;
  if (on == false) return 0;
  if (wishes.effort == Effort::low && !effort_is_read) {
    ThinkingWishes low = wishes;
    low.limit(kLowEffortTokens);
    return low.most_tokens;
  }
  return wishes.most_tokens;
}

}  // namespace cachalot
