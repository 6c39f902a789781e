#include "base/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>

#include "base/log.h"

namespace cachalot {

static constexpr int kBarWidth = 30;
static constexpr std::chrono::milliseconds kPatience{1000}, kRedraw{100};

std::string progress_bar(int64_t done, int64_t total) {
  const double share = total > 0 ? std::clamp(static_cast<double>(done) / static_cast<double>(total), 0.0, 1.0) : 0;
  const auto filled = static_cast<size_t>(share * kBarWidth);
  return fmt::format("[{}{}] {:.0f} %", std::string(filled, '#'), std::string(kBarWidth - filled, '-'),
                     std::floor(100 * share));
}

Progress::Progress(std::string label, bool enabled)
    : label_(std::move(label)), enabled_(enabled && isatty(STDERR_FILENO)), next_draw_(Clock::now() + kPatience) {}

void Progress::update(int64_t done, int64_t total) {
  if (!enabled_) return;
  const auto now = Clock::now();
  if (now < next_draw_) return;
  next_draw_ = now + kRedraw;
  say(fmt::format("\r{} {} ", label_, progress_bar(done, total)));
  drawn_ = true;
}

void Progress::finish() {
  if (drawn_) say("\r\033[K");
  drawn_ = enabled_ = false;
}

}  // namespace cachalot
