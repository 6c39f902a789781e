#include "hub/repository.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/quote.h"
#include "formats/json_text.h"

namespace cachalot {

using Json = nlohmann::json;

namespace {

constexpr int64_t kMostJsonBytes = int64_t{64} << 20, kMostFileBytes = int64_t{1} << 46;
constexpr size_t kMostFiles = 200'000, kMostPages = 10'000, kMostPathBytes = 1024, kMostPartBytes = 255;
constexpr int kAnswerSeconds = 120;

bool is_hex(std::string_view text, size_t digits) {
  return text.size() == digits && text.find_first_not_of("0123456789abcdef") == text.npos;
}

std::string text_of(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

[[noreturn]] void wrong_listing(const WebAddress& where, const std::string& what) {
  throw Error("this is no listing of a repository: " + what)
      .in(where.shown())
      .hint("does HF_ENDPOINT name a hub, and is there no proxy that answers in its place?");
}

Json json_of(std::string_view text, const WebAddress& where) {
  try {
    return parse_json(text, "the answer");
  } catch (const Error&) { wrong_listing(where, "the answer is no JSON"); }
}

WebRequest question(const WebAddress& address) {
  return {.address = address, .limit_bytes = kMostJsonBytes, .total_seconds = kAnswerSeconds};
}

WebAddress below(const WebAddress& endpoint, const std::string& path) {
  return WebAddress::parse(endpoint.text() + (endpoint.text().ends_with('/') ? "" : "/") + path);
}

// An entry of the tree; none for what is no file.
std::optional<RemoteFile> file_of(const Json& entry, const WebAddress& where) {
  if (!entry.is_object()) wrong_listing(where, "an entry is no object");
  if (text_of(entry, "type") != "file") return std::nullopt;
  RemoteFile file{.path = text_of(entry, "path")};
  if (!is_safe_path(file.path))
    throw Error(
        fmt::format("the repository has a file {}, which cannot be written inside a folder", quote(file.path)))
        .in(where.shown())
        .because("its name leads elsewhere, or holds what names of files must not")
        .hint("nothing is fetched from such a repository; report it to the hub");
  const Json large = entry.value("lfs", Json());
  file.large = large.is_object();
  const Json size = (file.large ? large : entry).value("size", Json());
  file.etag = text_of(file.large ? large : entry, "oid");
  if (file.etag.starts_with("sha256:")) file.etag.erase(0, 7);
  if (!size.is_number_unsigned() || size.get<uint64_t>() > static_cast<uint64_t>(kMostFileBytes))
    wrong_listing(where, fmt::format("{} has no size", quote(file.path)));
  if (!is_hex(file.etag, file.large ? 64 : 40))
    wrong_listing(where, fmt::format("{} has no checksum", quote(file.path)));
  file.size = size.get<int64_t>();
  return file;
}

std::vector<RemoteFile> list_files(HttpClient& client, const Repository& r) {
  const WebAddress& endpoint = client.settings().endpoint;
  WebAddress address =
      below(endpoint, fmt::format("api/models/{}/tree/{}?recursive=true", percent_encoded_path(r.now), r.commit));
  std::vector<RemoteFile> files;
  std::set<std::string> paths;
  for (size_t page = 0; page < kMostPages; ++page) {
    const WebAnswer answer = client.ask_patiently(question(address));
    if (!answer.ok()) throw refusal_of(client, answer, r.name, "its list of files");
    const Json entries = json_of(answer.body, answer.address);
    if (!entries.is_array()) wrong_listing(answer.address, "it is no list");
    for (const Json& entry : entries)
      if (auto file = file_of(entry, answer.address)) {
        if (!paths.insert(file->path).second) wrong_listing(answer.address, quote(file->path) + " is in it twice");
        files.push_back(std::move(*file));
      }
    if (files.size() > kMostFiles) wrong_listing(answer.address, "it has too many files");
    const auto next = next_link(answer.header("link"));
    if (!next) return files;
    address = answer.address.joined(*next);
    if (address.origin() != endpoint.origin()) wrong_listing(answer.address, "its next page is on another host");
  }
  wrong_listing(address, "it has no end");
}

// Names like one that is not there, as the hub's search finds them; none where it finds or says nothing.
std::vector<std::string> near_names(HttpClient& client, const std::string& repo) {
  try {
    const std::string word = repo.substr(repo.find('/') + 1);
    const WebAnswer answer =
        client.ask(question(below(client.settings().endpoint, "api/models?limit=5&search=" + percent_encoded(word))));
    std::vector<std::string> names;
    if (!answer.ok()) return names;
    for (const Json& model : json_of(answer.body, answer.address))
      if (const auto name = HubName::parse(text_of(model, "id")); name && !name->type && names.size() < 5)
        names.push_back(name->repo);
    return names;
  } catch (const std::exception&) { return {}; }  // a help that did not come; what was asked for is said all the same
}

Error no_repository(HttpClient& client, const WebAnswer& answer, const std::string& repo) {
  const bool known = !client.settings().token.empty();
  Error error =
      Error(fmt::format("there is no repository {} there, or it is private", quote(repo))).in(answer.address.shown());
  if (const auto names = near_names(client, repo); !names.empty())
    error = std::move(error).because(fmt::format("there are {}", fmt::join(names, ", ")));
  return std::move(error).hint(known ? "is the token (HF_TOKEN, `hf auth login`) of an account that may read it?"
                                     : "for a private one set HF_TOKEN, or log in with `hf auth login`");
}

}  // namespace

std::vector<RemoteFile> parse_tree(std::string_view json, const WebAddress& where) {
  const Json entries = json_of(json, where);
  if (!entries.is_array()) wrong_listing(where, "it is no list");
  std::vector<RemoteFile> files;
  for (const Json& entry : entries)
    if (auto file = file_of(entry, where)) files.push_back(std::move(*file));
  return files;
}

bool is_safe_path(std::string_view path) {
  if (path.empty() || path.size() > kMostPathBytes) return false;
  const auto is_control = [](unsigned char c) { return c < 0x20 || c == 0x7f || c == '\\'; };
  if (std::any_of(path.begin(), path.end(), is_control)) return false;
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view part = path.substr(begin, end - begin);
    if (part.empty() || part == "." || part == ".." || part.size() > kMostPartBytes) return false;
    begin = end + 1;
  }
  return true;
}

// <ADDRESS>; rel="next", <ADDRESS>; …
std::optional<std::string> next_link(std::string_view header) {
  for (size_t open = header.find('<'); open != header.npos;) {
    const size_t close = header.find('>', open);
    if (close == header.npos) return std::nullopt;
    const size_t after = std::min(header.find('<', close), header.size());
    const std::string_view words = header.substr(close + 1, after - close - 1);
    for (const std::string_view form : {"rel=\"next\"", "rel=next"})
      if (words.find(form) != words.npos) return std::string(header.substr(open + 1, close - open - 1));
    open = header.find('<', close);
  }
  return std::nullopt;
}

std::string bare_etag(std::string_view etag) {
  if (etag.starts_with("W/")) etag.remove_prefix(2);
  if (etag.starts_with('"')) etag.remove_prefix(1);
  if (etag.ends_with('"')) etag.remove_suffix(1);
  return std::string(etag);
}

WebAddress address_of(const WebAddress& endpoint, const Repository& repository, const RemoteFile& file) {
  return below(endpoint, fmt::format("{}/resolve/{}/{}", percent_encoded_path(repository.now), repository.commit,
                                     percent_encoded_path(file.path)));
}

Error refusal_of(HttpClient& client, const WebAnswer& answer, const std::string& repo, const std::string& what) {
  const std::string code = answer.header("x-error-code"), page = below(client.settings().endpoint, repo).text();
  if (code == "GatedRepo") {
    const bool known = !client.settings().token.empty();
    return Error(fmt::format("{} is given only to who accepted its conditions", quote(repo)))
        .in(answer.address.shown())
        .hint(fmt::format("accept them on {}{}", page,
                          known ? ", with the account of the token that is set"
                                : ", then set HF_TOKEN or log in with `hf auth login`"));
  }
  if (code == "RevisionNotFound")
    return Error(fmt::format("the repository {} has no such revision", quote(repo)))
        .in(answer.address.shown())
        .hint("REPO@REVISION takes a branch, a tag or a commit");
  if (code == "EntryNotFound") return Error(fmt::format("{} is not there", what)).in(answer.address.shown());
  if (code == "RepoNotFound" || answer.status == 404 || answer.status == 401)
    return no_repository(client, answer, repo);
  if (answer.status == 403) return failure_of(answer).hint("the token's account may not read it; see " + page);
  return failure_of(answer);
}

Repository list_repository(HttpClient& client, const HubName& name) {
  Repository r{.name = name.repo, .now = name.repo, .revision = name.revision.value_or("main")};
  const WebAnswer answer = client.ask_patiently(question(
      below(client.settings().endpoint,
            fmt::format("api/models/{}/revision/{}", percent_encoded_path(r.name), percent_encoded(r.revision)))));
  if (!answer.ok()) throw refusal_of(client, answer, r.name, "the repository");
  const Json facts = json_of(answer.body, answer.address);
  if (!facts.is_object()) wrong_listing(answer.address, "it is no object");
  r.commit = text_of(facts, "sha");
  if (!is_hex(r.commit, 40)) wrong_listing(answer.address, "it has no commit");
  if (const auto now = HubName::parse(text_of(facts, "id")); now && !now->revision && !now->type) r.now = now->repo;
  r.files = list_files(client, r);
  return r;
}

}  // namespace cachalot
