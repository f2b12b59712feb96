// What the aggregator's database holds, row by row. docs/federation-protocol.md explains the states.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/pem.h"

namespace fedglm {

struct TokenRow {
  std::string hash;       // SHA-256 of the secret
  std::string site_name;  // empty: any
  int64_t expires_unix_ms = 0;
  std::string used_by;   // site id; empty: not used
  std::string used_key;  // SHA-256 of the request it was used with
};

struct NodeRow {
  std::string site_id;
  bool revoked = false;
  std::string serial;  // of its certificate
  CertificatePem certificate_pem;
  int64_t last_seen_unix_ms = 0;  // 0: has not asked for work yet
  int64_t training_records = 0;
  int64_t installed_round = -1;
  int64_t bytes_received = 0;
  // Issued, and not shown yet: becomes its only one when it is. Empty: none.
  std::string next_serial;
  CertificatePem next_certificate_pem;
  std::string next_request_sha256;  // of the request that it was made for
};

// Both are in the store, as these numbers: never renumber.
enum class RoundState : int64_t { kOpen = 0, kDone = 1 };
enum class UpdateState : int64_t { kExpected = 0, kAccepted = 1, kRefused = 2 };

struct RoundRow {
  int64_t round = 0;
  RoundState state = RoundState::kOpen;
  std::string adapter_in, adapter_out;  // artifact digests
  std::string state_in, state_out;      // digests of what the strategy remembers; empty: nothing
  int64_t started_unix_ms = 0, ended_unix_ms = 0, deadline_unix_ms = 0;
  double truncation_error = 0;
};

struct UpdateRow {
  std::string update_id;
  int64_t round = 0;
  std::string site_id;
  UpdateState state = UpdateState::kExpected;
  std::string sha256;
  int64_t bytes = 0;
  int64_t examples = 0;
  double training_loss = 0;
  std::string reason;
};

struct EvaluationRow {
  int64_t round = 0;
  std::string site_id;
  double loss = 0;
  int64_t tokens = 0;
};

// What is known of a site in a round: of its accepted update, and of its evaluation of the round's adapter.
struct SiteRoundRow {
  int64_t round = 0;  // 0: evaluations of the initial adapter
  std::string site_id;
  int64_t examples = 0, tokens = 0;
  std::optional<double> training_loss, held_out_loss;
};

}  // namespace fedglm
