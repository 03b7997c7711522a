// The plugin's end of the lock-step protocol: one client at a time on a Unix socket. See protocol.py for the messages.

#pragma once

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

namespace robot_rl {

constexpr std::uint32_t kMagic = 0x5A475252;  // "RRGZ", little endian
constexpr std::uint32_t kVersion = 1;
constexpr std::uint32_t kMaxBytes = 4096;

enum Operation : std::uint32_t { HELLO = 1, STEP = 2, GET = 3, RESET = 4, POSE = 5, SLIDE = 6, PUSH = 7 };
enum Status : std::uint32_t { OK = 0, REFUSED = 1 };

struct Head {
  std::uint32_t magic, operation, argument, bytes;
};
static_assert(sizeof(Head) == 16, "the head has 16 bytes");

// What came after a head: numbers, and perhaps a name behind them.
class Body {
 public:
  std::vector<char> bytes;

  // Returns the numbers at the beginning. Throws std::invalid_argument if there are not so many, or one is not finite.
  const double *Numbers(std::size_t count, bool named = false) {
    const std::size_t size = count * sizeof(double);
    if (bytes.size() < size || (!named && bytes.size() != size)) {
      throw std::invalid_argument("expected " + std::to_string(count) + " numbers, got " +
                                  std::to_string(bytes.size()) + " bytes");
    }
    numbers_.resize(count);
    std::memcpy(numbers_.data(), bytes.data(), size);
    for (const double value : numbers_) {
      if (!std::isfinite(value)) throw std::invalid_argument("expected finite numbers");
    }
    return numbers_.data();
  }

  // Returns the text behind so many numbers.
  std::string Text(std::size_t count = 0) const {
    return std::string(bytes.begin() + static_cast<std::ptrdiff_t>(count * sizeof(double)), bytes.end());
  }

 private:
  std::vector<double> numbers_;
};

class ClientSocket {
 public:
  ~ClientSocket() {
    Drop();
    if (listener_ >= 0) close(listener_);
  }

  // Throws std::runtime_error if nobody could ever connect.
  void Listen(const std::string &path) {
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) throw std::runtime_error("socket path too long: " + path);
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    listener_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener_ < 0 || bind(listener_, reinterpret_cast<sockaddr *>(&address), sizeof address) != 0 ||
        listen(listener_, 1) != 0) {
      throw std::runtime_error("cannot listen at " + path + ": " + std::strerror(errno));
    }
  }

  // Waits up to so long for a client or for what it says. Returns whether a request waits.
  bool Wait(int timeout_ms) {
    pollfd waiting = {client_ >= 0 ? client_ : listener_, POLLIN, 0};
    if (poll(&waiting, 1, timeout_ms) <= 0) return false;
    if (client_ >= 0) return true;
    client_ = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    const timeval limit = {kTransferS, 0};  // a client that stops in the middle of a message must not hold us for ever
    if (client_ >= 0) setsockopt(client_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (client_ >= 0) setsockopt(client_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    return false;
  }

  // Reads a whole request. Returns false if the client is gone, or speaks another protocol: it is dropped then.
  bool Receive(Head &head, Body &body) {
    if (ReadAll(&head, sizeof head) && head.magic == kMagic && head.bytes <= kMaxBytes) {
      body.bytes.resize(head.bytes);
      if (ReadAll(body.bytes.data(), head.bytes)) return true;
    }
    Drop();
    return false;
  }

  // Returns false if the client is gone.
  bool Send(std::uint32_t operation, std::uint32_t status, const void *body, std::size_t bytes) {
    const Head head = {kMagic, operation, status, static_cast<std::uint32_t>(bytes)};
    reply_.resize(sizeof head + bytes);
    std::memcpy(reply_.data(), &head, sizeof head);
    std::memcpy(reply_.data() + sizeof head, body, bytes);
    for (std::size_t sent = 0; sent < reply_.size();) {
      const ssize_t done = send(client_, reply_.data() + sent, reply_.size() - sent, MSG_NOSIGNAL);
      if (done <= 0) {
        Drop();
        return false;
      }
      sent += static_cast<std::size_t>(done);
    }
    return true;
  }

  bool Send(std::uint32_t operation, const std::vector<double> &numbers) {
    return Send(operation, OK, numbers.data(), numbers.size() * sizeof(double));
  }

  void Drop() {
    if (client_ >= 0) close(client_);
    client_ = -1;
  }

  bool connected() const { return client_ >= 0; }

 private:
  static constexpr long kTransferS = 2;

  bool ReadAll(void *target, std::size_t bytes) {
    auto *into = static_cast<char *>(target);
    while (bytes > 0) {
      const ssize_t got = recv(client_, into, bytes, 0);
      if (got <= 0) return false;
      into += got;
      bytes -= static_cast<std::size_t>(got);
    }
    return true;
  }

  int listener_ = -1, client_ = -1;
  std::vector<char> reply_;
};

}  // namespace robot_rl
