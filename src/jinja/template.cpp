#include "jinja/template.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "jinja/lexer.h"
#include "jinja/renderer.h"
#include "jinja/text.h"

namespace cachalot::jinja {
namespace {

constexpr size_t kMaxSourceBytes = size_t{1} << 20;

Error error_at(int line, std::string message) {
  return Error(std::move(message)).in(fmt::format("chat template, line {}", line));
}

}  // namespace

Template::Template(std::string_view source) {
  if (source.size() > kMaxSourceBytes) {
    throw Error(
        fmt::format("the template has {} bytes, more than the {} that are read", source.size(), kMaxSourceBytes))
        .in("chat template");
  }
  if (!is_utf8(source)) throw Error("the template is not valid UTF-8").in("chat template");
  try {
    program_ = std::make_unique<const Program>(parse(source));
  } catch (const LineFailure& failure) { throw error_at(failure.line, failure.message); }
}

Template::~Template() = default;
Template::Template(Template&&) noexcept = default;
Template& Template::operator=(Template&&) noexcept = default;

std::string Template::render(const nlohmann::ordered_json& variables, const Limits& limits) const {
  return render(variables, Attribution(), limits).text;
}

AttributedText Template::render(const nlohmann::ordered_json& variables, const Attribution& attribution,
                                const Limits& limits) const {
  if (!variables.is_object()) throw Error("the variables of a template must be a JSON object");
  Renderer renderer(*program_, limits);
  try {
    return renderer.render(variables, attribution);
  } catch (const Failure& failure) { throw error_at(renderer.line(), failure.message); }
}

}  // namespace cachalot::jinja
