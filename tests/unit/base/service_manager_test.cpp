#include "daemon/base/service_manager.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string>

#include "daemon/base/unique_fd.h"

namespace goheapd {
namespace {

constexpr uint64_t kSecond = 1'000'000'000;

// The supervisor's side: a datagram socket, and the variables that name it.
class ServiceManagerTest : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}) ::unsetenv(name);
  }
  void TearDown() override {
    SetUp();
    if (!path_.empty()) std::filesystem::remove_all(path_.parent_path());
  }

  void listen_at_path() {
    std::string pattern = testing::TempDir() + "notify-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    path_ = pattern + "/socket";
    listen(path_.string(), path_.string());
  }
  void listen_abstract() {
    const std::string name = "goheapd-test-" + std::to_string(::getpid());
    listen(std::string(1, '\0') + name, "@" + name);
  }
  void listen(const std::string& address_name, const std::string& variable) {
    socket_ = UniqueFd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ASSERT_TRUE(socket_);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, address_name.data(), address_name.size());
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address_name.size());
    ASSERT_EQ(::bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), size), 0) << strerror(errno);
    ::setenv("NOTIFY_SOCKET", variable.c_str(), 1);
  }
  // The next message that has arrived, if any.
  std::optional<std::string> receive() {
    std::array<char, 512> buffer{};
    const ssize_t size = ::recv(socket_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (size < 0) return std::nullopt;
    return std::string(buffer.data(), static_cast<size_t>(size));
  }

  UniqueFd socket_;
  std::filesystem::path path_;
};

TEST_F(ServiceManagerTest, IsSilentWithoutSupervisor) {
  ::setenv("WATCHDOG_USEC", "1000000", 1);
  auto manager = ServiceManager::from_environment();
  ASSERT_TRUE(manager) << to_string(manager.error());
  EXPECT_FALSE(manager->is_present());
  EXPECT_FALSE(manager->watchdog().has_value());
  manager->ready("nobody listens");
  manager->beat(kSecond);
}

TEST_F(ServiceManagerTest, TellsItsLife) {
  listen_at_path();
  auto manager = ServiceManager::from_environment();
  ASSERT_TRUE(manager) << to_string(manager.error());
  EXPECT_TRUE(manager->is_present());
  manager->ready("3 targets");
  EXPECT_EQ(receive(), "READY=1\nSTATUS=3 targets");
  manager->set_status("4 targets");
  EXPECT_EQ(receive(), "STATUS=4 targets");
  manager->reloading();
  const auto reloading = receive();
  ASSERT_TRUE(reloading.has_value());
  EXPECT_EQ(reloading->rfind("RELOADING=1\nMONOTONIC_USEC=", 0), 0U) << *reloading;
  manager->stopping();
  EXPECT_EQ(receive().value_or("").rfind("STOPPING=1\n", 0), 0U);
  EXPECT_EQ(receive(), std::nullopt);
}

TEST_F(ServiceManagerTest, FindsAbstractSocket) {
  listen_abstract();
  auto manager = ServiceManager::from_environment();
  ASSERT_TRUE(manager) << to_string(manager.error());
  manager->ready("up");
  EXPECT_EQ(receive(), "READY=1\nSTATUS=up");
}

TEST_F(ServiceManagerTest, StatusCannotSmuggleVariables) {
  listen_at_path();
  auto manager = ServiceManager::from_environment();
  ASSERT_TRUE(manager);
  manager->set_status("a program named x\nMAINPID=1");
  EXPECT_EQ(receive(), "STATUS=a program named x MAINPID=1");
}

TEST_F(ServiceManagerTest, BeatsThreeTimesPerWatchdogTime) {
  listen_at_path();
  ::setenv("WATCHDOG_USEC", "30000000", 1);
  ::setenv("WATCHDOG_PID", std::to_string(::getpid()).c_str(), 1);
  auto manager = ServiceManager::from_environment();
  ASSERT_TRUE(manager) << to_string(manager.error());
  EXPECT_EQ(manager->watchdog(), std::chrono::seconds(30));
  int beats = 0;
  for (uint64_t tenth = 0; tenth < 600; ++tenth) {
    manager->beat(1000 * kSecond + tenth * kSecond / 10);
    while (receive() == "WATCHDOG=1") ++beats;
  }
  EXPECT_EQ(beats, 6);  // a minute at every 10 s
}

TEST_F(ServiceManagerTest, WatchdogOfAnotherProcessIsNotOurs) {
  listen_at_path();
  ::setenv("WATCHDOG_USEC", "30000000", 1);
  ::setenv("WATCHDOG_PID", std::to_string(::getpid() + 1).c_str(), 1);
  auto manager = ServiceManager::from_environment();
  ASSERT_TRUE(manager);
  EXPECT_FALSE(manager->watchdog().has_value());
  manager->beat(kSecond);
  EXPECT_EQ(receive(), std::nullopt);
}

TEST_F(ServiceManagerTest, RefusesNonsense) {
  ::setenv("NOTIFY_SOCKET", "relative/path", 1);
  EXPECT_FALSE(ServiceManager::from_environment());
  ::setenv("NOTIFY_SOCKET", ("/" + std::string(200, 'x')).c_str(), 1);
  EXPECT_FALSE(ServiceManager::from_environment());
  ::setenv("NOTIFY_SOCKET", "/nonexistent/socket", 1);
  EXPECT_FALSE(ServiceManager::from_environment());
  listen_at_path();
  for (const char* time : {"0", "-1", "1s", "99999999999999999999"}) {
    ::setenv("WATCHDOG_USEC", time, 1);
    EXPECT_FALSE(ServiceManager::from_environment()) << time;
  }
  ::setenv("WATCHDOG_USEC", "1000", 1);
  ::setenv("WATCHDOG_PID", "me", 1);
  EXPECT_FALSE(ServiceManager::from_environment());
}

// A supervisor that never reads fills its socket; the caller must not hang on that.
TEST_F(ServiceManagerTest, DoesNotWaitForASupervisorThatDoesNotListen) {
  listen_at_path();
  auto manager = ServiceManager::from_environment();
  ASSERT_TRUE(manager);
  for (int i = 0; i < 10'000; ++i) manager->set_status("still here");
  EXPECT_EQ(receive(), "STATUS=still here");
}

}  // namespace
}  // namespace goheapd
