// Addresses of a hub and of where it sends us. What they are made of is hostile: names of files, redirects.
#pragma once

#include <string>
#include <string_view>

namespace cachalot {

// Who answers: what a token is for, and what it must not leave.
struct Origin {
  std::string scheme, host;
  int port = 0;
  bool operator==(const Origin&) const = default;
};

// An absolute https address, or http of this machine's own loopback; never with a name and password in it.
class WebAddress {
 public:
  // Throws Error for anything else, quoting it.
  static WebAddress parse(std::string_view text);
  // Where a reference found in an answer from here leads: "/path", "?query", "https://host/path". Throws Error where
  // that is no such address, or leads from https to http.
  WebAddress joined(std::string_view reference) const;

  const std::string& text() const { return text_; }
  const Origin& origin() const { return origin_; }
  bool is_plain() const { return origin_.scheme == "http"; }
  // For messages: without the query, in which signed addresses keep what opens them.
  std::string shown() const;

 private:
  std::string text_;
  Origin origin_;
};

// One part of a path or query, and a path whose slashes stay.
std::string percent_encoded(std::string_view part);
std::string percent_encoded_path(std::string_view path);

}  // namespace cachalot
