#include "formats/gguf/tokenizer.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "formats/gguf/ends.h"
#include "formats/gguf/pre_tokenizers.h"
#include "formats/huggingface/tokenizer.h"
#include "formats/made_files.h"
#include "formats/real_vocabularies.h"
#include "text/tokenizer/infill.h"
#include "text/tokenizer/tokenizer.h"
#include "text/unicode.h"

namespace cachalot {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr int32_t kNormal = 1, kControl = 3, kUserDefined = 4, kUnused = 5;

struct Parts {
  std::string model = "gpt2", pre = "qwen2";
  std::vector<std::string> tokens, merges;
  std::vector<int32_t> types;
};

// The bytes, one merge, a control token, a user-defined one and a padding row.
Parts small_parts() {
  Parts p;
  for (int byte = 0; byte < 256; ++byte)
    p.tokens.push_back(letters_of_bytes(std::string(1, static_cast<char>(byte))));
  p.tokens.insert(p.tokens.end(), {"ab", "<|end|>", "<think>", "[PAD259]"});
  p.merges = {"a b"};
  p.types.assign(257, kNormal);
  p.types.insert(p.types.end(), {kControl, kUserDefined, kUnused});
  return p;
}

GgufMaker maker_of(const Parts& p) {
  GgufMaker maker;
  maker.text("tokenizer.ggml.model", p.model);
  if (!p.pre.empty()) maker.text("tokenizer.ggml.pre", p.pre);
  maker.array("tokenizer.ggml.tokens", STRING, p.tokens).array("tokenizer.ggml.token_type", I32, p.types);
  maker.array("tokenizer.ggml.merges", STRING, p.merges);
  return maker;
}

Vocabulary vocabulary_of(const GgufMaker& maker) {
  const std::string bytes = maker.build();
  return read_gguf_vocabulary(GgufFile::parse(as_bytes(bytes), "file.gguf"));
}
Tokenizer load(const Parts& p) { return Tokenizer(vocabulary_of(maker_of(p))); }
std::string refusal(const GgufMaker& maker) {
  return message_of([&] { Tokenizer t(vocabulary_of(maker)); });
}

TEST(GgufTokenizer, ReadsTokensOfEveryTypeForWhatTheyAre) {
  const Tokenizer t = load(small_parts());
  EXPECT_THAT(t.encode("ab<|end|><think>"), ElementsAre(256, 257, 258));
  EXPECT_TRUE(t.is_special(257));
  EXPECT_FALSE(t.is_special(258));
  EXPECT_EQ(t.bytes(259), "") << "a padding row has no text";
  EXPECT_EQ(t.find("[PAD259]"), std::nullopt);
  for (const int id : t.encode("<|end|><think>", false)) EXPECT_LT(id, 257);
}

TEST(GgufTokenizer, NormalisesForQwenAndNotForTheOthers) {
  Parts p = small_parts();
  for (const char* pre : {"qwen2", "deepseek-r1-qwen"}) {
    p.pre = pre;
    EXPECT_EQ(load(p).decode(load(p).encode("e\u0301")), "\u00E9") << pre;
  }
  for (const char* pre : {"llama-bpe", "deepseek-v3", "deepseek-llm", "gpt-2", ""}) {
    p.pre = pre;
    EXPECT_EQ(load(p).decode(load(p).encode("e\u0301")), "e\u0301") << pre;
  }
}

TEST(GgufTokenizer, AddsBosAsTheFileSaysAndForLlamaUnlessItSaysOtherwise) {
  Parts p = small_parts();
  const auto ids = [&](const char* pre, std::optional<bool> add) {
    p.pre = pre;
    GgufMaker maker = maker_of(p).u32("tokenizer.ggml.bos_token_id", 257);
    if (add) maker.flag("tokenizer.ggml.add_bos_token", *add);
    return Tokenizer(vocabulary_of(maker)).encode_with_bos("x");
  };
  EXPECT_THAT(ids("qwen2", std::nullopt), ElementsAre('x'));
  EXPECT_THAT(ids("qwen2", true), ElementsAre(257, 'x'));
  EXPECT_THAT(ids("llama-bpe", std::nullopt), ElementsAre(257, 'x'));
  EXPECT_THAT(ids("llama-bpe", false), ElementsAre('x'));
}

TEST(GgufTokenizer, TakesTheNamedTokensForSpecialWhenThereAreNoTypes) {
  const Parts p = small_parts();
  GgufMaker maker;
  maker.text("tokenizer.ggml.model", "gpt2").text("tokenizer.ggml.pre", "qwen2");
  maker.array("tokenizer.ggml.tokens", STRING, p.tokens).array("tokenizer.ggml.merges", STRING, p.merges);
  maker.u32("tokenizer.ggml.eos_token_id", 257);
  const Tokenizer t(vocabulary_of(maker));
  EXPECT_THAT(t.encode("<|end|>"), ElementsAre(257));
  EXPECT_TRUE(t.is_special(257));
  EXPECT_EQ(t.eos(), 257);
}

// The names are those of llama.cpp (0c1e570, gguf-py/gguf/constants.py), the older ones too.
TEST(GgufTokenizer, TakesFillInTokensFromTheirKeys) {
  const InfillTokens want{.prefix = 5, .suffix = 6, .middle = 7};
  for (const auto& [prefix, suffix, middle] :
       {std::tuple{"fim_pre", "fim_suf", "fim_mid"}, std::tuple{"prefix", "suffix", "middle"}}) {
    GgufMaker maker = maker_of(small_parts());
    maker.u32(fmt::format("tokenizer.ggml.{}_token_id", prefix), 5);
    maker.u32(fmt::format("tokenizer.ggml.{}_token_id", suffix), 6);
    EXPECT_EQ(vocabulary_of(maker).infill, std::nullopt) << "one is missing";
    maker.u32(fmt::format("tokenizer.ggml.{}_token_id", middle), 7);
    const Tokenizer t(vocabulary_of(maker));
    EXPECT_EQ(infill_tokens(t), want);
    EXPECT_THAT(encode_infill(t, want, "x", "y"), ElementsAre(5, 'x', 6, 'y', 7));
  }
  EXPECT_EQ(infill_tokens(Tokenizer(vocabulary_of(maker_of(small_parts())))), std::nullopt);
}

TEST(GgufTokenizer, RefusesWhatItCannotRead) {
  Parts p = small_parts();
  EXPECT_THAT(refusal(GgufMaker()), HasSubstr("in file.gguf: the file carries no tokenizer"));
  p.model = "llama";
  EXPECT_THAT(refusal(maker_of(p)), HasSubstr("the tokenizer model 'llama' is not supported"));
  p = small_parts();
  p.pre = "tekken\x1b";
  EXPECT_THAT(refusal(maker_of(p)), HasSubstr("the pre-tokeniser 'tekken\\x1b' is not supported"));
  for (const char* pre : {"gemma4", "superbpe", "roberta-bpe"}) {  // of architectures that do not run here
    p.pre = pre;
    EXPECT_THAT(refusal(maker_of(p)), HasSubstr("is not supported")) << pre;
  }
  p = small_parts();
  p.types.pop_back();
  EXPECT_THAT(refusal(maker_of(p)), HasSubstr("has 259 entries for 260 tokens"));
  p = small_parts();
  p.types[3] = 77;
  EXPECT_THAT(refusal(maker_of(p)), HasSubstr("token 3 is of the unknown type 77"));
  for (const char* merge : {"ab", "a b c", " b", "a ", ""}) {
    p = small_parts();
    p.merges = {merge};
    EXPECT_THAT(refusal(maker_of(p)), HasSubstr("not two tokens with a space between")) << merge;
  }
  p.merges = {"a zz"};
  EXPECT_THAT(refusal(maker_of(p)), HasSubstr("in file.gguf: merge 0"));
  GgufMaker without_merges;
  without_merges.text("tokenizer.ggml.model", "gpt2").text("tokenizer.ggml.pre", "qwen2");
  without_merges.array("tokenizer.ggml.tokens", STRING, small_parts().tokens);
  EXPECT_THAT(refusal(without_merges), HasSubstr("tokenizer.ggml.merges"));
  p = small_parts();
  p.tokens[5] = "a";
  EXPECT_THAT(refusal(maker_of(p)), HasSubstr("listed twice"));
}

// What llama.cpp makes of such files (0c1e570, src/llama-vocab.cpp), but for its default ids, which are GPT-2's.
TEST(GgufTokenizer, TakesIdsWithoutATokenForNone) {
  for (const uint32_t none : {260U, 0xFFFFFFFFU, 0x80000000U}) {
    GgufMaker maker = maker_of(small_parts());
    for (const char* name : {"bos", "eos", "unknown"})
      maker.u32(fmt::format("tokenizer.ggml.{}_token_id", name), none);
    maker.flag("tokenizer.ggml.add_bos_token", true).flag("tokenizer.ggml.add_eos_token", true);
    testing::internal::CaptureStderr();
    const Tokenizer t(vocabulary_of(maker));
    EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("add_bos_token is true, but the file names no"));
    EXPECT_EQ(t.bos(), std::nullopt);
    EXPECT_EQ(t.eos(), std::nullopt);
    EXPECT_THAT(t.encode_with_bos("x"), ElementsAre('x'));
  }
  const Tokenizer t(vocabulary_of(maker_of(small_parts()).i32("tokenizer.ggml.eos_token_id", -1)));
  EXPECT_EQ(t.eos(), std::nullopt);
}

// As transformers 5.24 and llama.cpp (0c1e570) read SmolLM2's file: its unknown token, which is <|endoftext|>, stands
// for no byte.
TEST(GgufTokenizer, LeavesOutAByteThatHasNoToken) {
  Parts p = small_parts();
  p.tokens[0x13] = "<|unknown|>";
  const Tokenizer t(vocabulary_of(maker_of(p).u32("tokenizer.ggml.unknown_token_id", 0x13)));
  EXPECT_THAT(t.encode("x\x13y"), ElementsAre('x', 'y'));
}

TEST(GgufTokenizer, TakesUndefinedTypesForNormalAndIgnoresTypesBeyondTheTokens) {
  Parts p = small_parts();
  p.types['a'] = 0;
  p.types.push_back(kControl);
  EXPECT_THAT(load(p).encode("ab<|end|>a"), ElementsAre(256, 257, 'a'));
  p.types.assign(260, 0);
  EXPECT_THAT(load(p).encode("ab<|end|>"), ElementsAre(256, 257)) << "known by its text";
}

TEST(GgufTokenizer, RunsWithoutMergesWhenTheListIsEmpty) {
  Parts p = small_parts();
  p.merges.clear();
  EXPECT_THAT(load(p).encode("ab"), ElementsAre('a', 'b'));
}

TEST(GgufTokenizer, TakesTheUsualPreTokeniserWhenNoneIsNamed) {
  for (const char* usual : {"qwen2", "llama-bpe", "deepseek-llm", "gpt-2"})
    for (const char* named : {"", "default"}) {
      Parts p = small_parts();
      p.pre = named;
      const std::string bytes = maker_of(p).build();
      testing::internal::CaptureStderr();
      const Vocabulary got = read_gguf_vocabulary(GgufFile::parse(as_bytes(bytes), "file.gguf"), usual);
      EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("names no pre-tokeniser")) << usual;
      Vocabulary want;
      ASSERT_TRUE(set_pre_tokenizer(usual, want));
      EXPECT_EQ(got.steps, want.steps) << usual;
    }
}

struct Ends {
  std::vector<int> ids;
  std::string said;
};

// With further tokens from id 260 on.
Ends ends_of(const std::vector<std::pair<std::string, int32_t>>& tokens, std::optional<uint32_t> eos,
             const std::vector<std::string>& merges = {}) {
  Parts p = small_parts();
  p.tokens[257] = "<|control|>";
  p.merges.insert(p.merges.end(), merges.begin(), merges.end());
  for (const auto& [text, type] : tokens) {
    p.tokens.push_back(text);
    p.types.push_back(type);
  }
  const GgufMaker maker = eos ? maker_of(p).u32("tokenizer.ggml.eos_token_id", *eos) : maker_of(p);
  const std::string bytes = maker.build();
  const GgufFile file = GgufFile::parse(as_bytes(bytes), "file.gguf");
  testing::internal::CaptureStderr();
  Ends ends{gguf_end_tokens(file, Tokenizer(read_gguf_vocabulary(file))), {}};
  ends.said = testing::internal::GetCapturedStderr();
  return ends;
}

TEST(GgufTokenizer, KnowsTheEndOfATurnByItsTextAndSaysSo) {
  const Ends instruct =  // as early files of Llama 3
      ends_of({{"<|end_of_text|>", kControl}, {"<|eot_id|>", kControl}, {"<|start_header_id|>", kControl}}, 260);
  EXPECT_THAT(instruct.ids, ElementsAre(260, 261));
  EXPECT_THAT(instruct.said, HasSubstr("the file does not name the end of a turn; known by its text: '<|eot_id|>'"));

  const Ends stated =
      ends_of({{"<|endoftext|>", kControl}, {"<|im_end|>", kControl}, {"<|fim_pad|>", kControl}}, 261);
  EXPECT_THAT(stated.ids, ElementsAre(261, 260, 262));
  EXPECT_EQ(stated.said, "") << "the file names the end of a turn";

  EXPECT_THAT(ends_of({{"<｜end▁of▁sentence｜>", kControl}}, std::nullopt).ids, ElementsAre(260));
  EXPECT_THAT(ends_of({{"<|im_end|>", kUserDefined}}, 0xFFFFFFFF).ids, ElementsAre(260));
  const Ends none = ends_of({}, std::nullopt);
  EXPECT_THAT(none.ids, ElementsAre());
  EXPECT_THAT(none.said, HasSubstr("no token is known to end an answer"));
}

TEST(GgufTokenizer, TakesANormalTokenForAnEndUnlessMergesMakeIt) {
  const Ends odd = ends_of({{"<|im_end|>", kNormal}}, std::nullopt);
  EXPECT_THAT(odd.ids, ElementsAre(260));
  EXPECT_THAT(odd.said, HasSubstr("looks like the end of an answer"));
  // Qwen2's vocabulary has such a token, and models write HTML.
  const std::vector<std::pair<std::string, int32_t>> html = {{"</", kNormal}, {"s>", kNormal}, {"</s>", kNormal}};
  EXPECT_THAT(ends_of(html, 257, {"< /", "s >", "</ s>"}).ids, ElementsAre(257));
}

TEST(GgufTokenizer, GivesTheGoldenIdsOfFilesThatThePublicWriterMade) {
  const auto folder = std::filesystem::path(CACHALOT_SOURCE_DIR) / "tests/goldens/gguf";
  const json golden = json::parse(read_text_file(folder / "tokenizer_ids.json"));
  for (const auto& [pre, file] :
       {std::pair("qwen2", "qwen2-plain.gguf"), std::pair("llama-bpe", "llama-plain.gguf")}) {
    const Tokenizer t(read_gguf_vocabulary(GgufFile::parse(MappedFile(folder / file))));
    for (const json& entry : golden["pre"][pre]) {
      EXPECT_EQ(json(t.encode(entry["text"].get<std::string>())), entry["ids"]) << pre << ": " << entry["text"];
    }
  }
}

// A real vocabulary as llama.cpp's converter would write it gives the same golden ids as tokenizer.json.
void compare_real(const std::string& name, const std::string& pre) {
  const Vocabulary v = read_hf_vocabulary(vocabulary_folder(name));
  Parts p;
  p.pre = pre;
  p.tokens = v.tokens;
  p.types.assign(v.tokens.size(), kNormal);
  for (const AddedToken& t : v.added) {
    p.tokens.resize(std::max<size_t>(p.tokens.size(), t.id + 1), "[PAD]");
    p.types.resize(p.tokens.size(), kUnused);
    p.tokens[t.id] = t.content;
    p.types[t.id] =
        t.special || t.content.starts_with("<|") || t.content.starts_with("<｜") ? kControl : kUserDefined;
  }
  for (const auto& [left, right] : v.merges) p.merges.push_back(left + " " + right);
  const Tokenizer t = load(p);
  const auto folder = std::filesystem::path(CACHALOT_SOURCE_DIR) / "tests/goldens/tokenizers";
  const auto strings = golden_strings(folder);
  const json golden = json::parse(read_text_file(folder / (name + ".json")));
  for (size_t i = 0; i < strings.size(); ++i) {
    const json& want = golden[i].is_array() ? golden[i] : golden[i]["special"];
    EXPECT_EQ(json(t.encode(strings[i])), want) << i;
  }
}

TEST(GgufTokenizer, GivesTheGoldenIdsOfDeepSeekV3) { compare_real("deepseek_v3", "deepseek-v3"); }
TEST(GgufTokenizer, GivesTheGoldenIdsOfQwen3) { compare_real("qwen3", "qwen2"); }

}  // namespace
}  // namespace cachalot
