#include "tests/integration/relay.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <thread>
#include <utility>

#include "base/thread_annotations.h"
#include "base/tls.h"

namespace fedglm {
namespace {

constexpr unsigned char kHttp2[] = {2, 'h', '2'};
constexpr int kTickMs = 20;

template <auto Free>
struct Freer {
  template <typename T>
  void operator()(T* object) const {
    Free(object);
  }
};
using Context = std::unique_ptr<SSL_CTX, Freer<SSL_CTX_free>>;
using Session = std::unique_ptr<SSL, Freer<SSL_free>>;
using Bio = std::unique_ptr<BIO, Freer<BIO_free_all>>;
using Certificate = std::unique_ptr<X509, Freer<X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>>;

absl::Status OpenSslError(const std::string& doing) {
  char reason[256] = "unknown";
  if (const unsigned long code = ERR_get_error(); code != 0) ERR_error_string_n(code, reason, sizeof(reason));
  ERR_clear_error();
  return FailedError(doing + ": " + reason);
}

sockaddr_in AddressOf(const char* host, int port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  inet_pton(AF_INET, host, &address.sin_addr);
  return address;
}

// No waiting for more to send, and no waiting for ever for the other side's handshake.
void Prepare(int socket) {
  const int now = 1;
  setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &now, sizeof(now));
  const timeval limit = {10, 0};
  setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
}

Certificate ReadCertificate(const std::string& pem) {
  const Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  return Certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
}

// A context that trusts the federation's CA only, shows `own` (if any), and speaks TLS 1.3.
absl::StatusOr<Context> MakeContext(const SSL_METHOD* method, const CaCertificatePem& ca_pem,
                                    const KeyAndCertificate& own) {
  Context context(SSL_CTX_new(method));
  SSL_CTX* const c = context.get();
  const Certificate ca = ReadCertificate(ca_pem.text());
  if (ca == nullptr || X509_STORE_add_cert(SSL_CTX_get_cert_store(c), ca.get()) != 1) return OpenSslError("relay: CA");
  SSL_CTX_set_min_proto_version(c, TLS1_3_VERSION);
  if (own.key_pem.empty()) return context;
  const Certificate certificate = ReadCertificate(own.certificate_pem.text());
  const std::string& text = own.key_pem.secret_text();
  const Bio bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  const Key key(PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr));
  if (certificate == nullptr || key == nullptr || SSL_CTX_use_certificate(c, certificate.get()) != 1 ||
      SSL_CTX_use_PrivateKey(c, key.get()) != 1) {
    return OpenSslError("relay: certificate");
  }
  return context;
}

int SelectHttp2(SSL*, const unsigned char** out, unsigned char* size, const unsigned char* offered,
                unsigned int offered_size, void*) {
  return SSL_select_next_proto(const_cast<unsigned char**>(out), size, kHttp2, sizeof(kHttp2), offered, offered_size) ==
                 OPENSSL_NPN_NEGOTIATED
             ? SSL_TLSEXT_ERR_OK
             : SSL_TLSEXT_ERR_ALERT_FATAL;
}

std::string CommonNameOf(SSL* session) {
  const Certificate certificate(SSL_get1_peer_certificate(session));
  if (certificate == nullptr) return "";
  char name[128] = "";
  X509_NAME_get_text_by_NID(X509_get_subject_name(certificate.get()), NID_commonName, name, sizeof(name));
  return name;
}

// One end of a connection: a socket, with or without TLS over it. Owns the socket.
class End {
 public:
  explicit End(int socket) : socket_(socket) {}
  End(End&& other) noexcept : socket_(std::exchange(other.socket_, -1)), session_(std::move(other.session_)) {}
  ~End() {
    if (socket_ >= 0) close(socket_);
  }

  // Blocks. `handshake`: SSL_accept or SSL_connect.
  absl::Status BeginTls(SSL_CTX* context, int (*handshake)(SSL*)) {
    session_.reset(SSL_new(context));
    SSL_set_fd(session_.get(), socket_);
    return handshake(session_.get()) == 1 ? absl::OkStatus() : OpenSslError("relay: handshake");
  }
  void SetNonBlocking() { fcntl(socket_, F_SETFL, fcntl(socket_, F_GETFL) | O_NONBLOCK); }

  // What there is to read now. False once the other side has closed.
  bool ReadInto(std::string& bytes) {
    char chunk[16384];
    while (true) {
      const int got = session_ ? SSL_read(session_.get(), chunk, sizeof(chunk))
                               : static_cast<int>(read(socket_, chunk, sizeof(chunk)));
      if (got <= 0) return got < 0 && WouldBlock(got);
      bytes.append(chunk, static_cast<size_t>(got));
    }
  }

  // All of it, waiting where the other side is slow. False once it has closed.
  bool Write(const std::string& bytes, const std::atomic<bool>& stopping) {
    for (size_t done = 0; done < bytes.size();) {
      const int size = static_cast<int>(std::min<size_t>(bytes.size() - done, 16384));
      const int sent =
          session_ ? SSL_write(session_.get(), bytes.data() + done, size)
                   : static_cast<int>(send(socket_, bytes.data() + done, static_cast<size_t>(size), MSG_NOSIGNAL));
      if (sent > 0) {
        done += static_cast<size_t>(sent);
        continue;
      }
      if (!WouldBlock(sent) || stopping) return false;
      pollfd wait = {socket_, POLLOUT, 0};
      poll(&wait, 1, kTickMs);
    }
    return true;
  }

  int socket() const { return socket_; }
  SSL* session() const { return session_.get(); }

 private:
  bool WouldBlock(int result) const {
    if (!session_) return errno == EAGAIN || errno == EINTR;
    const int error = SSL_get_error(session_.get(), result);
    ERR_clear_error();
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
  }

  int socket_;
  Session session_;
};

}  // namespace

struct Relay::State {
  int listener = -1, port = 0;
  std::shared_ptr<const RelayKeys> keys;
  std::atomic<bool> stopping{false};
  std::atomic<uint64_t> hold_after{0}, hold_answers_after{0};  // 0: not
  std::atomic<bool> holding{false};
  Mutex mutex;
  std::vector<std::shared_ptr<RelayedConnection>> connections ABSL_GUARDED_BY(mutex);
  std::vector<std::string> errors ABSL_GUARDED_BY(mutex);
  std::vector<std::thread> threads ABSL_GUARDED_BY(mutex);
  std::thread accepting;

  void Accept();
  void Serve(int accepted);
  absl::Status Forward(End site, End aggregator, RelayedConnection& connection);
  absl::StatusOr<End> Dial() const;
  absl::Status EndTls(End& site, End& aggregator, std::string& name) const;
};

absl::StatusOr<End> Relay::State::Dial() const {
  End end(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_in address = AddressOf("127.0.0.1", port);
  if (connect(end.socket(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0)
    return ErrnoError("relay", errno);
  return end;
}

// Both handshakes: the site's first, since its name says whose identity to show on the other side.
absl::Status Relay::State::EndTls(End& site, End& aggregator, std::string& name) const {
  FEDGLM_ASSIGN_OR_RETURN(const Context server, MakeContext(TLS_server_method(), keys->ca_pem, keys->server));
  SSL_CTX_set_alpn_select_cb(server.get(), SelectHttp2, nullptr);
  if (keys->client_certificates) {
    SSL_CTX_set_verify(server.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  }
  FEDGLM_RETURN_IF_ERROR(site.BeginTls(server.get(), SSL_accept));
  name = CommonNameOf(site.session());
  KeyAndCertificate own;
  if (keys->client_certificates) {
    FEDGLM_ASSIGN_OR_RETURN(own, keys->identity_of(name));
  }
  FEDGLM_ASSIGN_OR_RETURN(const Context client, MakeContext(TLS_client_method(), keys->ca_pem, own));
  SSL_CTX_set_verify(client.get(), SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_alpn_protos(client.get(), kHttp2, sizeof(kHttp2));
  return aggregator.BeginTls(client.get(), SSL_connect);
}

absl::Status Relay::State::Forward(End site, End aggregator, RelayedConnection& connection) {
  site.SetNonBlocking();
  aggregator.SetNonBlocking();
  uint64_t sent = 0;  // by the site
  std::string kept;   // what was read and does not pass yet
  bool mine = false;  // this connection is the one that is held
  while (!stopping) {
    const bool held = mine && holding, hold_all = held && hold_after > 0;
    pollfd wait[2] = {{site.socket(), static_cast<short>(hold_all ? POLLRDHUP : POLLIN), 0},
                      {aggregator.socket(), static_cast<short>(held ? POLLRDHUP : POLLIN), 0}};
    poll(wait, 2, kTickMs);
    constexpr int kGone = POLLRDHUP | POLLHUP | POLLERR;  // its process has ended
    if (held && ((wait[0].revents | wait[1].revents) & kGone) != 0) break;
    std::string up, down;
    const bool site_open = hold_all || site.ReadInto(up);
    const bool aggregator_open = held || aggregator.ReadInto(down);
    sent += up.size();
    if (!hold_all) up = std::exchange(kept, {}) + up;
    if (const uint64_t limit = hold_after; limit > 0 && sent >= limit && !mine && !holding.exchange(true)) {
      mine = true;
      const size_t passing = up.size() - std::min<size_t>(up.size(), sent - limit);
      kept = up.substr(passing);
      up.resize(passing);
    }
    if (const uint64_t limit = hold_answers_after; limit > 0 && sent >= limit && !mine && !holding.exchange(true))
      mine = true;
    {
      MutexLock lock(mutex);
      connection.to_aggregator += up;
      connection.to_site += down;
    }
    if (!aggregator.Write(up, stopping) || !site.Write(down, stopping) || !site_open || !aggregator_open) break;
  }
  return absl::OkStatus();
}

void Relay::State::Serve(int accepted) {
  End site(accepted);
  Prepare(accepted);
  auto connection = std::make_shared<RelayedConnection>();
  const absl::Status status = [&]() -> absl::Status {
    FEDGLM_ASSIGN_OR_RETURN(End aggregator, Dial());
    Prepare(aggregator.socket());
    if (keys) FEDGLM_RETURN_IF_ERROR(EndTls(site, aggregator, connection->site));
    {
      MutexLock lock(mutex);
      connections.push_back(connection);
    }
    return Forward(std::move(site), std::move(aggregator), *connection);
  }();
  if (status.ok()) return;
  MutexLock lock(mutex);
  errors.push_back(Message(status));
}

void Relay::State::Accept() {
  while (!stopping) {
    pollfd wait = {listener, POLLIN, 0};
    if (poll(&wait, 1, kTickMs) <= 0) continue;
    const int accepted = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (accepted < 0) continue;
    MutexLock lock(mutex);
    threads.emplace_back([this, accepted] { Serve(accepted); });
  }
}

Relay::Relay(std::shared_ptr<State> state) : state_(std::move(state)) {}

absl::StatusOr<std::unique_ptr<Relay>> Relay::Start(const std::string& port, std::shared_ptr<const RelayKeys> keys) {
  signal(SIGPIPE, SIG_IGN);  // OpenSSL writes to what may be closed
  auto state = std::make_shared<State>();
  state->keys = std::move(keys);
  state->port = std::stoi(port);
  state->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int yes = 1;
  setsockopt(state->listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  const sockaddr_in address = AddressOf("127.0.0.2", state->port);
  if (bind(state->listener, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      listen(state->listener, 64) != 0) {
    const int error = errno;
    close(state->listener);
    return ErrnoError("relay: 127.0.0.2:" + port, error);
  }
  state->accepting = std::thread([s = state.get()] { s->Accept(); });
  return std::unique_ptr<Relay>(new Relay(std::move(state)));
}

Relay::~Relay() {
  state_->stopping = true;
  state_->accepting.join();
  std::vector<std::thread> threads;
  {
    MutexLock lock(state_->mutex);
    threads.swap(state_->threads);
  }
  for (std::thread& thread : threads) thread.join();
  close(state_->listener);
}

void Relay::HoldAfter(uint64_t bytes) { state_->hold_after = bytes; }
void Relay::HoldAnswersAfter(uint64_t bytes) { state_->hold_answers_after = bytes; }
bool Relay::Holding() const { return state_->holding; }

void Relay::Release() {
  state_->hold_after = state_->hold_answers_after = 0;
  state_->holding = false;
}

std::vector<RelayedConnection> Relay::Recorded() const {
  MutexLock lock(state_->mutex);
  std::vector<RelayedConnection> result;
  for (const auto& connection : state_->connections) result.push_back(*connection);
  return result;
}

std::vector<std::string> Relay::Errors() const {
  MutexLock lock(state_->mutex);
  return state_->errors;
}

std::vector<GrpcMessage> GrpcMessagesOf(const std::string& direction, bool from_client) {
  constexpr size_t kPreface = 24, kFrameHeader = 9, kPrefix = 5;
  const auto at = [](const std::string& text, size_t i) {
    return static_cast<size_t>(static_cast<unsigned char>(text[i]));
  };
  std::map<size_t, std::string> streams;
  for (size_t i = from_client ? kPreface : 0; i + kFrameHeader <= direction.size();) {
    const size_t size = at(direction, i) << 16 | at(direction, i + 1) << 8 | at(direction, i + 2);
    const size_t type = at(direction, i + 3), flags = at(direction, i + 4);
    const size_t stream = (at(direction, i + 5) & 0x7f) << 24 | at(direction, i + 6) << 16 | at(direction, i + 7) << 8 |
                          at(direction, i + 8);
    std::string payload = direction.substr(i + kFrameHeader, size);
    if (type == 0 && (flags & 8) != 0 && !payload.empty()) {  // padded
      payload = payload.substr(1, payload.size() - 1 - std::min(payload.size() - 1, at(payload, 0)));
    }
    if (type == 0) streams[stream] += payload;
    i += kFrameHeader + size;
  }
  std::vector<GrpcMessage> messages;
  for (const auto& [stream, bytes] : streams) {
    for (size_t i = 0; i + kPrefix <= bytes.size();) {
      const size_t size = at(bytes, i + 1) << 24 | at(bytes, i + 2) << 16 | at(bytes, i + 3) << 8 | at(bytes, i + 4);
      messages.push_back({bytes[i] != 0, bytes.substr(i + kPrefix, size)});
      i += kPrefix + size;
    }
  }
  return messages;
}

}  // namespace fedglm
