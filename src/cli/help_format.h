// How --help looks: names, values and defaults, without the library's remarks on types, ranges and exclusions.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace cachalot {

class HelpFormat : public CLI::Formatter {
 public:
  HelpFormat() { column_width(32); }

  std::string make_option_opts(const CLI::Option* option) const override {
    const std::string type = option->get_type_name(), value = option->get_default_str();
    const std::string name = type.substr(0, type.find(':'));
    return (option->get_type_size() == 0 || name.empty() ? "" : " " + name) +
           (value.empty() ? "" : " [" + value + "]");
  }

  // One empty line between groups: the library puts one before and one after each but "Options", which is the first.
  std::string make_group(std::string group, bool is_positional,
                         std::vector<const CLI::Option*> options) const override {
    const bool first = is_positional || group == "Options";
    const std::string text = Formatter::make_group(std::move(group), is_positional, std::move(options));
    return first ? text : text.substr(1);
  }
};

}  // namespace cachalot
