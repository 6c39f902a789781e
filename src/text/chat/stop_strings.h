// Ends an answer where one of some texts appears in it, also when the text is spread over several tokens: what might
// be the beginning of a stop text is held back until it is known.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace cachalot {

class StopStrings {
 public:
  // Empty texts in `stops` are ignored.
  explicit StopStrings(std::vector<std::string> stops);

  // The next piece of the answer -> what may be shown now: never any part of a stop text. Once one has been found,
  // nothing.
  std::string push(std::string_view piece);
  // The end of the answer -> what was still held back.
  std::string flush();
  // Whether a stop text has appeared. Of several, the one that begins first counts.
  bool found() const { return !found_.empty(); }
  // Which one. Of those that begin at the same place, the shortest.
  const std::string& found_text() const { return found_; }

 private:
  std::string end_at(size_t first);

  std::vector<std::string> stops_;
  std::string held_;
  std::string found_;  // "" while there is none
};

}  // namespace cachalot
