// The Federation service as a site sees it: calls over mutual TLS to the aggregator, transfers that go on where they
// stopped. The site always dials out.
#pragma once

#include <atomic>
#include <chrono>
#include <filesystem>
#include <memory>
#include <string>

#include "base/status.h"
#include "base/thread_annotations.h"
#include "client/identity.h"
#include "client/outbox.h"
#include "client/site_state.h"
#include "fedglm/v1/federation.grpc.pb.h"

namespace fedglm {

// Errors: Unreachable (worth a retry), Refused (revoked, expired, another base …), Cancelled after Cancel(), Failed if
// what the aggregator sends makes no sense. Thread-safe for Cancel(); the rest from one thread.
class FederationClient {
 public:
  // `artifacts`: a folder for downloads, finished and broken off. Does not dial yet.
  FederationClient(const SiteIdentity& identity, std::filesystem::path artifacts);
  ~FederationClient();

  // From the next call on over a new connection, which shows the new certificate.
  void Adopt(const SiteIdentity& identity);

  // Until there is a connection, or Cancel(), at most so long; whether there is one. gRPC connects only while somebody
  // waits in it: without this a reconnection takes a step in five seconds, between which the calls that fail at once
  // leave it alone.
  bool AwaitConnection(std::chrono::milliseconds at_most);

  struct Position {
    InstalledRound installed;
    Standing standing;
    std::string base_sha256;
    int64_t training_records = 0;
  };
  // The aggregator answers at once if there is something to do, else when there is, at most after `max_wait`.
  absl::StatusOr<v1::Task> NextTask(const Position& position, std::chrono::milliseconds max_wait);

  // That the site is at the update of this round. Whether the aggregator still expects it.
  absl::StatusOr<bool> Heartbeat(int64_t round, int64_t step, int64_t steps);

  // The bytes of an artifact, its digest verified. What is in the folder is not fetched again, and what is there in
  // part is gone on with.
  absl::StatusOr<std::string> Download(const v1::ArtifactReference& reference);

  // Removes all other downloads.
  void ForgetArtifactsBut(const std::string& sha256);

  // How many bytes of an update the aggregator has.
  absl::StatusOr<uint64_t> ReceivedBytes(const std::string& update_id);
  // From there on. The receipt tells whether the update was accepted.
  absl::StatusOr<v1::UploadReceipt> Upload(const OutboxEntry& entry, std::string_view payload, uint64_t received);

  absl::Status ReportEvaluation(int64_t round, double loss, int64_t tokens);
  // That the site could not evaluate the adapter of this round, for a reason of its own. Why stays at the site.
  absl::Status ReportFailedEvaluation(int64_t round);
  // That the site does not use the adapter of this round. `reason` is ours: no path, nothing of a record.
  absl::Status ReportRejection(int64_t round, const std::string& sha256, const std::string& reason);

  // The site's next certificate, for the key that signed the request. Failed if the aggregator knows no renewal.
  absl::StatusOr<CertificatePem> RenewCertificate(const std::string& request_pem);

  // Ends the call that is going on, and all that follow.
  void Cancel();

 private:
  class Call;
  const std::string& address() const { return identity_.federation_address; }
  void Redial();
  bool Cancelled();
  absl::Status ToStatus(const grpc::Status& status);
  absl::Status Send(const v1::EvaluationReport& report);
  absl::Status Receive(const v1::ArtifactReference& reference, const std::filesystem::path& part);

  SiteIdentity identity_;
  const std::filesystem::path artifacts_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Federation::Stub> stub_;
  Mutex mutex_;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  Call* current_ ABSL_GUARDED_BY(mutex_) = nullptr;
};

}  // namespace fedglm
