// |tojson as transformers defines it: json.dumps without HTML escapes, non-ASCII kept by default.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "jinja/builtins.h"
#include "jinja/text.h"

namespace cachalot::jinja {
namespace {

class JsonWriter {
 public:
  JsonWriter(Heap& heap, const JsonStyle& style) : heap_(heap), style_(style) {}
  AttributedText take() { return std::move(out_); }

  void write(const Value& value, int level) {
    heap_.spend(1);
    switch (value.kind()) {
      case Kind::none: return put("null");
      case Kind::boolean: return put(value.as_bool() ? "true" : "false");
      case Kind::integer: return put(digits(value));
      case Kind::real: return put(number(value.as_real()));
      case Kind::string: return write_text(value.as_text());
      case Kind::list:
      case Kind::tuple: return write_items(value.items(), level);
      case Kind::dict: return write_dict(value.dict(), level);
      default: throw Failure{fmt::format("Object of type {} is not JSON serializable", type_name(value))};
    }
  }

 private:
  void put(std::string_view text) {
    heap_.spend_bytes(text.size());
    heap_.check_text(static_cast<int64_t>(out_.text.size() + text.size()));
    out_.write(text);
  }
  void put(const AttributedText& text) {
    heap_.spend_bytes(text.text.size());
    out_.append(text);
    heap_.check_text(out_);
  }

  static std::string number(double real) {
    if (std::isnan(real)) return "NaN";
    if (std::isinf(real)) return real < 0 ? "-Infinity" : "Infinity";
    return repr(real);
  }

  void write_text(const AttributedText& text) {
    put("\"");
    heap_.spend_bytes(8 * text.text.size());
    AttributedText piece;
    rewrite(text, piece, [&](std::string& to, size_t begin, size_t end, int32_t letter) {
      switch (letter) {
        case '"': to += "\\\""; break;
        case '\\': to += "\\\\"; break;
        case '\n': to += "\\n"; break;
        case '\r': to += "\\r"; break;
        case '\t': to += "\\t"; break;
        case '\b': to += "\\b"; break;
        case '\f': to += "\\f"; break;
        default:
          if (letter < 0x20 || (style_.ascii && letter > 0x7e)) {
            append_escape(to, letter);
          } else {
            to.append(text.text, begin, end - begin);
          }
      }
    });
    put(piece);
    put("\"");
  }

  static void append_escape(std::string& out, int32_t letter) {
    if (letter < 0x10000) {
      out += fmt::format("\\u{:04x}", letter);
    } else {
      const int32_t rest = letter - 0x10000;
      out += fmt::format("\\u{:04x}\\u{:04x}", 0xd800 + (rest >> 10), 0xdc00 + (rest & 0x3ff));
    }
  }

  void new_line(int level) {
    if (!style_.indented) return;
    put("\n");
    for (int i = 0; i < level; ++i) put(style_.indent);
  }

  void write_items(const Values& items, int level) {
    if (items.empty()) return put("[]");
    put("[");
    for (size_t i = 0; i < items.size(); ++i) {
      if (i) put(style_.item_separator);
      new_line(level + 1);
      write(items[i], level + 1);
    }
    new_line(level);
    put("]");
  }

  void write_dict(const Dict& dict, int level) {
    if (dict.entries.empty()) return put("{}");
    std::vector<const std::pair<Value, Value>*> entries;
    entries.reserve(dict.entries.size());
    for (const auto& entry : dict.entries) entries.push_back(&entry);
    if (style_.sorted) {
      std::stable_sort(entries.begin(), entries.end(),
                       [&](const auto* a, const auto* b) { return less(heap_, a->first, b->first); });
    }
    put("{");
    for (size_t i = 0; i < entries.size(); ++i) {
      if (i) put(style_.item_separator);
      new_line(level + 1);
      write_key(entries[i]->first);
      put(style_.key_separator);
      write(entries[i]->second, level + 1);
    }
    new_line(level);
    put("}");
  }

  void write_key(const Value& key) {
    if (key.is(Kind::string)) return write_text(key.as_text());
    if (key.is_number() || key.is(Kind::none)) {
      put("\"");
      write(key, 0);
      return put("\"");
    }
    throw Failure{"keys must be str, int, float, bool or None, not " + type_name(key)};
  }

  Heap& heap_;
  const JsonStyle& style_;
  AttributedText out_;
};

}  // namespace

AttributedText to_json(Heap& heap, const Value& value, const JsonStyle& style) {
  JsonWriter writer(heap, style);
  writer.write(value, 0);
  return writer.take();
}

}  // namespace cachalot::jinja
