// One request and its answer, whatever carries them: what the routes work with. HTTP itself is http_server.h.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "inference/api/api_error.h"
#include "inference/api/api_keys.h"

namespace fedglm {

// What an access line and the metrics say of a request; never a prompt or an answer.
struct RequestFacts {
  std::string id;        // x-request-id
  std::string route;     // "POST /v1/chat/completions"
  std::string peer;      // address
  std::string key_name;  // of the API key; empty: none is needed
  std::string model;
  std::string upstream;  // who answered instead of this server
  std::string refusal;   // why it was refused, as CountRefusal's
  int status = 200;
  int64_t prompt_tokens = 0, answer_tokens = 0;
  bool broken_off = false;  // the client went away, or the server had to stop
  double seconds = 0;
};
// One line of name=value. What a client can choose is quoted and shortened.
std::string AccessLine(const RequestFacts& facts);

// The client's own id if it is one (1 to 128 letters, digits, '-', '_', '.', ':'), else a new one.
std::string RequestId(std::string_view from_client);

// Sends bytes; false if the client has gone: then stop.
using SendBytes = std::function<bool(std::string_view bytes)>;

// Used by one thread. Exactly one of the Send functions is called, once.
class Exchange {
 public:
  virtual ~Exchange() = default;

  virtual const std::string& body() const = 0;
  virtual const std::string& parameter() const = 0;  // what the path had behind the route's own text
  virtual std::string Header(const std::string& name) const = 0;

  virtual void AddHeader(const std::string& name, const std::string& value) = 0;
  virtual void Send(int status, std::string_view content_type, std::string body) = 0;
  // `produce` writes the body after this exchange's route has returned; false breaks the connection off, so that the
  // client does not take half an answer for a whole one.
  virtual void SendStream(int status, const std::string& content_type,
                          std::function<bool(const SendBytes&)> produce) = 0;

  virtual bool ClientHasGone() const = 0;
  // The client has gone, or the server stops and waits no longer.
  virtual bool Abandoned() const = 0;

  void SendJson(const Json& json, int status = 200) { Send(status, "application/json", DumpJson(json)); }
  void SendError(const ApiError& error);
  // Cancelled with a client that has gone: as SendToNobody.
  void SendStatus(const absl::Status& status);
  // For the log and the metrics: who has gone was refused nothing, and the server did not fail.
  void SendToNobody();

  const Stopwatch& since_arrival() const { return stopwatch_; }
  // Whether it has had its `seconds` (ApiOptions::request_seconds); 0: no limit.
  bool TimeIsUp(double seconds) const { return seconds > 0 && stopwatch_.Seconds() >= seconds; }
  RequestFacts facts;
  std::shared_ptr<const ApiKey> key;  // nullptr: none is needed

 private:
  Stopwatch stopwatch_;
};

}  // namespace fedglm
