#include "jinja/parser.h"

#include <fmt/format.h>

#include <algorithm>

#include "jinja/builtins.h"
#include "jinja/text.h"

namespace cachalot::jinja {
namespace {

constexpr int kDeepestTree = 300;  // of an expression's tree
constexpr int kMaxBlocks = 200;    // of the parser in itself

bool is_word(const Token& token, std::initializer_list<std::string_view> words) {
  return token.kind == TokenKind::name && std::find(words.begin(), words.end(), token.text) != words.end();
}

std::string describe(const Token& token) {
  switch (token.kind) {
    case TokenKind::data: return "template data / text";
    case TokenKind::variable_begin: return "begin of print statement";
    case TokenKind::variable_end: return "end of print statement";
    case TokenKind::block_begin: return "begin of statement block";
    case TokenKind::block_end: return "end of statement block";
    case TokenKind::end: return "end of template";
    default: return token.text;
  }
}

}  // namespace

Parser::Nesting::Nesting(Parser& parser) : parser_(parser) {
  if (++parser_.nesting_ > kMaxBlocks) parser_.fail("the template is nested too deeply");
}

void Parser::fail(std::string message, int line) const {
  throw LineFailure{line ? line : now().line, std::move(message)};
}

void Parser::fail_expected(std::string_view wanted) const {
  fail(fmt::format("expected token '{}', got '{}'", wanted, describe(now())));
}

bool Parser::skip(std::string_view symbol) {
  if (!now().is(symbol)) return false;
  take();
  return true;
}

bool Parser::skip_word(std::string_view word) {
  if (!now().names(word)) return false;
  take();
  return true;
}

void Parser::expect(std::string_view symbol) {
  if (!skip(symbol)) fail_expected(symbol);
}

void Parser::expect_word(std::string_view word) {
  if (!skip_word(word)) fail_expected(word);
}

Token Parser::expect(TokenKind kind) {
  if (now().kind != kind) {
    fail_expected(kind == TokenKind::name        ? "name"
                  : kind == TokenKind::block_end ? "end of statement block"
                                                 : "end of print statement");
  }
  return take();
}

ExprPtr Parser::make(ExprKind kind, int line, std::string name) {
  auto expr = std::make_unique<Expr>();
  expr->kind = kind;
  expr->line = line;
  expr->name = std::move(name);
  return expr;
}

void Parser::adopt(Expr& parent, ExprPtr child) {
  if (child) {
    parent.depth = std::max(parent.depth, child->depth + 1);
    if (parent.depth > kDeepestTree) fail("the expression is too complex");
  }
  parent.parts.push_back(std::move(child));
}

void Parser::adopt(Expr& parent, std::unique_ptr<Arguments> arguments) {
  const auto deepen = [&](const ExprPtr& argument) {
    if (argument) parent.depth = std::max(parent.depth, argument->depth + 1);
  };
  for (const ExprPtr& argument : arguments->positional) deepen(argument);
  for (const auto& [name, argument] : arguments->named) deepen(argument);
  deepen(arguments->star);
  deepen(arguments->star_star);
  if (parent.depth > kDeepestTree) fail("the expression is too complex");
  parent.arguments = std::move(arguments);
}

ExprPtr Parser::binary(ExprKind kind, int line, std::string name, ExprPtr left, ExprPtr right) {
  ExprPtr expr = make(kind, line, std::move(name));
  adopt(*expr, std::move(left));
  adopt(*expr, std::move(right));
  return expr;
}

ExprPtr Parser::constant(Value value, int line) {
  ExprPtr expr = make(ExprKind::constant, line);
  expr->value = std::move(value);
  return expr;
}

bool Parser::ends_tuple(std::string_view end_word) const {
  return now().kind == TokenKind::variable_end || now().kind == TokenKind::block_end || now().is(")") ||
         (!end_word.empty() && now().names(end_word));
}

ExprPtr Parser::parse_tuple(bool simplified, bool with_condition, std::string_view end_word, bool in_brackets,
                            bool with_namespace) {
  const Nesting nesting(*this);
  ExprPtr tuple = make(ExprKind::tuple, now().line);
  bool is_tuple = false;
  while (true) {
    if (!tuple->parts.empty()) expect(",");
    if (ends_tuple(end_word)) break;
    adopt(*tuple, simplified ? parse_primary(with_namespace) : parse_expression(with_condition));
    if (!now().is(",")) break;
    is_tuple = true;
  }
  if (is_tuple) return tuple;
  if (!tuple->parts.empty()) return std::move(tuple->parts[0]);
  if (!in_brackets) fail(fmt::format("Expected an expression, got '{}'", describe(now())));
  return tuple;
}

ExprPtr Parser::parse_expression(bool with_condition) {
  const Nesting nesting(*this);
  return with_condition ? parse_conditional() : parse_or();
}

ExprPtr Parser::parse_conditional() {
  const size_t unknown = unknown_.size();
  ExprPtr value = parse_or();
  while (now().names("if")) {
    const int line = take().line;
    ExprPtr expr = make(ExprKind::conditional, line);
    adopt(*expr, parse_or());
    adopt(*expr, std::move(value));
    if (skip_word("else")) {
      const Nesting nesting(*this);
      adopt(*expr, parse_conditional());
    } else {
      adopt(*expr, ExprPtr());
    }
    value = std::move(expr);
    unknown_.resize(unknown);  // in a condition, an unknown filter is an error only when it runs
  }
  return value;
}

void Parser::note_unknown(std::string message, int line) {
  if (!soft_) unknown_.push_back({line, std::move(message)});
}

ExprPtr Parser::parse_or() {
  ExprPtr left = parse_and();
  while (now().names("or")) {
    const int line = take().line;
    left = binary(ExprKind::either, line, "", std::move(left), parse_and());
  }
  return left;
}

ExprPtr Parser::parse_and() {
  ExprPtr left = parse_not();
  while (now().names("and")) {
    const int line = take().line;
    left = binary(ExprKind::both, line, "", std::move(left), parse_not());
  }
  return left;
}

ExprPtr Parser::parse_not() {
  if (!now().names("not")) return parse_compare();
  const Nesting nesting(*this);
  ExprPtr expr = make(ExprKind::negation, take().line);
  adopt(*expr, parse_not());
  return expr;
}

ExprPtr Parser::parse_compare() {
  ExprPtr first = parse_sum();
  ExprPtr expr;
  while (true) {
    std::string symbol;
    for (const std::string_view known : {"==", "!=", "<=", ">=", "<", ">"}) {
      if (now().is(known)) symbol = known;
    }
    if (now().names("in")) symbol = "in";
    if (now().names("not") && ahead().names("in")) symbol = "not in";
    if (symbol.empty()) return expr ? std::move(expr) : std::move(first);
    if (symbol == "not in") take();
    const int line = take().line;
    if (!expr) {
      expr = make(ExprKind::compare, line);
      adopt(*expr, std::move(first));
    }
    adopt(*expr, parse_sum());
    expr->operators.push_back(symbol);
  }
}

ExprPtr Parser::parse_sum() {
  ExprPtr left = parse_concat();
  while (now().is("+") || now().is("-")) {
    const Token token = take();
    left = binary(ExprKind::binary, token.line, token.text, std::move(left), parse_concat());
  }
  return left;
}

ExprPtr Parser::parse_concat() {
  ExprPtr first = parse_product();
  if (!now().is("~")) return first;
  ExprPtr expr = make(ExprKind::concat, now().line);
  adopt(*expr, std::move(first));
  while (skip("~")) adopt(*expr, parse_product());
  return expr;
}

ExprPtr Parser::parse_product() {
  ExprPtr left = parse_power();
  while (now().is("*") || now().is("/") || now().is("//") || now().is("%")) {
    const Token token = take();
    left = binary(ExprKind::binary, token.line, token.text, std::move(left), parse_power());
  }
  return left;
}

ExprPtr Parser::parse_power() {
  ExprPtr left = parse_unary(true);
  while (now().is("**")) {
    const Token token = take();
    left = binary(ExprKind::binary, token.line, token.text, std::move(left), parse_unary(true));
  }
  return left;
}

ExprPtr Parser::parse_unary(bool with_filter) {
  const Nesting nesting(*this);
  ExprPtr expr;
  if (now().is("-") || now().is("+")) {
    const Token token = take();
    expr = make(token.text == "-" ? ExprKind::minus : ExprKind::plus, token.line);
    adopt(*expr, parse_unary(false));
  } else {
    expr = parse_primary(false);
  }
  expr = parse_postfix(std::move(expr));
  return with_filter ? parse_filters(std::move(expr)) : std::move(expr);
}

ExprPtr Parser::parse_primary(bool with_namespace) {
  const Token token = now();
  if (token.is("(")) {
    take();
    ExprPtr expr = parse_tuple(false, true, "", true, false);
    expect(")");
    return expr;
  }
  if (token.is("[")) return parse_list();
  if (token.is("{")) return parse_dict();
  switch (token.kind) {
    case TokenKind::name: {
      take();
      if (is_word(token, {"true", "True"})) return constant(Value::boolean(true), token.line);
      if (is_word(token, {"false", "False"})) return constant(Value::boolean(false), token.line);
      if (is_word(token, {"none", "None"})) return constant(Value::none(), token.line);
      ExprPtr name = make(ExprKind::name, token.line, token.text);
      if (!with_namespace || !skip(".")) return name;
      ExprPtr reference = make(ExprKind::attribute, token.line, expect(TokenKind::name).text);
      adopt(*reference, std::move(name));
      reference->is_store = true;
      return reference;
    }
    case TokenKind::text: {
      auto text = std::make_shared<Text>();
      while (now().kind == TokenKind::text) text->text += take().text;
      text->length = count_letters(text->text);
      return constant(Value(Kind::string, std::move(text)), token.line);
    }
    case TokenKind::integer: take(); return constant(Value::integer(token.integer), token.line);
    case TokenKind::real: take(); return constant(Value::real(token.real), token.line);
    default: fail(fmt::format("unexpected '{}'", describe(token)));
  }
}

ExprPtr Parser::parse_list() {
  ExprPtr list = make(ExprKind::list, take().line);
  while (!now().is("]")) {
    if (!list->parts.empty()) expect(",");
    if (now().is("]")) break;
    adopt(*list, parse_expression());
  }
  expect("]");
  return list;
}

ExprPtr Parser::parse_dict() {
  ExprPtr dict = make(ExprKind::dict, take().line);
  while (!now().is("}")) {
    if (!dict->parts.empty()) expect(",");
    if (now().is("}")) break;
    adopt(*dict, parse_expression());
    expect(":");
    adopt(*dict, parse_expression());
  }
  expect("}");
  return dict;
}

ExprPtr Parser::parse_postfix(ExprPtr expr) {
  while (true) {
    if (now().is(".") || now().is("[")) {
      expr = parse_subscript(std::move(expr));
    } else if (now().is("(")) {
      expr = parse_call(std::move(expr));
    } else {
      return expr;
    }
  }
}

ExprPtr Parser::parse_filters(ExprPtr expr) {
  while (true) {
    if (now().is("|")) {
      expr = parse_filter(std::move(expr), false);
    } else if (now().names("is")) {
      expr = parse_test(std::move(expr));
    } else if (now().is("(")) {
      expr = parse_call(std::move(expr));
    } else {
      return expr;
    }
  }
}

ExprPtr Parser::parse_subscript(ExprPtr expr) {
  const Token token = take();
  if (token.text == "[") return parse_bracket(std::move(expr), token.line);
  const Token key = take();
  if (key.kind == TokenKind::name) {
    ExprPtr attribute = make(ExprKind::attribute, token.line, key.text);
    adopt(*attribute, std::move(expr));
    return attribute;
  }
  if (key.kind != TokenKind::integer) fail("expected name or number", key.line);
  return binary(ExprKind::item, token.line, "", std::move(expr), constant(Value::integer(key.integer), key.line));
}

// What stands between [ and ]: one expression, a tuple of them, or a slice.
ExprPtr Parser::parse_bracket(ExprPtr expr, int line) {
  ExprPtr keys = make(ExprKind::tuple, line);
  while (!now().is("]")) {
    if (!keys->parts.empty()) expect(",");
    ExprPtr bounds[3];
    if (!now().is(":")) bounds[0] = parse_expression();
    if (!now().is(":")) {
      adopt(*keys, std::move(bounds[0]));
      continue;
    }
    for (int i = 1; i < 3 && skip(":"); ++i) {
      if (!now().is(":") && !now().is("]") && !now().is(",")) bounds[i] = parse_expression();
    }
    if (!now().is("]") || !keys->parts.empty()) fail("a slice in a tuple of indices is not supported");
    take();
    ExprPtr slice = make(ExprKind::slice, line);
    adopt(*slice, std::move(expr));
    for (ExprPtr& bound : bounds) adopt(*slice, std::move(bound));
    return slice;
  }
  take();
  ExprPtr key = keys->parts.size() == 1 ? std::move(keys->parts[0]) : std::move(keys);
  return binary(ExprKind::item, line, "", std::move(expr), std::move(key));
}

ExprPtr Parser::parse_call(ExprPtr expr) {
  ExprPtr call = make(ExprKind::call, now().line);
  adopt(*call, std::move(expr));
  adopt(*call, parse_arguments());
  return call;
}

std::unique_ptr<Arguments> Parser::parse_arguments() {
  const Nesting nesting(*this);
  const int line = now().line;
  expect("(");
  auto arguments = std::make_unique<Arguments>();
  Arguments& a = *arguments;
  const auto ensure = [&](bool condition) {
    if (!condition) fail("invalid syntax for function call expression", line);
  };
  for (bool first = true; !now().is(")"); first = false) {
    if (!first) {
      expect(",");
      if (now().is(")")) break;
    }
    if (skip("*")) {
      ensure(!a.star && !a.star_star);
      a.star = parse_expression();
    } else if (skip("**")) {
      ensure(!a.star_star);
      a.star_star = parse_expression();
    } else if (now().kind == TokenKind::name && ahead().is("=")) {
      ensure(!a.star_star);
      std::string name = take().text;
      take();
      for (const auto& [known, value] : a.named) {
        if (known == name) fail(fmt::format("keyword argument repeated: {}", name));
      }
      a.named.emplace_back(std::move(name), parse_expression());
    } else {
      ensure(!a.star && !a.star_star && a.named.empty());
      a.positional.push_back(parse_expression());
    }
  }
  expect(")");
  return arguments;
}

ExprPtr Parser::parse_filter(ExprPtr expr, bool starts_with_name) {
  while (starts_with_name || now().is("|")) {
    if (!starts_with_name) take();
    starts_with_name = false;
    const Token token = expect(TokenKind::name);
    std::string name = token.text;
    while (skip(".")) name += "." + expect(TokenKind::name).text;
    ExprPtr filter = make(ExprKind::filter, token.line, name);
    filter->builtin = find_filter(name);
    if (!filter->builtin) note_unknown(fmt::format("No filter named '{}'.", name), token.line);
    adopt(*filter, std::move(expr));
    adopt(*filter, now().is("(") ? parse_arguments() : std::make_unique<Arguments>());
    expr = std::move(filter);
  }
  return expr;
}

ExprPtr Parser::parse_test(ExprPtr expr) {
  const int line = take().line;
  const bool negated = skip_word("not");
  std::string name = expect(TokenKind::name).text;
  while (skip(".")) name += "." + expect(TokenKind::name).text;
  ExprPtr test = make(ExprKind::test, line, name);
  test->builtin = find_test(name);
  if (!test->builtin) note_unknown(fmt::format("No test named '{}'.", name), line);
  adopt(*test, std::move(expr));
  const Token& next = now();
  const bool operand = next.kind == TokenKind::name || next.kind == TokenKind::text ||
                       next.kind == TokenKind::integer || next.kind == TokenKind::real || next.is("[") ||
                       next.is("{");
  if (next.is("(")) {
    adopt(*test, parse_arguments());
  } else {
    auto arguments = std::make_unique<Arguments>();
    if (operand && !is_word(next, {"else", "or", "and"})) {
      if (next.names("is")) fail("You cannot chain multiple tests with is");
      const Nesting nesting(*this);
      arguments->positional.push_back(parse_postfix(parse_primary(false)));
    }
    adopt(*test, std::move(arguments));
  }
  if (!negated) return test;
  ExprPtr negation = make(ExprKind::negation, line);
  adopt(*negation, std::move(test));
  return negation;
}

}  // namespace cachalot::jinja
