#include "base/error.h"

#include <gtest/gtest.h>

namespace cachalot {

TEST(Error, SaysWhatWhereWhyAndWhatToDo) {
  const Error e = Error("tensor 'x' has shape [2], but [3] was expected")
                      .in("model.safetensors")
                      .because("config.json: hidden_size = 3")
                      .hint("compare them with `cachalot inspect`");
  EXPECT_STREQ(e.what(),
               "in model.safetensors: tensor 'x' has shape [2], but [3] was expected\n"
               "  because: config.json: hidden_size = 3\n"
               "  hint: compare them with `cachalot inspect`");
}

TEST(Error, AWiderPlaceGoesInFront) {
  EXPECT_STREQ(Error("broken").in("config.json").in("folder").what(), "in folder: config.json: broken");
}

TEST(Error, WithoutAPlaceIsJustTheMessage) { EXPECT_STREQ(Error("broken").what(), "broken"); }

}  // namespace cachalot
