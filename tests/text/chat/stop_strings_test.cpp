#include "text/chat/stop_strings.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace cachalot {
namespace {

// Pushes `text` in pieces that end at the given places.
std::string shown(StopStrings& stops, std::string_view text, const std::vector<size_t>& cuts) {
  std::string out;
  size_t begin = 0;
  for (const size_t cut : cuts) {
    out += stops.push(text.substr(begin, cut - begin));
    begin = cut;
  }
  out += stops.push(text.substr(begin));
  return out + stops.flush();
}

TEST(StopStrings, FindATextThatIsSpreadOverSeveralPieces) {
  StopStrings stops({"\n\nUser:"});
  EXPECT_EQ(stops.push("Fine.\n"), "Fine.");
  EXPECT_EQ(stops.push("\nUs"), "");
  EXPECT_EQ(stops.push("er: and"), "");
  EXPECT_TRUE(stops.found());
  EXPECT_EQ(stops.push("more"), "");
  EXPECT_EQ(stops.flush(), "");
}

TEST(StopStrings, GiveBackWhatOnlyLookedLikeTheBeginningOfAStop) {
  StopStrings stops({"END"});
  EXPECT_EQ(stops.push("an EN"), "an ");
  EXPECT_EQ(stops.push("GINE E"), "ENGINE ");
  EXPECT_EQ(stops.flush(), "E");
  EXPECT_FALSE(stops.found());
}

TEST(StopStrings, PassEverythingThroughAtOnceWithoutStops) {
  StopStrings stops({""});
  EXPECT_EQ(stops.push("anything"), "anything");
  EXPECT_FALSE(stops.found());
}

TEST(StopStrings, TakeTheOneThatBeginsFirstEvenIfAnotherIsCompleteEarlier) {
  StopStrings stops({"abcd", "c"});
  EXPECT_EQ(stops.push("xabc"), "x");
  EXPECT_FALSE(stops.found());
  EXPECT_EQ(stops.push("d"), "");
  EXPECT_TRUE(stops.found());

  StopStrings ended({"abcd", "c"});  // the longer one never comes
  EXPECT_EQ(ended.push("xabc"), "x");
  EXPECT_EQ(ended.flush(), "ab");
  EXPECT_TRUE(ended.found());
}

TEST(StopStrings, ShowTheSameTextWhereverThePiecesEnd) {
  Random random(7);
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (int i = 0; i < 14; ++i) text += "abc"[random.next() % 3];
    const std::vector<std::string> list = {"abca", "cc", "bab"};
    size_t first = std::string::npos;
    for (const auto& stop : list) first = std::min(first, text.find(stop));
    std::vector<size_t> cuts;
    for (size_t at = 1; at < text.size(); ++at)
      if (random.next() % 3 == 0) cuts.push_back(at);

    StopStrings stops(list);
    EXPECT_EQ(shown(stops, text, cuts), text.substr(0, first)) << text;
    EXPECT_EQ(stops.found(), first != std::string::npos);
    EXPECT_TRUE(!stops.found() || text.substr(first).starts_with(stops.found_text()));
  }
}

TEST(StopStrings, TellTheShortestOfThoseThatBeginAtOnePlace) {
  for (const bool at_once : {true, false}) {
    StopStrings stops({"abc", "ab"});
    EXPECT_EQ(stops.push(at_once ? "xabc" : "xab"), "x");
    EXPECT_EQ(stops.found_text(), "ab");
  }
}

}  // namespace
}  // namespace cachalot
