#include "cli/commands/trace_diff.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/quote.h"
#include "cli/terminal.h"
#include "formats/safetensors/file.h"

namespace cachalot {

const PointDiff* TraceDiff::first_difference() const {
  const auto at = std::find_if(points.begin(), points.end(), [](const PointDiff& p) { return p.differs; });
  return at == points.end() ? nullptr : &*at;
}

static float value_at(const SafetensorsEntry& tensor, int64_t i) {
  float value;
  std::memcpy(&value, tensor.bytes.data() + i * static_cast<int64_t>(sizeof value), sizeof value);
  return value;
}

static PointDiff compare(const SafetensorsEntry& a, const SafetensorsEntry& b, double tolerance) {
  PointDiff d{.point = a.name};
  if (a.dtype != DType::f32 || b.dtype != DType::f32 || a.shape != b.shape) {
    d.problem = fmt::format("{} [{}] against {} [{}]", name(a.dtype, a.other_type), fmt::join(a.shape, ", "),
                            name(b.dtype, b.other_type), fmt::join(b.shape, ", "));
    d.differs = true;
    return d;
  }
  const auto count = static_cast<int64_t>(a.bytes.size() / sizeof(float));
  double squares = 0;
  for (int64_t i = 0; i < count && !std::isnan(d.max_abs_diff); ++i) {
    const double x = value_at(a, i), y = value_at(b, i);
    squares += x * x;
    if (x == y || (std::isnan(x) && std::isnan(y))) continue;  // equal infinities, too
    const double difference = std::abs(x - y);
    if (difference > d.max_abs_diff || std::isnan(difference)) {
      d.max_abs_diff = difference;
      d.worst_index = i;
    }
  }
  d.rms = count > 0 ? std::sqrt(squares / static_cast<double>(count)) : 0;
  d.differs = !(d.max_abs_diff <= tolerance);
  return d;
}

TraceDiff diff_traces(const std::string& path_a, const std::string& path_b, double tolerance) {
  const auto a = SafetensorsFile::parse(MappedFile(path_a)), b = SafetensorsFile::parse(MappedFile(path_b));
  const auto ordered = [](const SafetensorsFile& file) { return file.metadata().contains(kTraceOrderKey); };
  const bool b_leads = ordered(b) && !ordered(a);
  const SafetensorsFile &first = b_leads ? b : a, &second = b_leads ? a : b;

  TraceDiff diff;
  bool shared = false;
  const auto lone = [&](const SafetensorsEntry& tensor, const SafetensorsFile& file) {
    if (tensor.dtype == DType::f32)
      diff.points.push_back({.point = tensor.name, .problem = "only in " + file.where()});
  };
  for (const SafetensorsEntry& tensor : first.tensors()) {
    const SafetensorsEntry* other = second.find(tensor.name);
    if (!other) {
      lone(tensor, first);
    } else if (tensor.dtype == DType::f32 || other->dtype == DType::f32) {
      diff.points.push_back(b_leads ? compare(*other, tensor, tolerance) : compare(tensor, *other, tolerance));
      shared = true;
    }
  }
  for (const SafetensorsEntry& tensor : second.tensors())
    if (!first.find(tensor.name)) lone(tensor, second);
  if (!shared) throw Error("the two files share no point").in(path_a + ", " + path_b);
  return diff;
}

static nlohmann::ordered_json report(const TraceDiff& diff, double tolerance) {
  nlohmann::ordered_json points = nlohmann::ordered_json::array();
  for (const PointDiff& p : diff.points) {
    nlohmann::ordered_json point = {{"name", p.point}, {"differs", p.differs}};
    if (p.problem.empty())
      point.update({{"max_abs_diff", p.max_abs_diff}, {"worst_index", p.worst_index}, {"rms", p.rms}});
    else
      point["problem"] = p.problem;
    points.push_back(point);
  }
  const PointDiff* first = diff.first_difference();
  return {{"first_difference", first ? nlohmann::ordered_json(first->point) : nullptr},
          {"tolerance", tolerance},
          {"points", points}};
}

int print_trace_diff(const std::string& a, const std::string& b, double tolerance, bool json) {
  const TraceDiff diff = diff_traces(a, b, tolerance);
  const PointDiff* first = diff.first_difference();
  if (json) {
    fmt::print("{}\n", report(diff, tolerance).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    return first ? 1 : 0;
  }
  size_t width = 5;
  for (const PointDiff& p : diff.points) width = std::max(width, std::min<size_t>(40, p.point.size()));
  fmt::print("{:<{}}  {:>12}  {:>12}\n", "point", width, "max |diff|", "rms");
  for (const PointDiff& p : diff.points) {
    const std::string point = printable(p.point);
    if (!p.problem.empty())
      fmt::print("{:<{}}  {}{}\n", point, width, p.differs ? "DIFFERS: " : "", printable(p.problem));
    else
      fmt::print("{:<{}}  {:>12.4g}  {:>12.4g}{}\n", point, width, p.max_abs_diff, p.rms,
                 p.differs ? "  DIFFERS" : "");
  }
  if (first)
    fmt::print("first difference beyond {}: {}\n", tolerance, printable(first->point));
  else
    fmt::print("no difference beyond {}\n", tolerance);
  return first ? 1 : 0;
}

}  // namespace cachalot
