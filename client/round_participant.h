// What a site does for a round: train → update → privacy → outbox → wire, and wire → verify → evaluate → install.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "adapter/adapter.h"
#include "base/status.h"
#include "client/federation_client.h"
#include "client/identity.h"
#include "client/node_options.h"
#include "client/outbox.h"
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

  // Verifies, evaluates on the site's own held-out records, and swaps the adapter in. Failed, with everything as it
  // was:
  // - if the adapter is not what the aggregator signed for this site, or does not run here; this adapter is rejected,
  // and
  //   the aggregator is told;
  // - if the site cannot evaluate it (its records are gone, its memory is short). That says nothing of the adapter: the
  //   aggregator is told that the evaluation failed, and to install it is worth a retry.
  absl::StatusOr<InstalledRound> Install(const v1::InstallTask& task);

 private:
  // Failed, and the aggregator is told, if the adapter is not to be trusted: the one before goes on answering, and so
  // does the node, which asks again for what comes next.
  absl::StatusOr<Adapter> FetchVerified(const v1::ArtifactReference& reference, int64_t round);
  absl::Status Reject(const v1::ArtifactReference& reference, int64_t round, const absl::Status& reason);
  absl::Status MakeUpdateOf(const v1::TrainTask& task);
  // The "evaluated" event of the held-out records. Its errors are the site's own: the adapter fits the base.
  absl::StatusOr<TrainerEvent> Evaluate(const Adapter& adapter);
  absl::Status NotEvaluated(const v1::InstallTask& task, const absl::Status& reason);

  ParticipantRooms rooms_;
  std::string rejected_;       // the artifact last rejected: it is not looked at again
  std::string not_evaluated_;  // the artifact of which the aggregator knows that it could not be evaluated here
};

// Refused if the signature, the weights' digest, the federation, the round or the base is not what it should be.
absl::Status VerifyAdapter(const Adapter& adapter, const SiteIdentity& identity, const std::string& base_sha256,
                           int64_t round);

}  // namespace fedglm
