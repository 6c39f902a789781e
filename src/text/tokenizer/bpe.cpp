#include "text/tokenizer/bpe.h"

#include <algorithm>
#include <climits>
#include <functional>
#include <queue>

namespace cachalot {
namespace {

constexpr int kNoMerge = INT_MAX;
constexpr size_t kShort = 48;  // bytes; up to here a scan over all pairs beats a heap

uint64_t pair_key(int left, int right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

uint64_t mix(uint64_t x) {
  x ^= x >> 32;
  x *= 0xD6E8FEB86659FD93u;
  x ^= x >> 32;
  return x;
}

}  // namespace

Bpe::Bpe(const std::array<int, 256>& id_of_byte, std::span<const Merge> merges) : id_of_byte_(id_of_byte) {
  size_t size = 16;
  while (size < merges.size() * 2) size *= 2;
  mask_ = size - 1;
  slots_.assign(size, Slot{0, kNoMerge, -1});
  for (const Merge& merge : merges) {
    const uint64_t pair = pair_key(merge.left, merge.right);
    uint64_t at = mix(pair) & mask_;
    while (slots_[at].rank != kNoMerge && slots_[at].pair != pair) at = (at + 1) & mask_;
    slots_[at] = {pair, merge.rank, merge.result};
  }
}

const Bpe::Slot& Bpe::find(int left, int right) const {
  const uint64_t pair = pair_key(left, right);
  uint64_t at = mix(pair) & mask_;
  while (slots_[at].rank != kNoMerge && slots_[at].pair != pair) at = (at + 1) & mask_;
  return slots_[at];
}

void Bpe::encode(std::string_view piece, std::vector<int>& ids) const {
  if (piece.size() <= kShort) {
    encode_short(piece, ids);
  } else {
    encode_long(piece, ids);
  }
}

void Bpe::encode_short(std::string_view piece, std::vector<int>& ids) const {
  int token[kShort + 1], rank[kShort + 1], result[kShort + 1];
  int count = 0;
  for (const char byte : piece) {
    if (const int id = first_id(byte); id >= 0) token[count++] = id;
  }
  // rank[i] and result[i] belong to the pair (i, i + 1).
  const auto look_up = [&](int i) {
    const Slot& slot = find(token[i], token[i + 1]);
    rank[i] = slot.rank;
    result[i] = slot.result;
  };
  for (int i = 0; i + 1 < count; ++i) look_up(i);
  while (count > 1) {
    const int best = static_cast<int>(std::min_element(rank, rank + count - 1) - rank);
    if (rank[best] == kNoMerge) break;
    token[best] = result[best];
    std::copy(token + best + 2, token + count, token + best + 1);
    --count;
    if (best + 1 < count) {
      std::copy(rank + best + 2, rank + count, rank + best + 1);
      std::copy(result + best + 2, result + count, result + best + 1);
      look_up(best);
    }
    if (best > 0) look_up(best - 1);
  }
  ids.insert(ids.end(), token, token + count);
}

void Bpe::encode_long(std::string_view piece, std::vector<int>& ids) const {
  struct Symbol {
    int token, rank, result;  // rank and result of the pair with the next symbol
    int previous, next;       // -1 at the ends
  };
  std::vector<Symbol> symbols;
  symbols.reserve(piece.size());
  for (const char byte : piece) {
    const int at = static_cast<int>(symbols.size());
    if (const int id = first_id(byte); id >= 0) symbols.push_back({id, kNoMerge, -1, at - 1, at + 1});
  }
  if (symbols.empty()) return;
  symbols.back().next = -1;
  const int count = static_cast<int>(symbols.size());
  // Candidates by rank, then place. Outdated ones stay in the queue and are known by a rank that is no longer theirs.
  using Candidate = uint64_t;
  std::vector<Candidate> candidates;
  candidates.reserve(piece.size());
  const auto look_up = [&](int i) {
    Symbol& s = symbols[i];
    if (s.next < 0) {
      s.rank = kNoMerge;
      return false;
    }
    const Slot& slot = find(s.token, symbols[s.next].token);
    s.rank = slot.rank;
    s.result = slot.result;
    return s.rank != kNoMerge;
  };
  const auto candidate = [&](int i) { return pair_key(symbols[i].rank, i); };
  for (int i = 0; i < count; ++i) {
    if (look_up(i)) candidates.push_back(candidate(i));
  }
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue({}, std::move(candidates));
  while (!queue.empty()) {
    const int rank = static_cast<int>(queue.top() >> 32), at = static_cast<int>(queue.top() & 0xFFFFFFFFu);
    queue.pop();
    Symbol& left = symbols[at];
    if (left.rank != rank) continue;
    Symbol& right = symbols[left.next];
    left.token = left.result;
    left.next = right.next;
    right.rank = kNoMerge;  // gone
    if (left.next >= 0) symbols[left.next].previous = at;
    if (look_up(at)) queue.push(candidate(at));
    if (left.previous >= 0 && look_up(left.previous)) queue.push(candidate(left.previous));
  }
  for (int i = 0; i >= 0; i = symbols[i].next) ids.push_back(symbols[i].token);
}

}  // namespace cachalot
