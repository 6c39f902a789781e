// The fields of /v1/embeddings.
#include "server/openai/fields.h"

namespace cachalot::openai {
namespace {

using enum Use;

// As every answer reads the field of that name.
void read_shared(const Value& value, AskedEmbeddings& asked) {
  find_field(sampling_fields(), value.path)->read(value, asked);
}

void read_input(const Value& value, AskedEmbeddings& asked) { asked.input = &value.json; }

void read_encoding(const Value& value, AskedEmbeddings& asked) {
  if (value.text() != "float" && value.text() != "base64") value.expect(R"("float" or "base64")");
  asked.base64 = value.text() == "base64";
}

void read_dimensions(const Value& value, AskedEmbeddings& asked) {
  asked.dimensions = static_cast<int>(value.integer(1, asked.model.width));
}

void read_pooling(const Value& value, AskedEmbeddings& asked) {
  const std::string& name = value.text();
  if (name == "last")
    asked.pooling = Pooling::last;
  else if (name == "mean")
    asked.pooling = Pooling::mean;
  else if (name == "cls")
    asked.pooling = Pooling::first;
  else
    value.expect(R"("last", "mean" or "cls")");
}

// llama.cpp's norms: others than these two are of no use to anyone who compares vectors by their angle.
void read_norm(const Value& value, AskedEmbeddings& asked) {
  const int64_t norm = value.integer(-1, 1 << 20);
  if (norm != -1 && norm != 2) value.expect("-1 (none) or 2 (length 1)");
  asked.normalized = norm == 2;
}

constexpr std::string_view kNeverCut = "an input is never cut; it is refused when it is too long";
constexpr std::string_view kNoPrompt =
    "no prompt is put before an input; write the one that the model's card names for this kind of text into it";
constexpr std::string_view kNumbers = "numbers are f32, in base64 little-endian";

constexpr Field<AskedEmbeddings> kEmbeddings[] = {
    {"model", honoured, "the name in `/v1/models`; another one is a 404; may be absent", R"(["org/model"])",
     R"([5, ""])", read_shared},
    {"input", honoured,
     "a text, in which special tokens are recognised, or a list of token ids, or a list of up to 2,048 of either",
     R"(["Hi", [1, 2], ["a", "b"], [[1], [2, 3]]])",
     R"([5, {}, [], "", [1.5], ["a", 1], ["a", ""], [["a"]], [[]], [-1], [99999999]])", read_input},
    {"encoding_format", honoured, "`float` (by default) or `base64`: the numbers as f32, little-endian",
     R"(["float", "base64"])", R"(["int8", 5])", read_encoding},
    {"dimensions", honoured,
     "so many of the first numbers, at most the model's width; what is of length 1 is made so behind that",
     R"([1, 8])", R"([0, -1, 1.5, "8", 99999999])", read_dimensions},
    {"pooling", honoured, "`last`, `mean` or `cls` (the first token), instead of what the checkpoint says",
     R"(["last", "mean", "cls"])", R"(["max", 5])", read_pooling},
    {"normalize", honoured, "whether vectors are made of length 1, instead of what the checkpoint says",
     R"([true, false])", R"([1, "yes"])", read_flag<&AskedEmbeddings::normalized>},
    {"use_activation", honoured, "another name of `normalize`; the later one of the body counts", R"([true, false])",
     R"([1])", read_flag<&AskedEmbeddings::normalized>},
    {"embd_normalize", honoured, "the same as a number: 2 (length 1) or -1 (as they are)", R"([2, -1])",
     R"([0, 1, 3, "2"])", read_norm},
    {"add_special_tokens", honoured, "false: neither BOS nor EOS around a text, where the checkpoint asks for them",
     R"([true, false])", R"([1])", read_flag<&AskedEmbeddings::add_special_tokens>},
    {"cache_salt", honoured, "1 to 1,024 bytes; what was computed serves requests of the same salt alone", R"(["a"])",
     R"([5, ""])", read_shared},
    {"cache_prompt", honoured, "false: the input is computed anew, also what the cache has of it", R"([true, false])",
     R"([1])", read_flag<&Asked::use_cache>},

    {"user", without_effect, "names who asked; nothing is kept of it", R"(["somebody"])", R"([5])", check_text},
    {"safety_identifier", without_effect, "names who asked; nothing is kept of it", R"(["somebody"])", R"([5])",
     check_text},
    {"request_id", without_effect, "an answer tells of one request alone", R"(["a"])", R"([5])", check_text},

    {"truncate_prompt_tokens", refused, kNeverCut, R"([])", R"([5, -1])"},
    {"truncation_side", refused, kNeverCut, R"([])", R"(["left"])"},
    {"truncate", refused, "an input is never cut; only false is taken", R"([false])", R"([true, "END"])"},
    {"input_type", refused, kNoPrompt, R"([])", R"(["query"])"},
    {"prompt_name", refused, kNoPrompt, R"([])", R"(["query"])"},
    {"instruction", refused, kNoPrompt, R"([])", R"(["Find"])"},
    {"task", refused, kNoPrompt, R"([])", R"(["retrieval"])"},
    {"messages", refused, "a conversation has no embedding; give its text as `input`", R"([])",
     R"([[{"role": "user", "content": "Hi"}]])"},
    {"content", refused, "its place is `input`", R"([])", R"(["Hi"])"},
    {"embed_dtype", refused, kNumbers, R"(["float32"])", R"(["float16"])"},
    {"endianness", refused, kNumbers, R"(["native", "little"])", R"(["big"])"},
    {"stream", refused, "vectors come at once; only false is taken", R"([false])", R"([true])"},
    {"priority", refused, "callers share the machine equally; only 0 is taken", R"([0])", R"([1])"},
};

}  // namespace

std::span<const Field<AskedEmbeddings>> embedding_fields() { return kEmbeddings; }

}  // namespace cachalot::openai
