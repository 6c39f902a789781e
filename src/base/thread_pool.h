// Worker threads that stay hot inside a step. The calling thread is worker 0; the others spin for at most 100 µs
// after their last job and then sleep (a hand-over costs 0.1 µs while spinning and 60 µs when asleep). With more
// threads than usable cores nobody spins. One caller at a time. What a job throws reaches the caller, one exception
// of those that were thrown, once all workers have finished.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <thread>
#include <vector>

namespace cachalot {

class ThreadPool {
 public:
  // Throws Error when the system does not let so many threads start.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls job(worker) once on every worker, 0 ≤ worker < threads(), and returns when all have finished.
  void run(const std::function<void(int worker)>& job);

  // Calls job(begin, end) over [0, count) in pieces of `grain` or a few times that, the larger ones first; idle
  // workers take the next piece, so pieces may cost unequal time. Which worker runs a piece is not fixed: jobs must
  // write disjoint outputs.
  void for_each_chunk(int64_t count, int64_t grain, const std::function<void(int64_t begin, int64_t end)>& job);
  // The same with the worker that runs the piece.
  void for_each_chunk(int64_t count, int64_t grain,
                      const std::function<void(int worker, int64_t begin, int64_t end)>& job);

 private:
  void start(int threads);
  void stop();
  void work(int worker);
  void call(int worker) noexcept;  // the job; keeps what it throws

  std::vector<std::thread> workers_;
  const std::function<void(int)>* job_ = nullptr;
  std::exception_ptr thrown_;            // by the job ...
  std::atomic<bool> has_thrown_{false};  // ... of the worker that came first
  std::atomic<uint32_t> generation_{0};
  std::atomic<int> running_{0};
  std::atomic<bool> stop_{false};
  bool spin_ = true;
};

// Physical cores, bounded by the process's affinity mask and by its control groups' quota (rounded up); at least 1.
int default_threads();

}  // namespace cachalot
