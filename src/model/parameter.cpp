#include "model/parameter.h"

#include "model/recipe.h"
#include "model/weights.h"
#include "ops/weight_types.h"

namespace cachalot {

std::vector<int64_t> Parameter::shape() const {
  std::vector<int64_t> shape;
  if (stack > 0) shape.push_back(stack);
  if (kind != Kind::vector) shape.push_back(rows);
  shape.push_back(columns);
  return shape;
}

// As the recipe of that name gives it to a file. Plain types hold every layer alike.
static DType chosen_type(const Parameter& p, DType type, DType stored) {
  const DType source = has_kernels(stored) ? stored : DType::bf16;
  return choose_type(recipe_named(name(type)), {role_of_slot(p.slot), p.layer, p.shape(), source, 1, p.tied_head});
}

DType Parameter::held_as(const WeightsPolicy& policy, DType stored) const {
  if (kind == Kind::vector || kind == Kind::precise) return DType::f32;
  const DType wanted = policy.fixed ? chosen_type(*this, *policy.fixed, stored) : stored;
  if (wanted == DType::f32) return DType::f32;
  const bool coded = wanted == DType::f8_e4m3;  // its rows cannot be looked up
  return kind == Kind::latent || (kind == Kind::table && coded) ? DType::bf16 : holdable_type(wanted, columns);
}

int64_t Parameter::held_bytes(const Ops& ops, DType held) const {
  if (kind == Kind::vector) return 4 * elements();
  return std::max<int64_t>(1, stack) * ops.matrix_bytes(rows, columns, held);
}

// -- Visiting

using Kind = Parameter::Kind;

void ParameterVisitor::operator()(Parameter parameter, Weight& w) {
  parameter.layer = layer_;
  visit_(parameter, w);
}

void ParameterVisitor::matrix(std::string slot, Weight& w, int64_t rows, int64_t columns) {
  (*this)({.slot = std::move(slot), .rows = rows, .columns = columns}, w);
}

void ParameterVisitor::table(std::string slot, Weight& w, int64_t rows, int64_t columns) {
  (*this)({.slot = std::move(slot), .kind = Kind::table, .rows = rows, .columns = columns}, w);
}

void ParameterVisitor::precise(std::string slot, Weight& w, int64_t rows, int64_t columns) {
  (*this)({.slot = std::move(slot), .kind = Kind::precise, .rows = rows, .columns = columns}, w);
}

void ParameterVisitor::vector(std::string slot, Weight& w, int64_t size) {
  (*this)({.slot = std::move(slot), .kind = Kind::vector, .columns = size}, w);
}

void ParameterVisitor::bias(std::string slot, Weight& w, int64_t size) {
  (*this)({.slot = std::move(slot), .suffix = ".bias", .kind = Kind::vector, .columns = size}, w);
}

void ParameterVisitor::linear(const std::string& slot, Linear& l, int64_t rows, int64_t columns, bool has_bias) {
  matrix(slot, l.w, rows, columns);
  if (has_bias) bias(slot, l.bias, rows);
}

}  // namespace cachalot
