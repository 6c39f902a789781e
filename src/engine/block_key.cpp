#include "engine/block_key.h"

#include <openssl/evp.h>

#include <new>

#include "base/check.h"

namespace cachalot {

static EVP_MD_CTX* context_of(void* context) { return static_cast<EVP_MD_CTX*>(context); }

void KeyMaker::Deleter::operator()(void* context) const { EVP_MD_CTX_free(context_of(context)); }

KeyMaker::KeyMaker() : context_(EVP_MD_CTX_new()) {
  if (!context_ || EVP_DigestInit_ex2(context_of(context_.get()), EVP_sha256(), nullptr) != 1) throw std::bad_alloc();
}

// The same digest again costs neither a look-up nor memory.
void KeyMaker::begin() { CHECK(EVP_DigestInit_ex2(context_of(context_.get()), nullptr, nullptr) == 1); }

void KeyMaker::add(std::span<const std::byte> bytes) {
  CHECK(EVP_DigestUpdate(context_of(context_.get()), bytes.data(), bytes.size()) == 1);
}

BlockKey KeyMaker::end() {
  BlockKey key;
  auto bytes = std::as_writable_bytes(std::span(key.words));
  CHECK(EVP_DigestFinal_ex(context_of(context_.get()), reinterpret_cast<unsigned char*>(bytes.data()), nullptr) == 1);
  return key;
}

BlockKey KeyMaker::root(std::string_view facts) {
  begin();
  add(std::as_bytes(std::span(facts)));
  return end();
}

BlockKey KeyMaker::next(const BlockKey& before, std::span<const RowName> rows) {
  begin();
  add(std::as_bytes(std::span(before.words)));
  add(std::as_bytes(rows));
  return end();
}

}  // namespace cachalot
