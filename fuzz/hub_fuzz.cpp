// What a hub and a file's beginning say. The first byte says what the others are; what is let through must keep its
// promises.
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/error.h"
#include "hub/header_extent.h"
#include "hub/repository.h"
#include "hub/selection.h"
#include "hub/transfers.h"
#include "hub/web_address.h"

using namespace cachalot;

static void check(bool promise) {
  if (!promise) std::abort();
}

static void read_listing(std::string_view json) {
  Repository repository{.name = "a/b", .files = parse_tree(json, WebAddress::parse("https://h.co/tree"))};
  for (const RemoteFile& file : repository.files) {
    check(file.size >= 0 && file.etag.size() == (file.large ? 64 : 40));
    const auto inside = (std::filesystem::path("/x") / file.path).lexically_normal();
    check(inside.string().starts_with("/x/") && file.path.find('\0') == file.path.npos);
    address_of(WebAddress::parse("https://h.co"), repository, file);
  }
  const auto choices = gguf_choices(repository);
  for (const GgufChoice& choice : choices) select_gguf(repository, choice);
  select_safetensors(repository);
}

static void read_address(std::string_view reference) {
  const WebAddress hub = WebAddress::parse("https://h.co/a?b");
  const WebAddress target = hub.joined(reference);
  check(!target.is_plain() && WebAddress::parse(target.text()).origin() == target.origin());
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    switch (data[0] % 4) {
      case 0: read_listing(text); break;
      case 1: read_address(text); break;
      case 2:
        if (const auto next = next_link(text)) read_address(*next);
        if (const auto range = ContentRange::parse(text))
          check(range->first <= range->last && range->last < range->total);
        retry_after(text, std::chrono::system_clock::from_time_t(0));
        break;
      default:
        if (const auto end = gguf_header_bytes(text)) check(*end >= 0);
        if (const auto end = safetensors_header_bytes(text)) check(*end >= 8);
    }
  } catch (const Error&) {}
  return 0;
}
