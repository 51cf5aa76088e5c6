#include "daemon/base/task_queue.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <memory>
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
