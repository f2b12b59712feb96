#include "inference/api/api_error.h"

#include "absl/strings/cord.h"
#include "base/json.h"

namespace fedglm {
namespace {

constexpr const char* kParamPayload = "fedglm/param";
constexpr const char* kCodePayload = "fedglm/code";

std::string Payload(const absl::Status& status, const char* name) {
  const auto payload = status.GetPayload(name);
  return payload ? std::string(*payload) : "";
}

Json OrNull(const std::string& text) { return text.empty() ? Json() : Json(text); }

}  // namespace

absl::Status ParameterError(std::string_view param, const std::string& message, std::string_view code) {
  absl::Status status = UsageError(message);
  status.SetPayload(kParamPayload, absl::Cord(std::string(param)));
  if (!code.empty()) status.SetPayload(kCodePayload, absl::Cord(std::string(code)));
  return status;
}

absl::Status MustBe(std::string_view param, std::string_view expected) {
  return ParameterError(param, "'" + std::string(param) + "' must be " + std::string(expected));
}

ApiError ToApiError(const absl::Status& status) {
  ApiError error;
  error.message = Message(status);
  error.param = Payload(status, kParamPayload);
  error.code = Payload(status, kCodePayload);
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
      error.status = 400;
      error.type = "invalid_request_error";
      break;
    case absl::StatusCode::kNotFound:
      error.status = 404;
      error.type = "invalid_request_error";
      error.code = "model_not_found";
      error.param = "model";
      break;
    case absl::StatusCode::kUnavailable:
      error.status = 429;
      error.type = "rate_limit_error";
      error.code = "queue_full";
      error.retry_after_seconds = 1;
      break;
    case absl::StatusCode::kResourceExhausted:
      error.status = 503;
      error.type = "overloaded_error";
      error.code = "out_of_memory_budget";
      error.retry_after_seconds = 5;
      break;
    case absl::StatusCode::kDeadlineExceeded:
      error.status = 504;
      error.type = "timeout_error";
      error.code = "timeout";
      break;
    case absl::StatusCode::kCancelled:
      error.status = 503;
      error.type = "overloaded_error";
      error.code = "stopping";
      error.retry_after_seconds = 5;
      break;
    default:
      break;
  }
  return error;
}

Json ErrorJson(const ApiError& error) {
  return {{"error",
           {{"message", error.message},
            {"type", error.type},
            {"param", OrNull(error.param)},
            {"code", OrNull(error.code)}}}};
}

}  // namespace fedglm
