#include "base/loopback.h"

#include <gtest/gtest.h>

namespace cachalot {

TEST(Loopback, IsThisMachineAndNoNameThatLooksLikeIt) {
  for (const char* host : {"localhost", "127.0.0.1", "127.1.2.3", "::1", "[::1]"})
    EXPECT_TRUE(is_loopback(host)) << host;
  for (const char* host : {"", "0.0.0.0", "::", "10.0.0.1", "127.example.org", "127.0.0.1.example.org",
                           "localhost.example.org", "[::1]x"})
    EXPECT_FALSE(is_loopback(host)) << host;
}

}  // namespace cachalot
