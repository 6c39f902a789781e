#include "server/responses/store.h"

namespace cachalot::responses {

size_t KeptResponse::bytes() const {
  constexpr size_t kOfResponse = 512, kOfItem = 256;  // what containers and ids take
  size_t all = kOfResponse + id.size() + caller.size() + previous.size() + json.size();
  for (const auto* items : {&input, &output})
    for (const KeptItem& item : *items) all += kOfItem + item.id.size() + item.json.size();
  return all;
}

bool ResponseStore::keep(KeptResponse response) {
  const size_t bytes = response.bytes();
  if (bytes > options_.bytes) return false;
  const std::lock_guard lock(mutex_);
  const auto kept = std::make_shared<const KeptResponse>(std::move(response));
  entries_.push_front({kept, bytes, options_.now()});
  by_id_[kept->id] = entries_.begin();
  for (const KeptItem& item : kept->output) by_item_[item.id] = kept->id;
  bytes_ += bytes;
  drop_old();
  return true;
}

std::shared_ptr<const KeptResponse> ResponseStore::find(std::string_view caller, std::string_view id) {
  const std::lock_guard lock(mutex_);
  return use(caller, std::string(id));
}

std::shared_ptr<const KeptResponse> ResponseStore::with_item(std::string_view caller, std::string_view item) {
  const std::lock_guard lock(mutex_);
  const auto found = by_item_.find(std::string(item));
  return found == by_item_.end() ? nullptr : use(caller, std::string(found->second));
}

bool ResponseStore::remove(std::string_view caller, std::string_view id) {
  const std::lock_guard lock(mutex_);
  if (!use(caller, std::string(id))) return false;
  drop(entries_.begin());
  return true;
}

size_t ResponseStore::size() const {
  const std::lock_guard lock(mutex_);
  return entries_.size();
}

size_t ResponseStore::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

std::shared_ptr<const KeptResponse> ResponseStore::use(std::string_view caller, const std::string& id) {
  drop_old();
  const auto found = by_id_.find(id);
  if (found == by_id_.end() || found->second->response->caller != caller) return nullptr;
  entries_.splice(entries_.begin(), entries_, found->second);
  entries_.front().used = options_.now();
  return entries_.front().response;
}

void ResponseStore::drop_old() {
  const auto now = options_.now();
  while (!entries_.empty() && (bytes_ > options_.bytes || now - entries_.back().used >= options_.lifetime))
    drop(std::prev(entries_.end()));
}

void ResponseStore::drop(Entries::iterator entry) {
  for (const KeptItem& item : entry->response->output) by_item_.erase(item.id);
  by_id_.erase(entry->response->id);
  bytes_ -= entry->bytes;
  entries_.erase(entry);
}

}  // namespace cachalot::responses
