#include "tests/unit/exporters/http/test_client.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <httplib.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <thread>
#include <vector>

namespace goheapd::exporters::http {

int port_of(const std::string& address) { return std::stoi(address.substr(address.rfind(':') + 1)); }

UniqueFd connect_to(const std::string& address) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(port_of(address)));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(::connect(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof(to)), 0);
  return fd;
}

void send_bytes(int socket, const std::string& bytes) {
  // A server that has had enough may close before all is sent: what it answered tells.
  static_cast<void>(!::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL));
}

std::string read_to_end(int socket) {
  std::string all;
  std::array<char, 4096> chunk{};
  for (;;) {
    const ssize_t count = ::recv(socket, chunk.data(), chunk.size(), 0);
    if (count <= 0) return all;
    all.append(chunk.data(), static_cast<size_t>(count));
  }
}

std::string raw_exchange(const std::string& address, const std::string& bytes) {
  const UniqueFd fd = connect_to(address);
  send_bytes(fd.get(), bytes);
  return read_to_end(fd.get());
}

void side_by_side(const std::string& address, int count, const std::function<void(int)>& client) {
  // The library makes its regular expressions when it reads its first answer. How it guards them, thread sanitizer does
  // not see, as the library is built without it; so that is done before there are threads.
  EXPECT_TRUE(httplib::Client("127.0.0.1", port_of(address)).Get("/"));
  std::vector<std::thread> clients;
  clients.reserve(static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) clients.emplace_back([&client, i] { client(i); });
  for (auto& thread : clients) thread.join();
}

}  // namespace goheapd::exporters::http
