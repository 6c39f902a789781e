// Which hub is asked, and as whom, as the environment says in the client's own words.
#pragma once

#include <string>
#include <string_view>

#include "hub/web_address.h"

namespace cachalot {

struct HubSettings {
  WebAddress endpoint;     // HF_ENDPOINT
  std::string token;       // HF_TOKEN, or the file of `hf auth`; empty: none. It goes to the endpoint alone
  int stall_seconds = 10;  // HF_HUB_DOWNLOAD_TIMEOUT: a connection on which nothing comes for so long is given up
  bool offline = false;    // HF_HUB_OFFLINE
  bool links = true;       // unless HF_HUB_DISABLE_SYMLINKS: snapshots hold links into blobs/
  std::string certificates, certificate_folder;  // in place of the system's: CURL_CA_BUNDLE, SSL_CERT_FILE, _DIR

  // Throws Error when a value cannot be meant.
  static HubSettings from_environment();
};

// A token as it is written down, without the line breaks and spaces around it. Throws Error where what is left could
// not stand in a header.
std::string clean_token(std::string_view text, std::string_view where);

// Whether a variable of the client is set to mean yes.
bool is_yes(const char* value);

}  // namespace cachalot
