// The certificate that the aggregator shows: made anew when two thirds of its life have passed, or when it is told to.
// Without a new start, and without an end of what is connected.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "aggregator/membership/certificate_authority.h"
#include "base/clock.h"
#include "base/status.h"
#include "base/thread_annotations.h"

namespace fedglm {

// Thread-safe.
class ServerCertificate {
 public:
  // Names and addresses that it is for. Nothing is made yet.
  ServerCertificate(const CertificateAuthority& authority, std::vector<std::string> host_names, Clock& clock)
      : authority_(authority), host_names_(std::move(host_names)), clock_(clock) {}

  struct Shown {
    CertificateAuthority::Identity identity;
    std::chrono::system_clock::time_point not_after;
    int64_t version = 0;  // grows with each change of the others
  };
  // For the next handshake. If it could not be made anew, which the log says, it is the one before; an error if there
  // is none.
  absl::StatusOr<std::shared_ptr<const Shown>> ForHandshake();
  // With the next handshake there is another one.
  void MakeAnew();

 private:
  absl::StatusOr<std::shared_ptr<const Shown>> Make() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool IsDue() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const CertificateAuthority& authority_;
  const std::vector<std::string> host_names_;
  Clock& clock_;
  Mutex mutex_;
  std::shared_ptr<const Shown> shown_ ABSL_GUARDED_BY(mutex_);
  std::chrono::system_clock::time_point made_ ABSL_GUARDED_BY(mutex_), renewal_ ABSL_GUARDED_BY(mutex_);
  int64_t version_ ABSL_GUARDED_BY(mutex_) = 0;
  bool anew_ ABSL_GUARDED_BY(mutex_) = true;
  // An attempt that failed is made again after a minute, not with each handshake.
  std::chrono::steady_clock::time_point not_before_ ABSL_GUARDED_BY(mutex_){};
};

}  // namespace fedglm
