// What a hub says, and names and addresses of its: parsed as they are meant, and refused where they could do harm.
#include <gmock/gmock.h>

#include <cstdlib>

#include "base/error.h"
#include "hub/header_extent.h"
#include "hub/repository.h"
#include "hub/selection.h"
#include "hub/settings.h"
#include "hub/transfers.h"
#include "hub/web_address.h"
#include "load/gguf_names.h"

namespace cachalot {
namespace {

using ::testing::ElementsAre;
using ::testing::Optional;
using namespace std::chrono_literals;

TEST(HubWords, LinkHeaders) {
  EXPECT_THAT(next_link("<https://h/a?cursor=b%3D>; rel=\"next\""), Optional(std::string("https://h/a?cursor=b%3D")));
  EXPECT_THAT(next_link("</a>; rel=\"prev\", </b>; title=\"x\"; rel=\"next\""), Optional(std::string("/b")));
  EXPECT_THAT(next_link("</b>; rel=next"), Optional(std::string("/b")));
  for (const char* none : {"", "<", "<>", "</a>", "</a>; rel=\"first\"", "rel=\"next\"", "</a; rel=\"next\""})
    EXPECT_EQ(next_link(none), std::nullopt) << none;
}

TEST(HubWords, ETags) {
  EXPECT_EQ(bare_etag("\"abc\""), "abc");
  EXPECT_EQ(bare_etag("W/\"abc\""), "abc");
  EXPECT_EQ(bare_etag("abc"), "abc");
  EXPECT_EQ(bare_etag(""), "");
}

TEST(HubWords, PathsStayInTheirFolder) {
  for (const char* good : {"config.json", "a/b/c.gguf", ".gitattributes", "a..b", "...", "模型.gguf", "a b", "-x"})
    EXPECT_TRUE(is_safe_path(good)) << good;
  for (const char* bad :
       {"", "/a", "a/", "a//b", ".", "..", "../a", "a/..", "a/../b", "a/./b", "a\\b", "a\nb", "\x7f"})
    EXPECT_FALSE(is_safe_path(bad)) << bad;
  EXPECT_FALSE(is_safe_path(std::string("a\0b", 3)));
  EXPECT_FALSE(is_safe_path(std::string(256, 'a')));
  EXPECT_TRUE(is_safe_path(std::string(255, 'a')));
}

TEST(HubWords, Listings) {
  const auto here = WebAddress::parse("https://h.co");
  const std::string oid(40, 'a'), sha(64, 'b');
  const auto files = parse_tree(R"([{"type": "directory", "path": ".."},
      {"type": "file", "path": "a", "size": 3, "oid": ")" +
                                    oid + R"("},
      {"type": "file", "path": "b", "size": 134, "oid": ")" +
                                    oid + R"(", "lfs": {"size": 9, "oid": ")" + sha + R"("}}])",
                                here);
  ASSERT_EQ(files.size(), 2u);
  EXPECT_EQ(files[0].etag, oid);
  EXPECT_FALSE(files[0].large);
  EXPECT_EQ(files[1].etag, sha);
  EXPECT_EQ(files[1].size, 9);
  EXPECT_TRUE(files[1].large);
  const auto entry = [&](const std::string& path, const std::string& size, const std::string& hash) {
    return R"([{"type": "file", "path": ")" + path + R"(", "size": )" + size + R"(, "oid": ")" + hash + R"("}])";
  };
  EXPECT_EQ(parse_tree(entry("a", "0", oid), here).size(), 1u);
  for (const std::string& bad :
       {std::string("{}"), std::string("[1]"), std::string("<html>"), std::string(""), entry("../a", "1", oid),
        entry("a", "-1", oid), entry("a", "1.5", oid), entry("a", "1e30", oid), entry("a", "99999999999999999", oid),
        entry("a", "\"1\"", oid), entry("a", "1", "../" + oid), entry("a", "1", sha), entry("a", "1", "")})
    EXPECT_THROW(parse_tree(bad, here), Error) << bad;
}

TEST(HubWords, ContentRanges) {
  const auto range = ContentRange::parse("bytes 5-9/100");
  ASSERT_TRUE(range);
  EXPECT_EQ(range->first, 5);
  EXPECT_EQ(range->last, 9);
  EXPECT_EQ(range->total, 100);
  for (const char* none : {"", "bytes", "bytes 5-9", "bytes 5-9/*", "bytes */100", "bytes 9-5/100", "bytes 5-100/100",
                           "bytes -5-9/100", "bytes 5-9/100x", "items 5-9/100", "bytes 5-99999999999999999999/3"})
    EXPECT_FALSE(ContentRange::parse(none)) << none;
}

TEST(HubWords, RetryAfter) {
  const auto now = std::chrono::system_clock::from_time_t(784111777);  // the example of RFC 9110
  EXPECT_THAT(retry_after("120", now), Optional(120s));
  EXPECT_THAT(retry_after(" 0 ", now), Optional(0s));
  EXPECT_THAT(retry_after("Sun, 06 Nov 1994 08:50:37 GMT", now), Optional(60s));
  EXPECT_THAT(retry_after("Sun, 06 Nov 1994 08:00:00 GMT", now), Optional(0s));  // past: a clock is wrong
  for (const char* none : {"", "-1", "soon", "12 s"}) EXPECT_EQ(retry_after(none, now), std::nullopt) << none;
}

TEST(HubWords, Tokens) {
  EXPECT_EQ(clean_token(" hf_a\r\n", "x"), "hf_a");
  EXPECT_EQ(clean_token("\n", "x"), "");
  for (const char* bad : {"hf a", "hf\x01", "hf_\xc3\xa4"}) EXPECT_THROW(clean_token(bad, "x"), Error) << bad;
  EXPECT_THROW(clean_token(std::string(5000, 'a'), "x"), Error);
  for (const char* yes : {"1", "on", "True", "YES"}) EXPECT_TRUE(is_yes(yes));
  for (const char* no : {"", "0", "no", "y"}) EXPECT_FALSE(is_yes(no));
}

TEST(HubAddress, OnlyHttpsAndLoopback) {
  for (const char* good : {"https://huggingface.co", "https://h:8443/mirror", "http://localhost:80",
                           "http://127.0.0.1:9", "http://[::1]:9/a"})
    EXPECT_EQ(WebAddress::parse(good).is_plain(), std::string_view(good).starts_with("http:")) << good;
  for (const char* bad : {"", "huggingface.co", "http://huggingface.co", "ftp://localhost", "file:///etc/passwd",
                          "https://user@h", "https://user:word@h", "http://localhost.evil.com", "http://127.evil.com",
                          "https://h/a b", "https://h/\n", "https://"})
    EXPECT_THROW(WebAddress::parse(bad), Error) << bad;
}

TEST(HubAddress, OriginsAndReferences) {
  const auto address = WebAddress::parse("https://H.co/a/b?x=1");
  EXPECT_EQ(address.origin(), WebAddress::parse("https://h.co:443/c").origin());
  EXPECT_NE(address.origin(), WebAddress::parse("https://h.co:444").origin());
  EXPECT_NE(address.origin(), WebAddress::parse("https://h.co.evil.com").origin());
  EXPECT_EQ(address.joined("/c?y=2").text(), "https://H.co/c?y=2");
  EXPECT_EQ(address.joined("c").text(), "https://H.co/a/c");
  EXPECT_EQ(address.joined("//other.co/d").origin().host, "other.co");
  EXPECT_EQ(address.shown(), "https://H.co/a/b");
  EXPECT_THROW(address.joined("http://localhost/c"), Error);  // from https to http
  EXPECT_THROW(address.joined("https://token@other.co"), Error);
  EXPECT_THROW(address.joined("gopher://localhost"), Error);
  EXPECT_EQ(percent_encoded_path("a b/ü#?.gguf"), "a%20b/%C3%BC%23%3F.gguf");
  EXPECT_EQ(percent_encoded("refs/pr/1"), "refs%2Fpr%2F1");
}

// --- what is taken of a repository ---

Repository repository_of(const std::vector<std::string>& paths) {
  Repository r{.name = "a/b"};
  for (const std::string& path : paths) r.files.push_back({.path = path, .size = 10});
  return r;
}

std::vector<std::string> paths_of(const std::vector<RemoteFile>& files) {
  std::vector<std::string> paths;
  for (const RemoteFile& file : files) paths.push_back(file.path);
  return paths;
}

TEST(HubSelection, WhatSaysHowEmbeddingsAreMadeIsTakenToo) {
  const Selection s = select_safetensors(
      repository_of({"1_Pooling/config.json", "1_Pooling/model.safetensors", "2_Normalize/x", "2_Dense/config.json",
                     "2_Dense/model.safetensors", "config.json", "modules.json", "model.safetensors",
                     "a/1_Pooling/config.json", "onnx/config.json"}));
  EXPECT_THAT(paths_of(s.weights), ElementsAre("model.safetensors"));
  EXPECT_THAT(paths_of(s.others), ElementsAre("1_Pooling/config.json", "config.json", "modules.json"));
}

TEST(HubSelection, OneFileOfSafetensorsIsTakenAsItIsRead) {
  const Selection s = select_safetensors(repository_of({"config.json", "model.safetensors", "model.fp16.safetensors",
                                                        "adapter_model.safetensors", "model.bin", "tokenizer.json"}));
  EXPECT_THAT(paths_of(s.weights), ElementsAre("model.safetensors"));
  EXPECT_THAT(paths_of(s.others), ElementsAre("config.json", "tokenizer.json"));
  EXPECT_EQ(s.bytes(), 30);
  EXPECT_THROW(select_safetensors(repository_of({"config.json", "a.safetensors", "b.safetensors"})), Error);
  EXPECT_THROW(select_safetensors(repository_of({"config.json", "model.bin"})), Error);
  EXPECT_THROW(select_safetensors(repository_of({"model.safetensors"})), Error);
  EXPECT_THROW(select_safetensors(repository_of({"config.json", "sub/model.safetensors"})), Error);
}

TEST(HubSelection, GgufModels) {
  const Repository r = repository_of({"x-Q8_0.gguf", "x-Q4_K_M-00002-of-00002.gguf", "x-Q4_K_M-00001-of-00002.gguf",
                                      "mmproj-x.gguf", "x.imatrix.gguf", "x-F16-00001-of-00002.gguf"});
  const auto choices = gguf_choices(r);
  ASSERT_EQ(choices.size(), 3u);
  const GgufChoice& split = choice_of(choices, "Q4_K_M", r);
  EXPECT_EQ(split.bytes, 20);
  EXPECT_EQ(select_gguf(r, split).model, "x-Q4_K_M-00001-of-00002.gguf");
  EXPECT_EQ(select_gguf(r, split).weights.size(), 2u);
  EXPECT_EQ(choice_of(choices, "x-q8_0.gguf", r).name, "q8_0");
  EXPECT_THROW(choice_of(choices, "q6_k", r), Error);
  EXPECT_THROW(select_gguf(r, choice_of(choices, "f16", r)), Error);  // a shard is not there
}

TEST(HubSelection, NamesOfShards) {
  EXPECT_THAT(gguf_files_of("d/x-00001-of-00002.gguf"),
              ElementsAre("d/x-00001-of-00002.gguf", "d/x-00002-of-00002.gguf"));
  EXPECT_THAT(gguf_files_of("x.gguf"), ElementsAre("x.gguf"));
  for (const char* none : {"-00001-of-00002.gguf", "x-0001-of-00002.gguf", "x-00001-of-00002.bin",
                           "x-00000-of-00002.gguf", "x-+0001-of-00002.gguf"})
    EXPECT_FALSE(gguf_shard(none)) << none;
}

// --- how far headers reach ---

template <typename T>
void put(std::string& text, T value) {
  text.append(reinterpret_cast<const char*>(&value), sizeof value);
}
void put_text(std::string& text, std::string_view value) {
  put<uint64_t>(text, value.size());
  text += value;
}

std::string gguf_header() {
  std::string text = "GGUF";
  put<uint32_t>(text, 3), put<uint64_t>(text, 1), put<uint64_t>(text, 3);
  put_text(text, "a"), put<uint32_t>(text, 8), put_text(text, "value");
  put_text(text, "b"), put<uint32_t>(text, 9), put<uint32_t>(text, 8), put<uint64_t>(text, 2), put_text(text, "x"),
      put_text(text, "yz");
  put_text(text, "c"), put<uint32_t>(text, 9), put<uint32_t>(text, 5), put<uint64_t>(text, 3);
  for (int i = 0; i < 3; ++i) put<int32_t>(text, i);
  put_text(text, "tensor"), put<uint32_t>(text, 2), put<uint64_t>(text, 4), put<uint64_t>(text, 4);
  put<uint32_t>(text, 0), put<uint64_t>(text, 0);
  return text;
}

TEST(HeaderExtent, Gguf) {
  const std::string header = gguf_header();
  for (size_t size = 0; size < header.size(); ++size)
    EXPECT_EQ(gguf_header_bytes(header.substr(0, size)), std::nullopt) << size;
  EXPECT_THAT(gguf_header_bytes(header), Optional(static_cast<int64_t>(header.size())));
  EXPECT_THAT(gguf_header_bytes(header + "data"), Optional(static_cast<int64_t>(header.size())));
  EXPECT_TRUE(gguf_header_bytes("no GGUF at all"));  // the parser says what it is
  std::string hostile = header;
  for (size_t i = 8; i < 24; ++i) hostile[i] = '\xff';  // 2^64 - 1 tensors and keys
  EXPECT_LE(gguf_header_bytes(hostile).value_or(0), static_cast<int64_t>(hostile.size()));
}

TEST(HeaderExtent, Safetensors) {
  std::string text;
  put<uint64_t>(text, 1000);
  EXPECT_EQ(safetensors_header_bytes(text.substr(0, 7)), std::nullopt);
  EXPECT_THAT(safetensors_header_bytes(text), Optional(1008));
  EXPECT_THAT(safetensors_header_bytes(std::string(8, '\xff')), Optional(8));
}

}  // namespace
}  // namespace cachalot
