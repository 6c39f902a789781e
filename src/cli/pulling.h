// Getting a model from the hub on behalf of a command: what is said before, what is asked, and the download.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "load/hub_cache.h"

namespace cachalot {

struct PullOptions {
  bool anyway = false;  // also what does not run here
  bool yes = false;     // what is proposed is taken without a question
  int connections = 8;
};

// Fetches what is not here, saying on stderr what it is and what it takes. The model's place in the cache. Throws
// Error, and Cancelled (hub/http_client.h) when Ctrl-C ended it.
std::filesystem::path pull_model(const HubName& name, const PullOptions& options);

// The model of a command: as resolve_model() finds it. What is not here, or not whole, is fetched when `pull` says so
// or a person at the terminal does.
std::filesystem::path find_model(const std::string& name, bool pull);

// Asks a person; false where none is there.
bool agrees(std::string_view question);

}  // namespace cachalot
