// From events to what is told of them: which tokens, and when. The dialects' tests (tests/server/) have the rest.
#include "session/reply.h"

#include <gmock/gmock.h>

#include "formats/huggingface/tokenizer.h"
#include "formats/real_vocabularies.h"
#include "text/chat/reply_cases.h"

namespace cachalot {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const Tokenizer& qwen() {
  static const Tokenizer tokenizer(read_hf_vocabulary(vocabulary_folder("qwen3")));
  return tokenizer;
}

Event token_event(int32_t token) { return {.request = 1, .token = token, .logprobs = {}, .prompt_logprobs = {}}; }

// One answer; what each of its tokens makes known.
struct Told {
  std::vector<std::string> texts;   // of each event, reasoning in brackets
  std::vector<std::string> tokens;  // those that each event tells, joined
  std::optional<ReplyEnd> end;
  ReplyUsage usage;
};

Told told(const std::vector<int>& tokens, const Prompt& prompt, const AnswerText& how) {
  Reply reply(qwen(), prompt, {.answers = 1, .text = how});
  Told all;
  const auto hear = [&](const std::optional<ReplyNews>& news) {
    if (!news) {
      all.texts.emplace_back("-");
      all.tokens.emplace_back("-");
      return;
    }
    all.texts.push_back(testing::shown(news->parts));
    std::string joined;
    for (const ReplyToken& token : news->tokens) joined += qwen().piece(token.token);
    all.tokens.push_back(joined);
    if (news->end) all.end = news->end;
  };
  for (const int token : tokens) {
    if (!reply.ended())
      hear(reply.push(token_event(token)));
    else
      EXPECT_FALSE(reply.push(token_event(token))) << "it has ended";
  }
  Event last = token_event(0);
  last.token.reset();
  last.finished = FinishReason::length;
  if (!reply.ended()) hear(reply.push(last));
  EXPECT_TRUE(reply.ended());
  EXPECT_FALSE(reply.push(last)) << "it has ended";
  all.usage = reply.usage();
  return all;
}

const Prompt kRaw{.tokens = {1, 2, 3}, .ends = {}, .answers = {}},
    kChat{.tokens = {1, 2, 3}, .reply = ReplySyntax(), .ends = {}, .answers = {}};

TEST(Reply, TellsATokenWithTheLastOfItsText) {
  // The whale is four bytes, of three tokens; the first has the space before it, too.
  const auto tokens = qwen().encode("a 🐳 b");
  ASSERT_EQ(tokens.size(), 5u);
  const Told raw = told(tokens, kRaw, {});
  EXPECT_THAT(raw.texts, ElementsAre("a", " ", "-", "🐳", " b", ""));
  EXPECT_THAT(raw.tokens, ElementsAre("a", "", "-", " <0xF0><0x9F><0x90><0xB3>", " b", ""));
  EXPECT_EQ(raw.usage.completion_tokens, 5);
  EXPECT_EQ(raw.usage.reasoning_tokens, 0);
  // Text that may become a stop text holds its tokens back.
  const Told held = told(qwen().encode("one two three"), kRaw, {.stops = {" two four"}});
  EXPECT_THAT(held.texts, ElementsAre("one", "-", " two three", ""));
  EXPECT_THAT(held.tokens, ElementsAre("one", "-", " two three", ""));
}

TEST(Reply, TellsNoTokenThatAStopTextCutsOff) {
  const Told cut = told(qwen().encode("one two three four"), kRaw, {.stops = {"o three"}});
  EXPECT_THAT(cut.texts, ElementsAre("one", " tw", ""));
  EXPECT_THAT(cut.tokens, ElementsAre("one", "", " two"));
  ASSERT_TRUE(cut.end);
  EXPECT_EQ(cut.end->reason, FinishReason::stop);
  EXPECT_EQ(cut.end->stop_text, "o three");
  EXPECT_EQ(cut.usage.completion_tokens, 3) << "those that were made before it was found";
  const Told at_once = told(qwen().encode("one two"), kRaw, {.stops = {"one"}});
  EXPECT_THAT(at_once.tokens, ElementsAre(""));
  EXPECT_THAT(at_once.texts, ElementsAre(""));
}

TEST(Reply, TellsWhichTokensAreReasoning) {
  const auto tokens = qwen().encode("<think>\nHm.\n</think>\n\nYes<|endoftext|>!");
  const Told chat = told(tokens, kChat, {});
  std::string text, told_tokens;
  for (const auto& one : chat.texts) text += one == "-" ? "" : one;
  for (const auto& one : chat.tokens) told_tokens += one == "-" ? "" : one;
  EXPECT_EQ(text, "[H][m][.]Yes!");
  EXPECT_EQ(told_tokens, "<think>\nHm.\n</think>\n\nYes<|endoftext|>!");
  EXPECT_EQ(chat.usage.reasoning_tokens, static_cast<int>(tokens.size()) - 3);
  const Told cut = told(qwen().encode("<think>\nHm"), kChat, {});
  EXPECT_EQ(cut.usage.reasoning_tokens, cut.usage.completion_tokens);
}

TEST(Reply, LooksForNoStopTextInTheFirstTokens) {
  const Told exempt = told(qwen().encode("one two one two"), kRaw, {.stops = {"one"}, .min_tokens = 2});
  EXPECT_THAT(exempt.texts, ElementsAre("one", " two", " "));
  ASSERT_TRUE(exempt.end);
  EXPECT_EQ(exempt.end->stop_text, "one");
}

TEST(Reply, KeepsTheStopTextThatIsIncluded) {
  const Told kept = told(qwen().encode("one two three"), kRaw, {.stops = {"two"}, .include_stop = true});
  EXPECT_THAT(kept.texts, ElementsAre("one", " two"));
  EXPECT_THAT(kept.tokens, ElementsAre("one", " two"));
}

const std::string kCall = "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Oslo\"}}\n</tool_call>",
                  kShown = R"({weather {"city": "Oslo"}})";

Prompt offering(CallForm form) {
  return {.tokens = {1, 2, 3}, .reply = testing::syntax_of(form), .ends = {}, .answers = {}};
}

std::string joined(const std::vector<std::string>& told) {
  std::string all;
  for (const auto& one : told) all += one == "-" ? "" : one;
  return all;
}

TEST(Reply, TellsCallsAndTheirTokens) {
  const std::string text = "<think>\nHm.\n</think>\n\nI look.\n" + kCall + "\n";
  const auto tokens = qwen().encode(text);
  const Told told_all = told(tokens, offering(CallForm::tagged_json), {});
  EXPECT_EQ(joined(told_all.texts), "[H][m][.]I look." + kShown);
  EXPECT_EQ(joined(told_all.tokens), text);
  EXPECT_EQ(told_all.usage.reasoning_tokens, static_cast<int>(qwen().encode("<think>\nHm.\n</think>\n\n").size()));
  EXPECT_EQ(told_all.usage.completion_tokens, static_cast<int>(tokens.size()));
}

TEST(Reply, EndsBehindTheOneCall) {
  Reply reply(qwen(), offering(CallForm::tagged_json), {.answers = 1, .text = {}, .one_call = true});
  ReplyParts parts;
  std::string tokens;
  std::optional<ReplyEnd> end;
  for (const int token : qwen().encode("Look. " + kCall + kCall + "Done")) {
    if (reply.ended()) break;
    auto news = reply.push(token_event(token));
    if (!news) continue;
    append(parts, std::move(news->parts));
    for (const ReplyToken& told : news->tokens) tokens += qwen().piece(told.token);
    end = news->end;
  }
  EXPECT_EQ(testing::shown(parts), "Look." + kShown);
  EXPECT_EQ(tokens, "Look. " + kCall);
  ASSERT_TRUE(end);
  EXPECT_EQ(end->reason, FinishReason::stop);
  EXPECT_EQ(end->stop_text, "");
}

TEST(Reply, AStopTextCutsACallWhichIsTextThen) {
  const Told cut = told(qwen().encode(kCall), offering(CallForm::tagged_json), {.stops = {"Oslo"}});
  EXPECT_EQ(joined(cut.texts), "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"");
  ASSERT_TRUE(cut.end);
  EXPECT_EQ(cut.end->stop_text, "Oslo");
  EXPECT_EQ(cut.usage.reasoning_tokens, 0);
}

// Every border between tokens, and what a step with guesses brings at once, in two vocabularies: one has the tags as
// tokens, the other spells them.
TEST(Reply, IsTheSameHoweverTextIsCutIntoTokens) {
  const std::pair<CallForm, std::string> answers[] = {
      {CallForm::tagged_json, "<think>\nHm 🌧\n</think>\n\nA\n" + kCall + "\n" + kCall + " b"},
      {CallForm::tagged_xml,
       "A <tool_call>\n<function=weather>\n<parameter=city>\n東京 </parameter>x\n</parameter>\n<parameter=days>\n3\n"
       "</parameter>\n</function>\n</tool_call>"},
      {CallForm::deepseek_v3,
       "Hm.</think>A<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>weather\n```json\n{\"city\": "
       "\"é\"}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>"},
      {CallForm::deepseek_v31,
       "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>now<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁call▁begin｜>now<"
       "｜tool▁sep｜>{}"
       "<｜tool▁call▁end｜><｜tool▁calls▁end｜>"},
      {CallForm::dsml,
       "\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"weather\">\n<｜DSML｜parameter name=\"city\" "
       "string=\"true\">Oslo</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜function_calls>"},
      {CallForm::llama_json,
       R"({"name": "weather", "parameters": {"city": "Oslo"}}; {"name": "now", "parameters": {}})"}};
  const Tokenizer deepseek(read_hf_vocabulary(vocabulary_folder("deepseek_v3")));
  for (const Tokenizer* tokenizer : {&qwen(), &deepseek})
    for (const auto& [form, text] : answers)
      for (const bool special : {true, false}) {
        SCOPED_TRACE(text);
        const Prompt prompt = offering(form);
        AnswerStream stream(*tokenizer, prompt, {});
        ReplyParts parts;
        for (const int token : tokenizer->encode(text, special)) append(parts, stream.push(token));
        append(parts, stream.finish());
        EXPECT_EQ(parts, testing::parsed(*prompt.reply, {text}));
      }
}

// A vocabulary may call the tags special, and special tokens give no text.
TEST(Reply, ReadsTagsThatAreSpecialTokens) {
  Vocabulary vocabulary = read_hf_vocabulary(vocabulary_folder("qwen3"));
  for (auto& token : vocabulary.added)
    if (token.content == "<tool_call>" || token.content == "</tool_call>" || token.content == "<think>")
      token.special = true;
  TextModel text{.tokenizer = Tokenizer(vocabulary),
                 .chat_template = ChatTemplate("{% for m in messages %}{{ m.content }}{% endfor %}", "", ""),
                 .reply = {.calls = CallForm::tagged_json}};
  ASSERT_TRUE(text.tokenizer.is_special(*text.tokenizer.find("<tool_call>")));
  const PromptWriter prompts(text, {});
  nlohmann::ordered_json variables = {{"messages", {{{"role", "user"}, {"content", "Hi"}}}}};
  const auto answer = [&] {
    const Prompt prompt = prompts.chat(variables);
    AnswerStream stream(text.tokenizer, prompt, {});
    ReplyParts parts;
    for (const int token : text.tokenizer.encode("<think>Hm.</think>\n" + kCall + "<|im_end|>"))
      append(parts, stream.push(token));
    append(parts, stream.finish());
    return testing::shown(parts);
  };
  EXPECT_EQ(answer(), "[Hm.]{\"name\": \"weather\", \"arguments\": {\"city\": \"Oslo\"}}\n") << "no tools";
  variables["tools"] = {{{"name", "weather"}}};
  EXPECT_EQ(answer(), "[Hm.]" + kShown);
}

TEST(Reply, GathersThePromptsLogprobs) {
  Reply reply(qwen(), kRaw, {});
  Event event = token_event(5);
  event.token.reset();
  event.prompt_logprobs = {{}, {{2, -1, -1}}};
  event.cached_tokens = 2;
  EXPECT_FALSE(reply.push(event));
  event.prompt_logprobs = {{{3, -2, -2}}};
  reply.push(event);
  ASSERT_EQ(reply.prompt_logprobs().size(), 3u);
  EXPECT_THAT(reply.prompt_logprobs()[0], IsEmpty());
  EXPECT_EQ(reply.prompt_logprobs()[2][0].token, 3);
  EXPECT_EQ(reply.usage().cached_tokens, 2);
  EXPECT_EQ(reply.usage().prompt_tokens, 3);
}

}  // namespace
}  // namespace cachalot
