#include "inference/api/exchange.h"

#include <algorithm>
#include <cctype>
#include <cstdio>

#include "base/digest.h"

namespace fedglm {
namespace {

constexpr size_t kMaxIdBytes = 128, kMaxShownBytes = 64;
constexpr int kClientClosedRequest = 499;  // nginx's, known to those who read logs

std::string Quoted(const std::string& text) { return DumpJson(text.substr(0, kMaxShownBytes)); }

void AddText(const char* name, const std::string& text, std::string& line) {
  if (!text.empty()) line += std::string(" ") + name + "=" + Quoted(text);
}

}  // namespace

std::string AccessLine(const RequestFacts& facts) {
  char seconds[32];
  std::snprintf(seconds, sizeof(seconds), "%.3f", facts.seconds);
  std::string line =
      "request=" + facts.id + " peer=" + facts.peer + " status=" + std::to_string(facts.status) + " seconds=" + seconds;
  AddText("route", facts.route, line);
  AddText("key", facts.key_name, line);
  AddText("model", facts.model, line);
  AddText("upstream", facts.upstream, line);
  AddText("refused", facts.refusal, line);
  if (facts.prompt_tokens > 0) line += " prompt_tokens=" + std::to_string(facts.prompt_tokens);
  if (facts.answer_tokens > 0) line += " answer_tokens=" + std::to_string(facts.answer_tokens);
  if (facts.broken_off) line += " broken_off=true";
  return line;
}

std::string RequestId(std::string_view from_client) {
  const auto fits = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_' || c == '.' || c == ':';
  };
  if (!from_client.empty() && from_client.size() <= kMaxIdBytes &&
      std::all_of(from_client.begin(), from_client.end(), fits)) {
    return std::string(from_client);
  }
  return "req_" + Base64UrlEncode(SecureRandomBytes(15));
}

void Exchange::SendError(const ApiError& error) {
  if (error.retry_after_seconds > 0) AddHeader("Retry-After", std::to_string(error.retry_after_seconds));
  if (facts.refusal.empty() && error.status < 500 && error.status != 429) facts.refusal = "invalid";
  if (facts.refusal.empty() && !error.code.empty()) facts.refusal = error.code;
  SendJson(ErrorJson(error), error.status);
}

void Exchange::SendStatus(const absl::Status& status) {
  if (absl::IsCancelled(status) && ClientHasGone()) return SendToNobody();
  SendError(ToApiError(status));
}

void Exchange::SendToNobody() {
  facts.broken_off = true;
  Send(kClientClosedRequest, "text/plain", "the client has gone\n");
}

}  // namespace fedglm
