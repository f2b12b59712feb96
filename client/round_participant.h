// What a site does for a round: train → update → privacy → outbox → wire, and wire → verify → evaluate → install.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "adapter/adapter.h"
#include "base/status.h"
#include "client/federation_client.h"
#include "client/identity.h"
#include "client/node_options.h"
#include "client/outbox.h"
#include "client/rules/acceptance.h"
#include "client/site_state.h"
#include "client/trainer_supervisor.h"

namespace fedglm {

// Everything it uses outlives it. From one thread.
struct ParticipantRooms {
  const NodeOptions& options;
  const SiteIdentity& identity;
  const std::string& base_sha256;
  FederationClient& aggregator;
  TrainerSupervisor& trainer;
  Outbox& outbox;
  std::function<absl::Status(const Adapter&)> fits;                     // whether the running engine could take it
  std::function<absl::Status(std::shared_ptr<const Adapter>)> install;  // into the running engine
  std::function<bool()> stopped;
};

// Every step may be interrupted at any instant and is done again with the same result.
class RoundParticipant {
 public:
  explicit RoundParticipant(ParticipantRooms rooms) : rooms_(std::move(rooms)) {}

  // The adapter that ran before the node was stopped, put into the engine again; what it is. None if what lies there
  // cannot be used: it is fetched again.
  InstalledRound Resume();

  // Trains from the round's adapter and puts the update into the outbox, unless it is there already; then sends it.
  absl::Status Train(const v1::TrainTask& task);

  // Sends what waits in the outbox. What the aggregator has decided on leaves it.
  absl::Status SendWaiting();

  // Verifies, evaluates on the site's own records, and swaps the adapter in. Failed, with everything as it was:
  // - if the adapter is not what the aggregator signed for this site, does not run here, or is worse here than the
  //   installed one by more than `max_regression`; it is declined, and the aggregator is told;
  // - if the site cannot evaluate it (its records are gone, its memory is short). That says nothing of the adapter: the
  //   aggregator is told that the evaluation failed, and to install it is worth a retry.
  absl::StatusOr<InstalledRound> Install(const v1::InstallTask& task);

  // What the aggregator is to know of it.
  const Standing& standing() const { return standing_; }

 private:
  // Failed, and the aggregator is told, if the adapter is not to be trusted: the one before goes on answering, and so
  // does the node, which asks again for what comes next.
  absl::StatusOr<Adapter> FetchVerified(const v1::ArtifactReference& reference, int64_t round);
  absl::Status CheckNotDeclined(const v1::ArtifactReference& reference, int64_t round) const;
  absl::Status Decline(const v1::ArtifactReference& reference, int64_t round, const absl::Status& reason,
                       bool trains_from_it = false);
  absl::Status MakeUpdateOf(const v1::TrainTask& task);
  // On the site's own records; nullptr: of the base alone. Errors are the site's own: the adapter fits the base.
  absl::StatusOr<MeasuredLoss> Evaluate(const Adapter* adapter, int64_t round);
  // What an adapter is compared with, on the records that gave this many tokens: with what answers now; with the base
  // alone if it is to undo that (it was rolled back to, or is of an aggregator that was put back from a copy).
  absl::StatusOr<MeasuredLoss> Baseline(const Adapter& candidate, int64_t round, int64_t tokens);
  void ReportLoss(int64_t round);  // a federation that does not hear of it goes on all the same
  absl::Status NotEvaluated(const v1::InstallTask& task, const absl::Status& reason);

  ParticipantRooms rooms_;
  Standing standing_;                       // a declined artifact is not looked at again
  std::shared_ptr<const Adapter> running_;  // in the engine; nullptr: the base alone
  int64_t running_round_ = -1;
  std::optional<MeasuredLoss> running_loss_, base_loss_;
  std::string measured_;  // the artifact whose loss was measured last, for when it is offered again
  MeasuredLoss measured_loss_;
  std::string not_evaluated_;  // the artifact of which the aggregator knows that it could not be evaluated here
};

// Refused if the signature, the weights' digest, the federation, the round or the base is not what it should be.
absl::Status VerifyAdapter(const Adapter& adapter, const SiteIdentity& identity, const std::string& base_sha256,
                           int64_t round);

}  // namespace fedglm
