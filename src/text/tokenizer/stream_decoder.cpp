#include "text/tokenizer/stream_decoder.h"

#include <algorithm>

#include "text/unicode.h"

namespace cachalot {

bool StreamDecoder::skips(int id) const {
  return skip_special_ && tokenizer_.is_special(id) && std::find(kept_.begin(), kept_.end(), id) == kept_.end();
}

std::string StreamDecoder::push(int id) {
  if (skips(id)) return "";
  pending_ += tokenizer_.bytes(id);
  size_t done = 0;
  while (done < pending_.size()) {
    const Utf8Step step = utf8_step(pending_, done);
    if (step.kind == Utf8::incomplete) break;
    done += step.bytes;
  }
  std::string text = repaired_utf8(std::string_view(pending_).substr(0, done));
  pending_.erase(0, done);
  return text;
}

std::string StreamDecoder::flush() {
  std::string text = repaired_utf8(pending_);
  pending_.clear();
  return text;
}

}  // namespace cachalot
