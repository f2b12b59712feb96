// Errors in OpenAI's shape: {"error": {"message", "type", "param", "code"}} with an HTTP status.
// https://platform.openai.com/docs/guides/error-codes
#pragma once

#include <string>
#include <string_view>

#include "base/json_forward.h"
#include "base/status.h"

namespace fedglm {

struct ApiError {
  int status = 500;  // HTTP
  std::string type = "server_error";
  std::string message;
  std::string param;            // the field that is wrong, as "messages[2].content"; empty: null
  std::string code;             // for programs; empty: null
  int retry_after_seconds = 0;  // 0: no Retry-After
};

// A UsageError that remembers which field is wrong; ToApiError finds it again. `message` is a whole sentence.
absl::Status ParameterError(std::string_view param, const std::string& message, std::string_view code = "");
// "'param' must be …", the usual one.
absl::Status MustBe(std::string_view param, std::string_view expected);

// What a client is told about a status of the engine or of a parser. Unavailable (the queue is full) is 429,
// ResourceExhausted (memory) 503, both with Retry-After; what the caller could not know is 500.
ApiError ToApiError(const absl::Status& status);

Json ErrorJson(const ApiError& error);

}  // namespace fedglm
