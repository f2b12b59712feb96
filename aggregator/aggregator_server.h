// The running aggregator: state folder, rounds, and two ports. One for sites and administrators (mutual TLS), one for
// enrolment (the site has no certificate yet). Both also serve grpc.health.v1.
#pragma once

#include <memory>
#include <string>

#include "aggregator/options/aggregator_options.h"
#include "base/clock.h"
#include "base/status.h"

namespace fedglm {

class AggregatorServer {
 public:
  // Ports of 0 take free ones. Unreachable if a port is in use.
  static absl::StatusOr<std::unique_ptr<AggregatorServer>> Start(const AggregatorOptions& options,
                                                                 Clock& clock = Clock::System());
  ~AggregatorServer();  // stops

  // As sites are to dial them: also in state_dir/addresses.json.
  const std::string& federation_address() const;
  const std::string& enrolment_address() const;

  // For the first sites, before an administrator's client is set up.
  absl::StatusOr<std::string> CreateToken(const std::string& site_name, std::chrono::seconds lifetime);

  // The certificate that it shows is made anew with the next connection; those that are there stay.
  void LookAgain();
  void Stop();

 private:
  struct State;
  explicit AggregatorServer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// A token without a running server, from the state folder that one has been started in.
absl::StatusOr<std::string> CreateTokenOffline(const AggregatorOptions& options, const std::string& site_name,
                                               std::chrono::seconds lifetime);

}  // namespace fedglm
