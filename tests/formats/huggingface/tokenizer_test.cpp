#include "formats/huggingface/tokenizer.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "text/tokenizer/tokenizer.h"
#include "text/unicode.h"

namespace cachalot {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

json small_file() {
  json vocab;
  for (int byte = 0; byte < 256; ++byte) vocab[letters_of_bytes(std::string(1, static_cast<char>(byte)))] = byte;
  vocab["ab"] = 256;
  vocab["Ġab"] = 257;
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"added_tokens",
           {{{"id", 258}, {"content", "<s>"}, {"special", true}, {"normalized", false}},
            {{"id", 259}, {"content", "</s>"}, {"special", true}, {"normalized", false}}}},
          {"normalizer", nullptr},
          {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}}},
          {"post_processor", nullptr},
          {"decoder", {{"type", "ByteLevel"}}},
          {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", {"a b", "Ġ ab"}}}}};
}

Tokenizer load(const json& file, const std::string& config = "") {
  return Tokenizer(parse_hf_vocabulary(file.dump(), config, "folder"));
}

std::string text_error_of(const std::string& file, const std::string& config = "") {
  try {
    Tokenizer t(parse_hf_vocabulary(file, config, "folder"));
  } catch (const Error& error) { return error.what(); }
  return "no error";
}
std::string error_of(const json& file, const std::string& config = "") { return text_error_of(file.dump(), config); }

// The small file with the value at a JSON pointer replaced.
json with(const std::string& pointer, const json& value) {
  json file = small_file();
  file[json::json_pointer(pointer)] = value;
  return file;
}

TEST(HfTokenizer, ReadsMergesAsStringsAndAsPairs) {
  EXPECT_THAT(load(small_file()).encode("ab ab b"), ElementsAre(256, 257, ' ', 'b'));
  const json pairs = json::array({json::array({"a", "b"}), json::array({"Ġ", "ab"})});
  EXPECT_THAT(load(with("/model/merges", pairs)).encode("ab ab b"), ElementsAre(256, 257, ' ', 'b'));
}

TEST(HfTokenizer, TakesBosFromTheTemplateAndLetsTheConfigDecide) {
  const json add = {
      {"type", "Sequence"},
      {"processors",
       {{{"type", "ByteLevel"}, {"trim_offsets", false}},
        {{"type", "TemplateProcessing"},
         {"single",
          {{{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}}, {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}}},
         {"special_tokens", json::object()}}}}};
  const json file = with("/post_processor", add);
  EXPECT_THAT(load(file).encode_with_bos("a"), ElementsAre(258, 'a'));
  EXPECT_THAT(load(file, R"({"add_bos_token": false})").encode_with_bos("a"), ElementsAre('a'));
  EXPECT_THAT(load(small_file(), R"({"add_bos_token": true, "bos_token": "<s>", "eos_token": {"content": "</s>"}})")
                  .encode_with_bos("a"),
              ElementsAre(258, 'a'));
  EXPECT_EQ(load(small_file(), R"({"eos_token": {"content": "</s>"}, "bos_token": null})").eos(), 259);
  EXPECT_EQ(load(small_file(), R"({"eos_token": "</s>"})").bos(), std::nullopt);
  EXPECT_THAT(error_of(small_file(), R"({"add_bos_token": true, "bos_token": "<no>"})"), HasSubstr("no such token"));
}

// As Qwen3-Embedding has it. What the classes of transformers 5.24 do, too.
TEST(HfTokenizer, AppendsWhatTheTemplateNamesWhateverEndsAnswers) {
  const json append = {
      {"type", "TemplateProcessing"},
      {"single",
       {{{"Sequence", {{"id", "A"}, {"type_id", 0}}}}, {{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}}}}};
  for (const char* config :
       {R"({"add_bos_token": false, "eos_token": "</s>"})", R"({"add_eos_token": true, "eos_token": "</s>"})"}) {
    const Tokenizer t = load(with("/post_processor", append), config);
    EXPECT_THAT(t.encode_with_bos("a"), ElementsAre('a', 258)) << config;
    EXPECT_EQ(t.eos(), 259);
  }
}

TEST(HfTokenizer, RefusesTemplatesThatItCannotHonour) {
  const auto single = [](json items) {
    return with("/post_processor", {{"type", "TemplateProcessing"}, {"single", items}});
  };
  const json text = {{"Sequence", {{"id", "A"}}}}, bos = {{"SpecialToken", {{"id", "<s>"}}}},
             none = {{"SpecialToken", {{"id", "<x>"}}}};
  EXPECT_EQ(error_of(single({bos, text, bos})), "no error");
  EXPECT_THAT(error_of(single({bos, bos, text})), HasSubstr("more than one token"));
  EXPECT_THAT(error_of(single({none, text})), HasSubstr("'<x>', which is no token"));
  EXPECT_THAT(error_of(single(json::array({bos}))), HasSubstr("leaves out the text"));
  EXPECT_THAT(error_of(single(json::array({"x"}))), HasSubstr("neither"));
  EXPECT_THAT(error_of(single("x")), HasSubstr("no template"));
}

TEST(HfTokenizer, AddsTokensThatOnlyTheConfigKnows) {
  const Tokenizer t = load(
      small_file(),
      R"({"added_tokens_decoder": {"258": {"content": "<other>"}, "260": {"content": "<new>", "special": true}}})");
  EXPECT_EQ(t.find("<new>"), 260);
  EXPECT_TRUE(t.is_special(260));
  EXPECT_EQ(t.find("<s>"), 258) << "where both know a token, tokenizer.json counts";
  EXPECT_EQ(t.find("<other>"), std::nullopt);
  for (const char* key : {"", "x", "-1", "99999999999999", "1e3"}) {
    EXPECT_THAT(error_of(small_file(), json({{"added_tokens_decoder", {{key, {{"content", "<new>"}}}}}}).dump()),
                HasSubstr("no token id"));
  }
  EXPECT_THAT(error_of(small_file(), R"({"added_tokens_decoder": {"999999999": {"content": "<new>"}}})"),
              HasSubstr("out of range"));
}

TEST(HfTokenizer, RefusesComponentsByTheirNames) {
  const auto type = [](const char* name) { return json{{"type", name}}; };
  EXPECT_THAT(error_of(with("/normalizer", type("Lowercase"))),
              HasSubstr("the normaliser 'Lowercase' is not supported"));
  EXPECT_THAT(error_of(with("/pre_tokenizer", type("Metaspace"))),
              HasSubstr("the pre-tokeniser 'Metaspace' is not supported"));
  EXPECT_THAT(error_of(with("/post_processor", type("BertProcessing"))), HasSubstr("'BertProcessing'"));
  EXPECT_THAT(error_of(with("/decoder", type("WordPiece"))), HasSubstr("'WordPiece'"));
  EXPECT_THAT(error_of(with("/model/type", "Unigram")), HasSubstr("the model 'Unigram' is not supported"));
  EXPECT_THAT(error_of(with("/model/byte_fallback", true)), HasSubstr("byte_fallback"));
  EXPECT_THAT(error_of(with("/model/dropout", 0.1)), HasSubstr("dropout"));
  EXPECT_THAT(error_of(with("/model/end_of_word_suffix", "</w>")), HasSubstr("end_of_word_suffix"));
  EXPECT_THAT(error_of(with("/pre_tokenizer", nullptr)), HasSubstr("no ByteLevel step"));
  EXPECT_EQ(error_of(with("/normalizer", {{"type", "Sequence"}, {"normalizers", json::array()}})), "no error");
  EXPECT_EQ(error_of(with("/normalizer", {{"type", "Sequence"}, {"normalizers", {type("NFC")}}})), "no error");
  EXPECT_EQ(error_of(with("/model/continuing_subword_prefix", "")), "no error");
}

TEST(HfTokenizer, RefusesHostileFilesWithAMessage) {
  EXPECT_THAT(text_error_of(""), HasSubstr("in folder/tokenizer.json: not valid JSON"));
  EXPECT_THAT(text_error_of("{\"model\": {"), HasSubstr("not valid JSON"));
  EXPECT_THAT(text_error_of("[]"), HasSubstr("no 'model'"));
  EXPECT_THAT(text_error_of("7"), HasSubstr("no 'model'"));
  EXPECT_THAT(text_error_of("{\"model\": 7}"), HasSubstr("no 'vocab'"));
  EXPECT_THAT(text_error_of(std::string(100'000, '[')), HasSubstr("nested deeper than 64"));
  EXPECT_THAT(text_error_of("{\"a\":" + std::string(1'000'000, '{')), HasSubstr("not valid JSON"));
  EXPECT_THAT(text_error_of("\xFF\xFE{}"), HasSubstr("not valid JSON"));
  EXPECT_THAT(error_of(with("/model/vocab", {{"a", -1}})), HasSubstr("id -1, which is out of range"));
  EXPECT_THAT(error_of(with("/model/vocab", {{"a", 1'000'000'000}})), HasSubstr("out of range"));
  EXPECT_THAT(text_error_of(R"({"model": {"vocab": {"a": 99999999999999999999}, "merges": []}})"),
              HasSubstr("not an integer"));
  EXPECT_THAT(text_error_of(R"({"model": {"vocab": {"a": 18446744073709551615}, "merges": []}})"),
              HasSubstr("out of range"));
  EXPECT_THAT(error_of(with("/model/vocab", {{"a", 1.5}})),
              HasSubstr("the id of 'a' in model.vocab is not an integer"));
  EXPECT_THAT(error_of(with("/model/vocab", {{"a", "0"}})), HasSubstr("not an integer"));
  EXPECT_THAT(error_of(with("/model/vocab", {{"a", json::array()}})), HasSubstr("not an integer"));
  EXPECT_THAT(error_of(with("/model/vocab", json::array({"a"}))), HasSubstr("no 'vocab'"));
  EXPECT_THAT(error_of(with("/model/vocab", {{"a", 0}, {"b", 0}})), HasSubstr("id 0 is taken twice"));
  EXPECT_THAT(error_of(with("/model/merges", {"a z9"})), HasSubstr("needs the token"));
  for (const json& merge : {json("ab"), json("a b c"), json(7), json({"a"}), json({"a", "b", "c"}), json({"a", 7}),
                            json({{"a", "b"}}), json({{"a"}, {"b"}}), json(nullptr)}) {
    EXPECT_THAT(error_of(with("/model/merges", json::array({merge}))), HasSubstr("merge 0")) << merge;
  }
  EXPECT_THAT(error_of(with("/model/merges", json::object())), HasSubstr("no 'merges'"));
  EXPECT_THAT(error_of(with("/added_tokens", 7)), HasSubstr("'added_tokens' is not a list"));
  EXPECT_THAT(error_of(with("/added_tokens", json::array({7}))), HasSubstr("no integer 'id'"));
  EXPECT_THAT(error_of(with("/added_tokens/0/id", -5)), HasSubstr("out of range"));
  EXPECT_THAT(error_of(with("/added_tokens/0/id", uint64_t{1} << 63)), HasSubstr("out of range"));
  EXPECT_THAT(error_of(with("/added_tokens/0/id", "258")), HasSubstr("no integer 'id'"));
  EXPECT_THAT(error_of(with("/added_tokens/0/content", 1)), HasSubstr("no text 'content'"));
  EXPECT_THAT(error_of(with("/added_tokens/0/special", "yes")), HasSubstr("neither true nor false"));
  EXPECT_THAT(error_of(with("/added_tokens/1/id", 258)), HasSubstr("taken by two"));
  EXPECT_THAT(error_of(with("/pre_tokenizer", 7)), HasSubstr("not an object"));
  EXPECT_THAT(error_of(with("/pre_tokenizer/add_prefix_space", 1)), HasSubstr("neither true nor false"));
  EXPECT_THAT(error_of(small_file(), "{"), HasSubstr("in folder/tokenizer_config.json"));
  EXPECT_THAT(error_of(small_file(), "[]"), HasSubstr("does not hold an object"));
  EXPECT_THAT(error_of(small_file(), R"({"add_bos_token": "yes"})"), HasSubstr("neither true nor false"));
}

TEST(HfTokenizer, RefusesSplitsThatItDoesNotUnderstand) {
  const auto split = [](json step) {
    step["type"] = "Split";
    return with("/pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", {step, {{"type", "ByteLevel"}}}}});
  };
  const json regex = {{"Regex", "a+"}};
  EXPECT_EQ(error_of(split({{"pattern", regex}, {"behavior", "Removed"}})), "no error");
  EXPECT_THAT(error_of(split({{"pattern", "a+"}, {"behavior", "Removed"}})), HasSubstr("'pattern' of a Split"));
  EXPECT_THAT(error_of(split({{"pattern", {{"Glob", "a"}}}, {"behavior", "Removed"}})),
              HasSubstr("'pattern' of a Split"));
  EXPECT_THAT(error_of(split({{"pattern", regex}, {"behavior", "Sideways"}})), HasSubstr("'Sideways'"));
  EXPECT_THAT(error_of(split({{"pattern", regex}})), HasSubstr("no text 'behavior'"));
  EXPECT_THAT(error_of(split({{"pattern", {{"Regex", "("}}}, {"behavior", "Isolated"}})),
              HasSubstr("cannot be used"));
  json many = json::array();
  for (int i = 0; i < 100; ++i) many.push_back({{"type", "Digits"}});
  EXPECT_THAT(error_of(with("/pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", many}})),
              HasSubstr("more than 64 steps"));
  const json after = {{{"type", "ByteLevel"}}, {{"type", "Digits"}}};
  EXPECT_THAT(error_of(with("/pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", after}})),
              HasSubstr("after ByteLevel"));
}

TEST(HfTokenizer, SaysWhatAFolderWithoutTokenizerJsonHoldsInstead) {
  const auto folder = std::filesystem::path(testing::TempDir()) / "cachalot_no_tokenizer";
  std::filesystem::create_directories(folder);
  const auto error = [&] {
    try {
      read_hf_vocabulary(folder);
    } catch (const Error& e) { return std::string(e.what()); }
    return std::string("no error");
  };
  EXPECT_THAT(error(), HasSubstr("there is no tokenizer.json"));
  std::ofstream(folder / "tokenizer.model") << "x";
  EXPECT_THAT(error(), HasSubstr("SentencePiece"));
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace cachalot
