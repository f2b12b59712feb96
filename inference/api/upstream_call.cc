#include "inference/api/upstream_call.h"

#include <httplib.h>

#include <chrono>

namespace fedglm {
namespace {

constexpr size_t kMaxHeldBytes = 1 << 20;  // read ahead of a slow client

std::chrono::microseconds Microseconds(double seconds) {
  return std::chrono::microseconds(static_cast<int64_t>(seconds * 1e6));
}

}  // namespace

struct UpstreamCall::Client {
  explicit Client(const std::string& scheme_host_port) : http(scheme_host_port) {}
  httplib::Client http;
};

UpstreamCall::UpstreamCall(UpstreamRequest request)
    : request_(std::move(request)), client_(std::make_unique<Client>(request_.scheme_host_port)) {
  httplib::Client& http = client_->http;
  http.set_follow_location(false);
  http.set_hostname_addr_map({{request_.host, request_.address}});
  http.set_connection_timeout(Microseconds(request_.connect_seconds));
  http.set_read_timeout(Microseconds(request_.read_seconds));
  http.set_write_timeout(Microseconds(request_.read_seconds));
  http.enable_server_certificate_verification(true);
  if (!request_.ca_file.empty()) http.set_ca_cert_path(request_.ca_file);
  thread_ = std::thread([this] { Run(); });
}

UpstreamCall::~UpstreamCall() {
  Cancel();
  thread_.join();
}

void UpstreamCall::Run() {
  httplib::Request http;
  http.method = "POST";
  http.path = request_.path;
  http.body = request_.body;
  http.set_header("Content-Type", "application/json");
  http.set_header("x-request-id", request_.request_id);
  if (!request_.api_key.empty()) http.set_header("Authorization", "Bearer " + request_.api_key);
  http.response_handler = [this](const httplib::Response& response) {
    MutexLock lock(mutex_);
    head_ = UpstreamHead{response.status, response.get_header_value("Content-Type"), ""};
    changed_.notify_all();
    return !cancelled_;
  };
  http.content_receiver = [this](const char* bytes, size_t count, uint64_t, uint64_t) { return Put(bytes, count); };
  const httplib::Result result = client_->http.send(http);
  MutexLock lock(mutex_);
  if (!head_) head_ = UpstreamHead{0, "", httplib::to_string(result.error())};
  broken_ = !result;
  done_ = true;
  changed_.notify_all();
}

bool UpstreamCall::Put(const char* bytes, size_t count) {
  MutexLock lock(mutex_);
  while (held_bytes_ > kMaxHeldBytes && !cancelled_) lock.Wait(changed_);
  if (cancelled_) return false;
  chunks_.emplace_back(bytes, count);
  held_bytes_ += count;
  changed_.notify_all();
  return true;
}

std::optional<UpstreamHead> UpstreamCall::Head(std::chrono::milliseconds timeout) {
  MutexLock lock(mutex_);
  if (!head_) lock.WaitFor(changed_, timeout);
  return head_;
}

std::string UpstreamCall::Next(std::chrono::milliseconds timeout) {
  MutexLock lock(mutex_);
  if (chunks_.empty() && !done_) lock.WaitFor(changed_, timeout);
  if (chunks_.empty()) return "";
  std::string chunk = std::move(chunks_.front());
  chunks_.pop_front();
  held_bytes_ -= chunk.size();
  changed_.notify_all();
  return chunk;
}

bool UpstreamCall::ended() const {
  MutexLock lock(mutex_);
  return done_ && chunks_.empty();
}

bool UpstreamCall::broken() const {
  MutexLock lock(mutex_);
  return broken_;
}

void UpstreamCall::Cancel() {
  {
    MutexLock lock(mutex_);
    if (done_) return;
    cancelled_ = true;
    changed_.notify_all();
  }
  client_->http.stop();
}

}  // namespace fedglm
