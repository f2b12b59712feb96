#include <algorithm>
#include <charconv>

#include "aggregator/administration_reports.h"
#include "aggregator/peer_identity.h"
#include "aggregator/services.h"
#include "base/clock.h"
#include "base/tls.h"

namespace fedglm {
namespace {

constexpr int64_t kDay = 24 * 3600;
constexpr int64_t kMostRoundsInAPage = 1000;

// A page of rounds begins after the round that its token names.
absl::StatusOr<int64_t> ParsePageToken(const std::string& token) {
  int64_t round = 0;
  const char* const end = token.data() + token.size();
  const auto [parsed, error] = std::from_chars(token.data(), end, round);
  if (error != std::errc() || parsed != end) return UsageError("page_token is not one that this service gave");
  return round;
}

// A node asks again within a minute, or says so while it trains.
constexpr int64_t kPresentFor = 120;

int64_t SecondsSince(std::chrono::steady_clock::time_point time) {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now() - time).count();
}

class AdministrationService : public v1::Administration::Service {
 public:
  explicit AdministrationService(const ServiceRooms& rooms) : rooms_(rooms) {}

  grpc::Status GetStatus(grpc::ServerContext* context, const v1::GetStatusRequest*,
                         v1::FederationStatus* out) override {
    return Answer(*context, [&](const std::string&) -> absl::Status {
      const FederationSummary summary = rooms_.rounds.Summary();
      out->set_federation(rooms_.options.federation);
      out->set_state(summary.state);
      out->set_round(summary.round);
      out->set_rounds(rooms_.options.rounds);
      int64_t enrolled = 0;
      rooms_.store.VisitNodes([&](const NodeRow& node) { enrolled += node.revoked ? 0 : 1; });
      out->set_nodes_enrolled(enrolled);
      out->set_updates_received(summary.updates_received);
      out->set_updates_expected(summary.updates_expected);
      out->set_mode(std::string(UpdateFormName(rooms_.options.mode)));
      out->set_base_sha256(rooms_.rounds.base_sha256());
      out->set_adapter_sha256(summary.adapter_sha256);
      out->set_min_sites(rooms_.options.min_sites);
      const std::map<std::string, SitePresence> present = rooms_.rounds.Present();
      out->set_sites_present(std::count_if(present.begin(), present.end(), [](const auto& site) {
        return SecondsSince(site.second.heard) <= kPresentFor;
      }));
      for (const std::string& site : summary.missing) out->add_missing(site);
      out->set_deadline_unix_ms(summary.deadline_unix_ms);
      return absl::OkStatus();
    });
  }

  grpc::Status ListRounds(grpc::ServerContext* context, const v1::ListRoundsRequest* request,
                          v1::ListRoundsResponse* out) override {
    return Answer(*context, [&](const std::string&) -> absl::Status {
      int64_t after = request->after_round();
      if (!request->page_token().empty()) {
        FEDGLM_ASSIGN_OR_RETURN(after, ParsePageToken(request->page_token()));
      }
      const bool sized = request->page_size() > 0 && request->page_size() <= kMostRoundsInAPage;
      const int64_t size = sized ? request->page_size() : kMostRoundsInAPage;
      // One more than the page has: whether another page follows.
      FEDGLM_ASSIGN_OR_RETURN(std::vector<RoundRow> rounds, rooms_.store.RoundsAfter(after, size + 1));
      const bool more = static_cast<int64_t>(rounds.size()) > size;
      if (more) rounds.pop_back();
      for (const RoundRow& round : rounds) FEDGLM_RETURN_IF_ERROR(Describe(round, out->add_rounds()));
      if (more) out->set_next_page_token(std::to_string(rounds.back().round));
      return absl::OkStatus();
    });
  }

  grpc::Status ListNodes(grpc::ServerContext* context, const v1::ListNodesRequest*,
                         v1::ListNodesResponse* out) override {
    return Answer(*context, [&](const std::string&) -> absl::Status {
      const std::map<std::string, SitePresence> present = rooms_.rounds.Present();
      const std::string latest = rooms_.rounds.Summary().adapter_sha256;
      for (const NodeRow& node : rooms_.store.Nodes()) {
        v1::NodeSummary* const summary = out->add_nodes();
        summary->set_site_id(node.site_id);
        summary->set_state(node.revoked ? "revoked" : "enrolled");
        summary->set_last_seen_unix_ms(node.last_seen_unix_ms);
        summary->set_training_records(node.training_records);
        summary->set_installed_round(node.installed_round);
        summary->set_bytes_received(static_cast<uint64_t>(node.bytes_received));
        summary->set_certificate_serial(node.serial);
        if (const auto facts = DescribeCertificate(node.certificate_pem); facts.ok()) {
          summary->set_certificate_ends_unix_ms(UnixMilliseconds(facts->not_after));
        }
        const auto site = present.find(node.site_id);
        summary->set_asked_seconds_ago(
            site == present.end() || !site->second.asked ? -1 : SecondsSince(*site->second.asked));
        summary->set_heard_seconds_ago(site == present.end() ? -1 : SecondsSince(site->second.heard));
        if (site == present.end()) continue;
        const SitePosition& position = site->second.position;
        summary->set_setback(position.setback);
        summary->set_declines(position.declined_sha256 == latest);
        summary->set_version(position.version);
        if (const SiteJob& job = site->second.job; job.round > 0) {
          summary->set_doing("trains (round " + std::to_string(job.round) + ", step " + std::to_string(job.step) +
                             " of " + std::to_string(job.steps) + ")");
        }
      }
      return absl::OkStatus();
    });
  }

  grpc::Status CreateToken(grpc::ServerContext* context, const v1::CreateTokenRequest* request,
                           v1::CreateTokenResponse* out) override {
    return Answer(*context, [&](const std::string& administrator) -> absl::Status {
      if (!rooms_.started) return UnreachableError("the aggregator is still starting");
      const int64_t lifetime = request->lifetime_seconds() > 0 ? request->lifetime_seconds() : kDay;
      FEDGLM_ASSIGN_OR_RETURN(
          *out->mutable_token(),
          rooms_.enrolment.CreateToken(request->site_name(), std::chrono::seconds(std::min(lifetime, 365 * kDay)),
                                       rooms_.enrolment_address, administrator));
      return absl::OkStatus();
    });
  }

  grpc::Status RevokeNode(grpc::ServerContext* context, const v1::RevokeNodeRequest* request,
                          v1::RevokeNodeResponse*) override {
    return Answer(*context, [&](const std::string& administrator) {
      return rooms_.rounds.Revoke(request->site_id(), request->reason(), administrator);
    });
  }

  grpc::Status RollBack(grpc::ServerContext* context, const v1::RollBackRequest* request,
                        v1::RollBackResponse*) override {
    return Answer(*context, [&](const std::string& administrator) {
      return rooms_.rounds.RollBack(request->round(), request->reason(), administrator);
    });
  }

  grpc::Status GiveOrder(grpc::ServerContext* context, const v1::GiveOrderRequest* request,
                         v1::GiveOrderResponse*) override {
    return Answer(*context, [&](const std::string& administrator) -> absl::Status {
      switch (request->order()) {
        case v1::GiveOrderRequest::CLOSE:
          return rooms_.rounds.CloseNow(request->reason(), administrator);
        case v1::GiveOrderRequest::ABORT:
          return rooms_.rounds.Abort(request->reason(), administrator);
        case v1::GiveOrderRequest::SKIP:
          return rooms_.rounds.Skip(request->site_id(), request->reason(), administrator);
        case v1::GiveOrderRequest::PAUSE:
        case v1::GiveOrderRequest::RESUME:
          return rooms_.rounds.SetPaused(request->order() == v1::GiveOrderRequest::PAUSE, request->reason(),
                                         administrator);
        default:
          return UsageError("an order that this aggregator does not know");
      }
    });
  }

  grpc::Status ListAudit(grpc::ServerContext* context, const v1::ListAuditRequest* request,
                         v1::ListAuditResponse* out) override {
    return Answer(*context, [&](const std::string&) { return fedglm::ListAudit(rooms_.store, *request, out); });
  }

  grpc::Status ListLosses(grpc::ServerContext* context, const v1::ListLossesRequest* request,
                          v1::ListLossesResponse* out) override {
    return Answer(*context, [&](const std::string&) { return fedglm::ListLosses(rooms_.store, *request, out); });
  }

  grpc::Status ExportAdapter(grpc::ServerContext* context, const v1::ExportAdapterRequest* request,
                             grpc::ServerWriter<v1::ExportAdapterChunk>* writer) override {
    return Answer(*context, [&](const std::string&) {
      return fedglm::ExportAdapter(rooms_.store, rooms_.artifacts, *request,
                                   [&](const v1::ExportAdapterChunk& chunk) -> absl::Status {
                                     if (!writer->Write(chunk)) return CancelledError("the transfer was broken off");
                                     return CallingAdministrator(*context).status();
                                   });
    });
  }

 private:
  template <typename Body>
  grpc::Status Answer(const grpc::ServerContext& context, Body body) {
    const absl::StatusOr<std::string> administrator = CallingAdministrator(context);
    return ToGrpc(administrator.ok() ? body(*administrator) : administrator.status());
  }

  absl::Status Describe(const RoundRow& round, v1::RoundSummary* out) {
    FEDGLM_ASSIGN_OR_RETURN(const std::vector<UpdateRow> updates, rooms_.store.UpdatesOf(round.round));
    FEDGLM_ASSIGN_OR_RETURN(const std::vector<EvaluationRow> evaluations, rooms_.store.EvaluationsOf(round.round));
    out->set_round(round.round);
    out->set_state(round.state == RoundState::kDone ? "done" : "open");
    out->set_cohort(static_cast<int64_t>(updates.size()));
    int64_t accepted = 0, refused = 0, examples = 0, bytes = 0;
    std::vector<SiteLoss> training, held_out;
    for (const UpdateRow& update : updates) {
      bytes += update.bytes;
      if (update.state == UpdateState::kRefused) ++refused;
      if (update.state != UpdateState::kAccepted) continue;
      ++accepted;
      examples += update.examples;
      training.push_back({update.training_loss, update.examples});
    }
    out->set_accepted(accepted);
    out->set_refused(refused);
    out->set_examples(examples);
    out->set_bytes_received(static_cast<uint64_t>(bytes));
    const double share = rooms_.options.bounds.weight_share;
    out->set_mean_training_loss(MeanLoss(training, share));
    out->set_truncation_error(round.truncation_error);
    out->set_started_unix_ms(round.started_unix_ms);
    out->set_ended_unix_ms(round.ended_unix_ms);
    out->set_adapter_sha256(round.adapter_out);
    for (const EvaluationRow& evaluation : evaluations) held_out.push_back({evaluation.loss, evaluation.tokens});
    out->set_mean_evaluation_loss(MeanLoss(held_out, share));
    out->set_evaluations(static_cast<int64_t>(held_out.size()));
    return absl::OkStatus();
  }

  const ServiceRooms& rooms_;
};

}  // namespace

std::unique_ptr<v1::Administration::Service> MakeAdministrationService(const ServiceRooms& rooms) {
  return std::make_unique<AdministrationService>(rooms);
}

}  // namespace fedglm
