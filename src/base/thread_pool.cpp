#include "base/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <exception>
#include <fstream>
#include <set>
#include <string>
#include <system_error>
#include <utility>

#include "base/cgroup.h"
#include "base/check.h"
#include "base/ending.h"
#include "base/error.h"

namespace cachalot {

static constexpr int kSpinsBeforeYielding = 2000;  // some 20 µs

static int usable_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  return sched_getaffinity(0, sizeof set, &set) == 0 ? std::max(1, CPU_COUNT(&set)) : 1;
}

static void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

ThreadPool::ThreadPool(int threads) : spin_(threads <= usable_cpus()) {
  CHECK(threads >= 1);
  try {
    start(threads);
  } catch (...) {
    stop();
    throw;
  }
}

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::start(int threads) {
  workers_.reserve(static_cast<size_t>(threads - 1));
  const SignalsHeld inherited;  // signals are for the caller's thread
  for (int worker = 1; worker < threads; ++worker) {
    try {
      workers_.emplace_back([this, worker] { work(worker); });
    } catch (const std::system_error& error) {
      throw Error("only " + std::to_string(worker) + " of " + std::to_string(threads) + " threads can be started")
          .because(error.code().message())
          .hint("lower --threads, or raise the limit on processes or memory (ulimit -u, ulimit -v)");
    }
  }
}

void ThreadPool::stop() {
  stop_ = true;
  ++generation_;
  generation_.notify_all();
  for (auto& worker : workers_) worker.join();
}

void ThreadPool::run(const std::function<void(int)>& job) {
  if (workers_.empty()) return job(0);
  job_ = &job;
  running_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  call(0);
  int spins = 0;
  for (int left; (left = running_.load(std::memory_order_acquire)) != 0; ++spins) {
    if (!spin_)
      running_.wait(left, std::memory_order_acquire);
    else if (spins < kSpinsBeforeYielding)
      pause();
    else
      std::this_thread::yield();  // a busy machine may have taken the worker's core
  }
  if (has_thrown_.load(std::memory_order_relaxed)) {
    has_thrown_.store(false, std::memory_order_relaxed);
    std::rethrow_exception(std::exchange(thrown_, nullptr));
  }
}

void ThreadPool::call(int worker) noexcept {
  try {
    (*job_)(worker);
  } catch (...) {
    if (!has_thrown_.exchange(true, std::memory_order_relaxed)) thrown_ = std::current_exception();
  }
}

void ThreadPool::work(int worker) {
  using Clock = std::chrono::steady_clock;
  for (uint32_t seen = 0;; ++seen) {
    if (spin_) {
      const auto deadline = Clock::now() + std::chrono::microseconds(100);
      for (int i = 0; generation_.load(std::memory_order_acquire) == seen; ++i) {
        pause();
        if (i % 64 == 63 && Clock::now() > deadline) break;
      }
    }
    while (generation_.load(std::memory_order_acquire) == seen) generation_.wait(seen, std::memory_order_acquire);
    if (stop_) return;
    call(worker);
    if (running_.fetch_sub(1, std::memory_order_acq_rel) == 1 && !spin_) running_.notify_one();
  }
}

void ThreadPool::for_each_chunk(int64_t count, int64_t grain, const std::function<void(int64_t, int64_t)>& job) {
  for_each_chunk(count, grain, [&job](int, int64_t begin, int64_t end) { job(begin, end); });
}

void ThreadPool::for_each_chunk(int64_t count, int64_t grain, const std::function<void(int, int64_t, int64_t)>& job) {
  CHECK(grain >= 1);
  if (count <= grain || workers_.empty()) {
    if (count > 0) job(0, 0, count);
    return;
  }
  // Large pieces first: neighbours share what they read ahead, and a few small ones even the ends out.
  constexpr int64_t kShares = 3;
  const int64_t shares = kShares * threads();
  std::atomic<int64_t> next{0};
  run([&](int worker) {
    for (int64_t begin = next.load(std::memory_order_relaxed); begin < count;) {
      const int64_t pieces = std::max<int64_t>(1, (count - begin) / shares / grain);
      const int64_t end = std::min(begin + pieces * grain, count);
      if (!next.compare_exchange_weak(begin, end, std::memory_order_relaxed)) continue;
      job(worker, begin, end);
      begin = next.load(std::memory_order_relaxed);
    }
  });
}

// Hardware threads that share a core count once.
static int physical_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  std::set<std::string> cores;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &set)) continue;
    std::string siblings;
    std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list");
    cores.insert(std::getline(file, siblings) ? siblings : std::to_string(cpu));
  }
  return std::max<int>(1, static_cast<int>(cores.size()));
}

int default_threads() {
  const double quota = std::ceil(cgroup_cpus());
  return static_cast<int>(std::max(1.0, std::min<double>(physical_cores(), quota)));
}

}  // namespace cachalot
