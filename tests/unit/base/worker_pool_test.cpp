#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <set>
#include <thread>
#include <vector>

#include "daemon/base/task_queue.h"

namespace goheapd {
namespace {

TEST(WorkerPool, StartsThreadsWhileAllAreBusyUpToItsLimit) {
  std::promise<void> release;
  const std::shared_future<void> released = release.get_future().share();
  std::atomic<int> running{0};
  WorkerPool pool(3);
  for (int i = 0; i < 5; ++i) {
    pool.post([&running, released] {
      ++running;
      released.wait();
      --running;
    });
  }
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (running < 3 && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(running, 3);
  release.set_value();
}

TEST(WorkerPool, OneThreadServesTasksThatDoNotOverlap) {
  WorkerPool pool(8);
  std::set<std::thread::id> threads;
  for (int i = 0; i < 20; ++i) {
    std::promise<std::thread::id> ran;
    pool.post([&ran] { ran.set_value(std::this_thread::get_id()); });
    threads.insert(ran.get_future().get());
    std::this_thread::sleep_for(std::chrono::milliseconds(1));  // until the thread is idle again
  }
  EXPECT_LT(threads.size(), 8u);
}

TEST(WorkerPool, RunsOnOneThreadInTheOrderPosted) {
  std::vector<int> order;
  std::promise<void> done;
  WorkerPool pool(1);
  for (int i = 0; i < 100; ++i) pool.post([&order, i] { order.push_back(i); });
  pool.post([&done] { done.set_value(); });
  done.get_future().wait();
  ASSERT_EQ(order.size(), 100u);
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
}

TEST(WorkerPool, DestructionFinishesWhatRunsAndDropsTheRest) {
  std::promise<void> started;
  std::atomic<int> finished{0};
  const auto held = std::make_shared<int>(0);
  {
    WorkerPool pool(1);
    pool.post([&] {
      started.set_value();
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      ++finished;
    });
    started.get_future().wait();
    pool.post([&finished, held] { ++finished; });
  }
  EXPECT_EQ(finished, 1);
  EXPECT_EQ(held.use_count(), 1);
}

}  // namespace
}  // namespace goheapd
