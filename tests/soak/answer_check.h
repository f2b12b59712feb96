// Whether an answer is what the request should get.
#pragma once

#include <string>

#include "base/status.h"
#include "tests/soak/http_client.h"
#include "tests/soak/request_mix.h"

namespace fedglm::soak {

// Failed, saying what is wrong: a status that the request must not get, a body of another shape, a refusal for lack of
// room without Retry-After, an answer without `id` in its x-request-id.
absl::Status CheckAnswer(const SoakRequest& request, const std::string& id, const HttpAnswer& answer);

}  // namespace fedglm::soak
