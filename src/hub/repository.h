// A repository of models on a hub: what it is called, at which commit it is, and its files with their sizes and
// checksums, as the hub lists them. All of it is hostile.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hub/http_client.h"
#include "load/hub_cache.h"

namespace cachalot {

struct RemoteFile {
  std::string path;  // inside the repository; see is_safe_path()
  int64_t size = 0;
  std::string etag;  // the name of its blob: SHA-256 of the bytes where `large`, else git's SHA-1 of a blob
  bool large = false;
};

struct Repository {
  std::string name;      // as it was asked for
  std::string now;       // as the hub calls it; another where it was renamed
  std::string revision;  // as it was asked for, else "main"
  std::string commit;    // 40 hexadecimal digits
  std::vector<RemoteFile> files;
};

// Throws Error that says what the hub says: no such repository (and what is called like it), no such revision, not
// allowed (and where to ask), or a listing that cannot be right.
Repository list_repository(HttpClient& client, const HubName& name);

// Where a file's bytes are asked for.
WebAddress address_of(const WebAddress& endpoint, const Repository& repository, const RemoteFile& file);

// What an answer that is not ok says of a repository.
Error refusal_of(HttpClient& client, const WebAnswer& answer, const std::string& repo, const std::string& what);

// The files of one page of a listing. Throws Error where it cannot be right.
std::vector<RemoteFile> parse_tree(std::string_view json, const WebAddress& where);

// Whether a path stays inside the folder that it is written in, and can be written there.
bool is_safe_path(std::string_view path);
// Of a Link header, the address of what is next.
std::optional<std::string> next_link(std::string_view header);
// An ETag without its quotes and mark of weakness.
std::string bare_etag(std::string_view etag);

}  // namespace cachalot
