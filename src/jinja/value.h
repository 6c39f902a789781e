// Values of a running template, with Python's semantics, and the heap that counts what they cost. Values are
// immutable except namespaces, loops and iterators. Everything a template can make is counted (steps, bytes alive,
// nesting), so a hostile template ends in a Failure and not in a hang or without memory.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "jinja/provenance.h"

namespace cachalot::jinja {

// What went wrong while running or parsing a template; becomes an Error with the line where the API ends.
struct Failure {
  std::string message;
};

struct Limits {
  int64_t steps = 20'000'000;              // nodes evaluated, items visited, 16 bytes of text copied
  int64_t bytes = int64_t{512} << 20;      // alive at one time: values, captured and final output
  int64_t text_bytes = int64_t{32} << 20;  // of one string, and of the whole output
  int64_t items = 1'000'000;               // of one list, tuple or dict
};
inline constexpr int kMaxNesting = 200;  // of values in values, of iterators over iterators

enum class Kind : uint8_t {
  missing,  // a variable without value, an argument not given; never seen by templates
  undefined,
  none,
  boolean,
  integer,
  real,
  string,
  list,
  tuple,
  dict,
  view,  // what dict.keys(), .values() and .items() give
  range,
  iterator,
  space,     // namespace(...)
  macro,     // made by {% macro %} or {% call %}
  function,  // a method or a global
  loop,
  object,  // cycler, joiner
};

class Heap;

// Base of all values that live on the heap; gives its bytes back when it dies.
struct Object {
  virtual ~Object();
  Heap* heap = nullptr;  // null: a constant of the template
  int64_t bytes = 0;
  int nesting = 0;
};

struct Text;
struct Items;
struct Dict;
struct Range;
struct Iterator;
struct Space;

class Value {
 public:
  Value() = default;
  static Value missing() { return Value(); }
  static Value none() { return Value(Kind::none); }
  static Value boolean(bool b) { return Value(Kind::boolean, b); }
  static Value integer(int64_t i) { return Value(Kind::integer, i); }
  static Value real(double d) {
    Value v(Kind::real);
    v.real_ = d;
    return v;
  }
  Value(Kind kind, std::shared_ptr<Object> object) : kind_(kind), object_(std::move(object)) {}

  Kind kind() const { return kind_; }
  bool is(Kind kind) const { return kind_ == kind; }
  bool is_missing() const { return kind_ == Kind::missing; }
  bool is_integral() const { return kind_ == Kind::integer || kind_ == Kind::boolean; }  // an int in Python
  bool is_number() const { return is_integral() || kind_ == Kind::real; }

  bool as_bool() const { return integer_ != 0; }
  int64_t as_integer() const {  // of is_integral()
    if (object_) throw Failure{"an integer beyond 64 bits can only be printed"};
    return integer_;
  }
  double as_real() const {  // of is_number()
    return kind_ == Kind::real ? real_ : static_cast<double>(as_integer());
  }
  const Text& as_text() const;
  std::string_view text() const;
  const std::vector<Value>& items() const;  // list, tuple or view
  const Dict& dict() const;
  template <typename T>
  T& as() const {
    return static_cast<T&>(*object_);
  }
  const Object* object() const { return object_.get(); }
  std::shared_ptr<Object> share() const { return object_; }
  int nesting() const { return object_ ? object_->nesting : 0; }

 private:
  explicit Value(Kind kind, int64_t i = 0) : kind_(kind), integer_(i) {}
  Kind kind_ = Kind::missing;
  union {
    int64_t integer_ = 0;
    double real_;
  };
  std::shared_ptr<Object> object_;
};

using Values = std::vector<Value>;

struct Text : Object, AttributedText {  // valid UTF-8
  int64_t length = 0;
  bool markup = false;  // what |safe and |escape mark; joins with other text by escaping it
  bool ascii() const { return length == static_cast<int64_t>(text.size()); }
};

struct Items : Object {  // list, tuple, view
  Values values;
  const char* name = "";  // of a view: dict_keys, dict_values, dict_items
  bool group = false;     // a tuple of |groupby: has .grouper and .list
};

// Keeps insertion order. Built once, then only read (namespaces set entries).
struct Dict : Object {
  std::vector<std::pair<Value, Value>> entries;
  std::vector<uint32_t> slots;  // open addressing, entry number + 1; empty while there are few entries
};

// An integer beyond 64 bits, as variables may hold. It is printed and otherwise refused.
struct LongInteger : Object {
  std::string digits;
};
std::string digits(const Value& integer);

struct Range : Object {
  int64_t start = 0, stop = 0, step = 1, count = 0;
  int64_t at(int64_t index) const { return start + index * step; }
};

struct Iterator : Object {
  std::function<bool(Value&)> next;
  const char* name = "generator";
};

struct Space : Object {
  std::shared_ptr<Dict> attributes;
};

struct Undefined : Object {
  std::string message;
};

// Makes values and counts them. One per render; single-threaded.
class Heap {
 public:
  explicit Heap(const Limits& limits) : limits_(limits), steps_(limits.steps) {}
  ~Heap();
  Heap(const Heap&) = delete;
  Heap& operator=(const Heap&) = delete;

  // Each throws Failure when the limit is passed.
  void spend(int64_t steps) {
    steps_ -= steps;
    if (steps_ < 0) fail_steps();
  }
  void spend_bytes(size_t bytes) { spend(static_cast<int64_t>(bytes / 16)); }
  void hold(int64_t bytes);
  void release(int64_t bytes) { bytes_ -= bytes; }
  void check_text(int64_t bytes) const;
  void check_text(const AttributedText& text) const;
  void check_items(int64_t items) const;
  void push(Values& values, Value value) {
    spend(1);
    check_items(static_cast<int64_t>(values.size()));
    values.push_back(std::move(value));
  }

  Value text(AttributedText text, bool markup = false);
  Value text(const char* chars) { return text(written(chars)); }  // the template's words
  Value long_integer(std::string digits);
  Value list(Values values) { return items(Kind::list, std::move(values)); }
  Value tuple(Values values) { return items(Kind::tuple, std::move(values)); }
  Value view(const char* name, Values values);
  Value range(int64_t start, int64_t stop, int64_t step);  // step ≠ 0
  Value undefined(std::string message);
  Value iterator(std::function<bool(Value&)> next, int nesting_of_source, const char* name = "generator");
  Value space(std::shared_ptr<Dict> attributes);
  std::shared_ptr<Dict> dict();
  Value value(std::shared_ptr<Dict> dict) { return Value(Kind::dict, std::move(dict)); }

  // Sets an entry; throws Failure when the key cannot be hashed.
  void set(Dict& dict, const Value& key, Value value);
  const Value* find(const Dict& dict, const Value& key);
  const Value* find(const Dict& dict, std::string_view key);

  void adopt(Object& object, int64_t bytes, int nesting);
  // Runs `work` when the heap ends: it cuts what may have become a cycle of values.
  void at_end(std::function<void()> work) { last_works_.push_back(std::move(work)); }

 private:
  Value items(Kind kind, Values values);
  [[noreturn]] static void fail_steps();
  uint32_t* slot(const Dict& dict, uint64_t hash, const Value& key);

  Limits limits_;
  int64_t steps_;
  int64_t bytes_ = 0;
  std::vector<std::function<void()>> last_works_;
};

// --- Python's operations on values; all may throw Failure. ---

bool truthy(const Value& value);
bool equals(Heap& heap, const Value& a, const Value& b);
bool less(Heap& heap, const Value& a, const Value& b, const char* symbol = "<");
int64_t length(Heap& heap, const Value& value);  // len(); Failure when it has none
bool has_length(const Value& value);
bool is_hashable(const Value& value);
AttributedText str(Heap& heap, const Value& value);  // str()
AttributedText repr(Heap& heap, const Value& value);
std::string type_name(const Value& value);       // 'int', 'str', … for messages
Values to_list(Heap& heap, const Value& value);  // list(); Failure when not iterable

// Walks over anything iterable; throws Failure when `value` is not.
class Cursor {
 public:
  Cursor(Heap& heap, Value value);
  bool next(Value& item);
  static bool accepts(const Value& value);

 private:
  Heap* heap_;
  Value value_;
  size_t at_ = 0;
};

// The variable `loop`. Looks one item ahead when the template asks for `last` or `nextitem`.
struct Loop : Object {
  Loop(Heap& heap, const Value& source) : heap(heap), source(source), cursor(heap, source) {}
  bool advance(Value& item);
  int64_t length();
  const Value& peek();  // missing at the end

  Heap& heap;
  Value source;
  Cursor cursor;
  Value after, current, before, last_changed;
  int64_t index0 = -1;
  int64_t known_length = -1;
};

inline const Text& Value::as_text() const { return as<Text>(); }
inline std::string_view Value::text() const { return as<Text>().text; }
inline const std::vector<Value>& Value::items() const { return as<Items>().values; }
inline const Dict& Value::dict() const { return as<Dict>(); }

}  // namespace cachalot::jinja
