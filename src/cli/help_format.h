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

  std::string make_groups(const CLI::App* app, CLI::AppFormatMode) const override {
    std::string text;
    for (const std::string& group : app->get_groups()) {
      const auto options = app->get_options([&](const CLI::Option* option) {
        return option->get_group() == group && option->nonpositional() && !group.empty();
      });
      if (!options.empty()) text += make_group(group, false, options);
    }
    return text;
  }
};

}  // namespace cachalot
