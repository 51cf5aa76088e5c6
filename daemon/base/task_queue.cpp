#include "daemon/base/task_queue.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <system_error>
#include <utility>

namespace goheapd {

Mailbox::Mailbox() : wake_fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (wake_fd_ < 0) throw std::system_error(errno, std::generic_category(), "cannot create an eventfd");
}

Mailbox::~Mailbox() {
  close();
  ::close(wake_fd_);
}

bool Mailbox::post(Task task) {
  {
    std::lock_guard lock(mutex_);
    if (closed_) return false;
    tasks_.push_back(std::move(task));
  }
  const uint64_t one = 1;
  // A full eventfd counter means that the owner is already due to wake.
  [[maybe_unused]] auto written = ::write(wake_fd_, &one, sizeof one);
  return true;
}

void Mailbox::run_pending(std::chrono::nanoseconds limit) {
  uint64_t count = 0;
  [[maybe_unused]] auto got = ::read(wake_fd_, &count, sizeof count);
  std::deque<Task> tasks;
  {
    std::lock_guard lock(mutex_);
    tasks.swap(tasks_);
  }
  const auto begin = std::chrono::steady_clock::now();
  while (!tasks.empty()) {
    const Task task = std::move(tasks.front());
    tasks.pop_front();
    task();
    if (std::chrono::steady_clock::now() - begin >= limit) break;
  }
  if (tasks.empty()) return;
  std::lock_guard lock(mutex_);
  if (closed_) return;
  std::move(tasks_.begin(), tasks_.end(), std::back_inserter(tasks));
  tasks_.swap(tasks);
  const uint64_t one = 1;
  [[maybe_unused]] auto written = ::write(wake_fd_, &one, sizeof one);
}

void Mailbox::close() {
  std::deque<Task> dropped;
  std::lock_guard lock(mutex_);
  closed_ = true;
  dropped.swap(tasks_);
}

WorkerPool::WorkerPool(unsigned max_threads) : max_threads_(max_threads) { start_thread(); }

WorkerPool::~WorkerPool() {
  std::deque<Task> dropped;
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    dropped.swap(tasks_);
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void WorkerPool::post(Task task) {
  {
    std::lock_guard lock(mutex_);
    if (stopping_) return;
    tasks_.push_back(std::move(task));
    if (tasks_.size() > idle_ && threads_.size() < max_threads_) {
      try {
        start_thread();
      } catch (const std::system_error&) {
        // No more threads to be had: the task waits for one that is there.
      }
    }
  }
  wake_.notify_one();
}

void WorkerPool::start_thread() {
  threads_.emplace_back([this] { run(); });
  ++idle_;
}

void WorkerPool::run() {
  for (bool first = true;; first = false) {
    Task task;
    {
      std::unique_lock lock(mutex_);
      if (!first) ++idle_;
      wake_.wait(lock, [this] { return stopping_ || !tasks_.empty(); });
      if (stopping_) return;
      --idle_;
      task = std::move(tasks_.front());
      tasks_.pop_front();
    }
    task();
  }
}

}  // namespace goheapd
