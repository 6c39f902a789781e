// Whether, how hard and how long a model is to reason before it answers: what APIs let one wish, and what becomes of
// it with a template.
//
// Reasoning is off where a wish says so, where the effort is none, or minimal with a template that does not read
// efforts, and where no token of it is allowed. It is on where a wish says so or another effort is wished. What is
// said of on and off goes before efforts, and both before what the template does by itself.
//
// Off and on are said to the template where it has a switch (`enable_thinking`, `thinking`). Off is also a limit of 0
// tokens, so a model whose template has no switch, or that reasons nevertheless, answers at once. An effort is given
// to a template that reads it. To others the effort low is a limit of kLowEffortTokens, and higher ones are none.
// A limit is kept as it is said. To a model that does not reason all of this makes no difference.
#pragma once

#include <algorithm>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string_view>

namespace cachalot {

enum class Effort { none, minimal, low, medium, high, xhigh, max };
std::optional<Effort> effort_named(std::string_view name);
std::string_view name(Effort effort);
constexpr Effort kEfforts[] = {Effort::none, Effort::minimal, Effort::low, Effort::medium,
                               Effort::high, Effort::xhigh,   Effort::max};

constexpr int kLowEffortTokens = 1024;

struct ThinkingWishes {
  std::optional<bool> on;
  std::optional<Effort> effort;
  std::optional<int> most_tokens;  // of reasoning

  // One more limit; of several each is kept.
  void limit(int tokens) { most_tokens = most_tokens ? std::min(*most_tokens, tokens) : tokens; }
  // The wishes that a template's variables are.
  void read(const nlohmann::ordered_json& variables);
};

struct TemplateHabits;

// Gives the template's variables what it is to know of the wishes, and returns the limit of reasoning, if any.
std::optional<int> apply(const ThinkingWishes& wishes, const TemplateHabits& habits,
                         nlohmann::ordered_json& variables);

}  // namespace cachalot
