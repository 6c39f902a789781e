// Recursive descent over the tokens. Expressions are in jinja_parser.cpp, statements in jinja_statements.cpp.
#pragma once

#include "jinja/ast.h"
#include "jinja/lexer.h"

namespace cachalot::jinja {

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}
  Body parse_template();

 private:
  // Statements.
  Body parse_body(std::initializer_list<std::string_view> ends);
  Body parse_block(std::initializer_list<std::string_view> ends, bool drop_end);
  std::unique_ptr<Stmt> parse_statement();
  std::unique_ptr<Stmt> parse_set(std::unique_ptr<Stmt> stmt);
  std::unique_ptr<Stmt> parse_for(std::unique_ptr<Stmt> stmt);
  std::unique_ptr<Stmt> parse_if(std::unique_ptr<Stmt> stmt);
  std::unique_ptr<Stmt> parse_with(std::unique_ptr<Stmt> stmt);
  std::unique_ptr<Stmt> parse_macro(std::unique_ptr<Stmt> stmt);
  std::unique_ptr<Stmt> parse_call_block(std::unique_ptr<Stmt> stmt);
  std::unique_ptr<Stmt> parse_generation(std::unique_ptr<Stmt> stmt);
  std::unique_ptr<Stmt> parse_filter_block(std::unique_ptr<Stmt> stmt);
  std::unique_ptr<Stmt> parse_print(std::unique_ptr<Stmt> stmt);
  std::unique_ptr<Stmt> parse_jump(std::unique_ptr<Stmt> stmt);
  Body parse_scope(std::initializer_list<std::string_view> ends, bool drop_end);
  void parse_signature(Macro& macro);
  void parse_macro_body(Macro& macro, std::string_view end);
  ExprPtr parse_target(std::string_view end_word, bool with_namespace);
  ExprPtr parse_target_name();
  void make_target(Expr& expr);

  // Expressions, loosest first.
  ExprPtr parse_tuple(bool simplified, bool with_condition, std::string_view end_word, bool in_brackets,
                      bool with_namespace);
  ExprPtr parse_tuple() { return parse_tuple(false, true, "", false, false); }
  ExprPtr parse_expression(bool with_condition = true);
  ExprPtr parse_conditional();
  ExprPtr parse_or();
  ExprPtr parse_and();
  ExprPtr parse_not();
  ExprPtr parse_compare();
  ExprPtr parse_sum();
  ExprPtr parse_concat();
  ExprPtr parse_product();
  ExprPtr parse_power();
  ExprPtr parse_unary(bool with_filter);
  ExprPtr parse_primary(bool with_namespace);
  ExprPtr parse_list();
  ExprPtr parse_dict();
  ExprPtr parse_postfix(ExprPtr expr);
  ExprPtr parse_filters(ExprPtr expr);
  ExprPtr parse_subscript(ExprPtr expr);
  ExprPtr parse_bracket(ExprPtr expr, int line);
  ExprPtr parse_call(ExprPtr expr);
  ExprPtr parse_filter(ExprPtr expr, bool starts_with_name);
  ExprPtr parse_test(ExprPtr expr);
  std::unique_ptr<Arguments> parse_arguments();

  // Building. Children are moved in; the depth of the tree is checked.
  ExprPtr make(ExprKind kind, int line, std::string name = "");
  void adopt(Expr& parent, ExprPtr child);
  void adopt(Expr& parent, std::unique_ptr<Arguments> arguments);
  ExprPtr binary(ExprKind kind, int line, std::string name, ExprPtr left, ExprPtr right);
  ExprPtr constant(Value value, int line);

  // Tokens.
  const Token& now() const { return tokens_[at_]; }
  const Token& ahead() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  Token take() { return at_ + 1 < tokens_.size() ? tokens_[at_++] : tokens_[at_]; }
  bool skip(std::string_view symbol);
  bool skip_word(std::string_view word);
  void expect(std::string_view symbol);
  Token expect(TokenKind kind);
  void expect_word(std::string_view word);
  bool ends_tuple(std::string_view end_word) const;
  void note_unknown(std::string message, int line);
  [[noreturn]] void fail(std::string message, int line = 0) const;
  [[noreturn]] void fail_expected(std::string_view wanted) const;

  // Counts how deep the parser is inside itself; made on the stack.
  class Nesting {
   public:
    explicit Nesting(Parser& parser);
    ~Nesting() { --parser_.nesting_; }

   private:
    Parser& parser_;
  };

  std::vector<Token> tokens_;
  size_t at_ = 0;
  int nesting_ = 0;
  int loops_ = 0;                     // around the current place, inside its macro
  int loop_tags_ = 0;                 // around the current place, whatever is between
  bool soft_ = false;                 // directly inside an if: an unknown filter is an error only when it runs
  std::vector<LineFailure> unknown_;  // filters and tests that do not exist, outside of conditions
};

}  // namespace cachalot::jinja
