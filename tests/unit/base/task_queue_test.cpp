#include "daemon/base/task_queue.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <set>
#include <thread>
#include <vector>

namespace goheapd {
namespace {

TEST(Mailbox, RunsTasksInOrderOnTheOwner) {
  Mailbox mailbox;
  std::vector<int> order;
  std::thread other([&] {
    for (int i = 0; i < 100; ++i) mailbox.post([&order, i] { order.push_back(i); });
  });
  other.join();
  pollfd wake{mailbox.wake_fd(), POLLIN, 0};
  EXPECT_EQ(::poll(&wake, 1, 0), 1);
  EXPECT_TRUE(order.empty());
  mailbox.run_pending();
  ASSERT_EQ(order.size(), 100u);
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
  EXPECT_EQ(::poll(&wake, 1, 0), 0);
}

TEST(Mailbox, WhatDoesNotFitIntoItsTurnComesNextInOrder) {
  Mailbox mailbox;
  std::vector<int> order;
  for (int i = 0; i < 3; ++i) {
    mailbox.post([&, i] {
      order.push_back(i);
      mailbox.post([&order, i] { order.push_back(10 + i); });
    });
  }
  pollfd wake{mailbox.wake_fd(), POLLIN, 0};
  for (size_t turn = 1; turn <= 6; ++turn) {
    EXPECT_EQ(::poll(&wake, 1, 0), 1);
    mailbox.run_pending(std::chrono::nanoseconds(0));  // at least one, so that no task waits for ever
    EXPECT_EQ(order.size(), turn);
  }
  EXPECT_EQ(::poll(&wake, 1, 0), 0);
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 10, 11, 12}));
}

TEST(Mailbox, ClosingBreaksThePromisesOfDroppedTasks) {
  Mailbox mailbox;
  auto promise = std::make_shared<std::promise<int>>();
  auto future = promise->get_future();
  EXPECT_TRUE(mailbox.post([promise] { promise->set_value(1); }));
  promise.reset();
  mailbox.close();
  EXPECT_THROW(future.get(), std::future_error);
  EXPECT_FALSE(mailbox.post([] {}));
}

TEST(WorkerPool, RunsEverythingThatWasPostedWhileItLives) {
  std::atomic<int> done = 0;
  std::promise<void> last;
  WorkerPool pool(3);
  for (int i = 0; i < 1000; ++i) {
    pool.post([&] {
      if (++done == 1000) last.set_value();
    });
  }
  last.get_future().wait();
  EXPECT_EQ(done, 1000);
}

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
  std::atomic<int> done = 0;
  std::promise<void> started;
  std::promise<void> go_on;
  {
    WorkerPool pool(1);
    pool.post([&] {
      started.set_value();
      go_on.get_future().wait();
      ++done;
    });
    started.get_future().wait();
    for (int i = 0; i < 10; ++i) pool.post([&] { ++done; });
    go_on.set_value();
  }
  EXPECT_GE(done, 1);
  EXPECT_LE(done, 11);
}

}  // namespace
}  // namespace goheapd
