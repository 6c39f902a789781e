#include "cli/command.h"

#include <algorithm>

#include "base/check.h"

namespace cachalot {

Option& Command::option(std::string_view option_name) {
  const auto at =
      std::find_if(options.begin(), options.end(), [&](const Option& o) { return o.name == option_name; });
  CHECK(at != options.end());
  return *at;
}

}  // namespace cachalot
