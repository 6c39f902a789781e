#include "base/thread_pool.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>

#include "base/error.h"

namespace cachalot {

TEST(ThreadPool, EveryWorkerRunsEveryJobOnce) {
  for (const int threads : {1, 2, 3, 9}) {
    ThreadPool pool(threads);
    for (int round = 0; round < 200; ++round) {
      std::vector<int> calls(static_cast<size_t>(threads));
      pool.run([&](int worker) { ++calls[static_cast<size_t>(worker)]; });
      EXPECT_EQ(calls, std::vector<int>(static_cast<size_t>(threads), 1));
    }
  }
}

TEST(ThreadPool, ChunksCoverTheRangeWithoutOverlap) {
  ThreadPool pool(3);
  for (const int64_t count : {0, 1, 6, 7, 8, 1000}) {
    std::vector<std::atomic<int>> seen(static_cast<size_t>(count));
    pool.for_each_chunk(count, 7, [&](int64_t begin, int64_t end) {
      EXPECT_LT(begin, end);
      EXPECT_EQ(begin % 7, 0);
      EXPECT_TRUE(end % 7 == 0 || end == count);
      for (int64_t i = begin; i < end; ++i) ++seen[static_cast<size_t>(i)];
    });
    for (const auto& times : seen) EXPECT_EQ(times, 1);
  }
}

TEST(ThreadPool, WhatAJobThrowsReachesTheCallerWhenAllHaveFinishedAndThePoolWorksOn) {
  for (const int threads : {1, 2, 3, 9}) {
    ThreadPool pool(threads);
    for (int thrower = -1; thrower < threads; ++thrower) {  // -1: all
      std::atomic<int> others{0};
      const auto job = [&](int worker) {
        if (thrower < 0 || worker == thrower) throw std::runtime_error("job " + std::to_string(worker));
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        ++others;
      };
      EXPECT_THROW(pool.run(job), std::runtime_error);
      EXPECT_EQ(others, thrower < 0 ? 0 : threads - 1);
      EXPECT_THROW(pool.for_each_chunk(100, 1, [](int64_t, int64_t) { throw std::bad_alloc(); }), std::bad_alloc);
      std::atomic<int> calls{0};
      pool.run([&](int) { ++calls; });
      EXPECT_EQ(calls, threads);
    }
  }
}

TEST(ThreadPool, WakesWorkersThatHaveGoneToSleep) {
  ThreadPool pool(2);
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));  // far longer than workers spin
    std::atomic<int> calls{0};
    pool.run([&](int) { ++calls; });
    EXPECT_EQ(calls, 2);
  }
}

TEST(ThreadPool, TheDefaultIsAtLeastOneAndAtMostTheUsableProcessors) {
  EXPECT_GE(default_threads(), 1);
  EXPECT_LE(default_threads(), static_cast<int>(std::thread::hardware_concurrency()));
}

TEST(ThreadPool, WhatAJobThrowsReachesTheCallerWhenAllHaveEnded) {
  for (const int threads : {1, 3}) {
    ThreadPool pool(threads);
    for (int thrower = 0; thrower < threads; ++thrower) {
      std::atomic<int> ended{0};
      EXPECT_THROW(pool.run([&](int worker) {
        if (worker == thrower) throw Error("no");
        ++ended;
      }),
                   Error);
      EXPECT_EQ(ended, threads - 1);
    }
    EXPECT_THROW(pool.for_each_chunk(100, 1, [](int64_t, int64_t) { throw std::bad_alloc(); }), std::bad_alloc);
    std::atomic<int> calls{0};
    pool.run([&](int) { ++calls; });
    EXPECT_EQ(calls, threads);
  }
}

#if !defined(CACHALOT_SANITIZED)  // whose own memory is the first not to be had
// Room for some stacks of 8 MiB, not for all.
TEST(ThreadPoolDeathTest, ThreadsThatCannotStartAreAnErrorAndNoHang) {
  const auto starve = [] {
    const rlimit memory = {rlim_t{1} << 30, rlim_t{1} << 30}, stack = {rlim_t{8} << 20, RLIM_INFINITY};
    if (setrlimit(RLIMIT_STACK, &stack) != 0 || setrlimit(RLIMIT_AS, &memory) != 0) _exit(9);
    try {
      const ThreadPool pool(4096);
    } catch (const Error& error) {
      std::fputs(error.what(), stderr);
      _exit(3);
    }
    _exit(0);
  };
  EXPECT_EXIT(starve(), testing::ExitedWithCode(3), "only [0-9]+ of 4096 threads can be started.*--threads");
}
#endif

}  // namespace cachalot
