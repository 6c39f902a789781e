#include "server/anthropic/blocks.h"

#include <fmt/format.h>

#include "base/quote.h"

namespace cachalot::anthropic {
namespace {

constexpr std::string_view kBilling = "x-anthropic-billing-header:";

std::string_view without_billing(std::string_view text) {
  if (!text.starts_with(kBilling)) return text;
  const size_t end = text.find('\n');
  return end == text.npos ? std::string_view() : text.substr(end + 1);
}

std::string texts_of(const Value& content, ToolMentions& mentions) {
  std::string text;
  for (const Value& block : content.list(kMostBlocks)) add_lines(text, block_text(block, mentions));
  return text;
}

std::string with_title(const Value& block, std::string text) {
  for (const char* name : {"context", "title"})
    if (find(block.json, name)) text.insert(0, block.member(name).text() + "\n");
  return text;
}

std::string document_text(const Value& block, ToolMentions& mentions) {
  const Value source = block.member("source");
  const Value type = source.member("type");
  if (type.text() == "text") return with_title(block, source.member("data").text());
  if (type.text() != "content")
    type.refuse(
        fmt::format("is {}; the model reads text alone, in documents whose source is of the type 'text' or "
                    "'content'",
                    quote(type.text())));
  const Value content = source.member("content");
  return with_title(block, content.json.is_string() ? content.text() : texts_of(content, mentions));
}

std::string search_text(const Value& block, ToolMentions& mentions) {
  return block.member("title").text() + "\n" + block.member("source").text() + "\n" +
         texts_of(block.member("content"), mentions);
}

// A tool is mentioned: from now on the model is told of it.
std::string reference_text(const std::string& name, ToolMentions& mentions) {
  mentions.add(name);
  return fmt::format("The tool {} can be called now.", name);
}

// A change of tools between messages: what the model is told of in the end is in the list of tools, so nothing is
// said here.
void change_tools(const Value& block, ToolMentions& mentions) {
  const Value tool = block.member("tool");
  const Value type = tool.member("type");
  if (type.text() != "tool_reference")
    type.refuse(fmt::format("is {}; only a 'tool_reference' is taken", quote(type.text())));
  const std::string& name = tool.member("name").text();
  if (block.json["type"] == "tool_addition")
    reference_text(name, mentions);
  else
    mentions.removed.insert(name);
}

}  // namespace

void add_lines(std::string& text, std::string_view more) {
  if (!text.empty() && !more.empty()) text += '\n';
  text += more;
}

std::string system_text(const Value& content, ToolMentions& mentions) {
  if (content.json.is_string()) return std::string(without_billing(content.text()));
  if (!content.json.is_array()) content.expect("a text or a list of blocks");
  std::string all;
  for (const Value& block : content.list(kMostBlocks)) {
    const Value type = block.member("type");
    if (type.text() == "tool_addition" || type.text() == "tool_removal") {
      change_tools(block, mentions);
      continue;
    }
    if (type.text() != "text") type.expect("\"text\"");
    const std::string_view text = without_billing(block.member("text").text());
    if (!all.empty() && !text.empty()) all += "\n\n";
    all += text;
  }
  return all;
}

std::string block_text(const Value& block, ToolMentions& mentions) {
  const Value type = block.member("type");
  const std::string& name = type.text();
  if (name == "text") return block.member("text").text();
  if (name == "document") return document_text(block, mentions);
  if (name == "search_result") return search_text(block, mentions);
  if (name == "tool_reference") return reference_text(block.member("tool_name").text(), mentions);
  type.refuse(fmt::format("is {}; the model reads text alone", quote(name)));
}

std::string result_text(const Value& result, ToolMentions& mentions) {
  std::string text;
  if (find(result.json, "content")) {
    const Value content = result.member("content");
    if (!content.json.is_string() && !content.json.is_array()) content.expect("a text or a list of blocks");
    text = content.json.is_string() ? content.text() : texts_of(content, mentions);
  }
  if (!find(result.json, "is_error") || !result.member("is_error").flag()) return text;
  return text.empty() ? "Error" : "Error: " + text;
}

}  // namespace cachalot::anthropic
