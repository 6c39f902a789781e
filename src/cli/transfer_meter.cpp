#include "cli/transfer_meter.h"

#include <fmt/format.h>

#include "base/log.h"
#include "base/progress.h"
#include "cli/terminal.h"

namespace cachalot {

static constexpr std::chrono::milliseconds kRedraw{200};
static constexpr std::chrono::seconds kLine{10}, kWindow{5};

std::string duration_text(int64_t seconds) {
  const int64_t hours = seconds / 3600, minutes = seconds / 60 % 60, rest = seconds % 60;
  return hours > 0 ? fmt::format("{}:{:02}:{:02}", hours, minutes, rest) : fmt::format("{}:{:02}", minutes, rest);
}

TransferMeter::TransferMeter()
    : terminal_(is_terminal(stderr)), next_(Clock::now() + (terminal_ ? Clock::duration(kRedraw) : kLine)) {}

std::string TransferMeter::text(int64_t done, int64_t total) const {
  std::string text = fmt::format("{} {} of {}", progress_bar(done, total), bytes_text(done), bytes_text(total));
  const auto& [since, before] = heard_.front();
  const double seconds = std::chrono::duration<double>(heard_.back().first - since).count();
  const double rate = seconds > 0 ? static_cast<double>(done - before) / seconds : 0;
  if (rate < 1) return text;
  return text + fmt::format(", {}/s, {} left", bytes_text(static_cast<int64_t>(rate)),
                            duration_text(static_cast<int64_t>(static_cast<double>(total - done) / rate)));
}

void TransferMeter::update(int64_t done, int64_t total) {
  const auto now = Clock::now();
  if (!heard_.empty() && done < heard_.back().second) heard_.clear();  // some of it is fetched again
  heard_.emplace_back(now, done);
  while (heard_.size() > 2 && now - heard_[1].first > kWindow) heard_.pop_front();
  if (now < next_) return;
  next_ = now + (terminal_ ? Clock::duration(kRedraw) : kLine);
  say(terminal_ ? fmt::format("\r{}\033[K", text(done, total)) : text(done, total) + "\n");
  drawn_ = terminal_;
}

void TransferMeter::finish() {
  if (drawn_) say("\r\033[K");
  drawn_ = false;
}

}  // namespace cachalot
