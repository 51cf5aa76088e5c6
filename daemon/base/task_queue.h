#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace goheapd {

using Task = std::function<void()>;

// A mailbox: any thread puts tasks in, the owner runs them when it likes. The owner is woken through an
// eventfd that it can poll together with its other sources.
class Mailbox {
 public:
  Mailbox();
  ~Mailbox();
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  // False if closed: the task will never run and is dropped here.
  bool post(Task task);
  // Runs what is there until all is done or `limit` has passed; what is left wakes the owner again. Owner only.
  void run_pending(std::chrono::nanoseconds limit = std::chrono::nanoseconds::max());
  // Refuses further tasks and drops those not yet run (their promises break, so that nobody waits for ever).
  void close();
  int wake_fd() const { return wake_fd_; }

 private:
  std::mutex mutex_;
  std::deque<Task> tasks_;
  bool closed_ = false;
  int wake_fd_ = -1;
};

// Threads that run tasks in the order they came. One is there from the start, others (at most max_threads) are
// started when a task finds none idle, by the thread that posts it, whose signal mask they inherit.
// Destruction finishes the running tasks and drops the rest.
class WorkerPool {
 public:
  explicit WorkerPool(unsigned max_threads);
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  void post(Task task);

 private:
  void run();
  void start_thread();

  const size_t max_threads_;
  std::mutex mutex_;  // guards the rest
  std::condition_variable wake_;
  std::deque<Task> tasks_;
  size_t idle_ = 0;  // threads that wait, or are about to, for a task
  bool stopping_ = false;
  std::vector<std::thread> threads_;  // last: they use all of the above
};

}  // namespace goheapd
