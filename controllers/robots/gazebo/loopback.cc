// Preloaded into gzserver: whatever it binds, it binds on this machine's loopback address.
//
// Gazebo 11 serves its own protocol on all addresses of the machine and has no setting against that.

#include <dlfcn.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstring>

extern "C" int bind(int socket, const sockaddr *address, socklen_t length) noexcept {
  using Bind = int (*)(int, const sockaddr *, socklen_t);
  static const auto real = reinterpret_cast<Bind>(dlsym(RTLD_NEXT, "bind"));
  if (address != nullptr && address->sa_family == AF_INET && length >= sizeof(sockaddr_in)) {
    sockaddr_in local;
    std::memcpy(&local, address, sizeof local);
    local.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return real(socket, reinterpret_cast<const sockaddr *>(&local), sizeof local);
  }
  if (address != nullptr && address->sa_family == AF_INET6 && length >= sizeof(sockaddr_in6)) {
    sockaddr_in6 local;
    std::memcpy(&local, address, sizeof local);
    local.sin6_addr = in6addr_loopback;
    return real(socket, reinterpret_cast<const sockaddr *>(&local), sizeof local);
  }
  return real(socket, address, length);
}
