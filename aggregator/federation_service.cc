#include "aggregator/services.h"

namespace fedglm {
namespace {

class FederationService : public v1::Federation::CallbackService {
 public:
  explicit FederationService(const ServiceRooms& rooms) : rooms_(rooms) {}

  grpc::ServerUnaryReactor* NextTask(grpc::CallbackServerContext* context, const v1::NextTaskRequest* request,
                                     v1::Task* task) override {
    return AnswerWithWork(rooms_, *context, *request, task);
  }
  grpc::ServerReadReactor<v1::UploadRequest>* UploadUpdate(grpc::CallbackServerContext* context,
                                                           v1::UploadReceipt* receipt) override {
    return ReceiveUpload(rooms_, *context, receipt);
  }
  grpc::ServerWriteReactor<v1::DownloadChunk>* DownloadArtifact(grpc::CallbackServerContext* context,
                                                                const v1::DownloadRequest* request) override {
    return SendArtifact(rooms_, *context, *request);
  }

  grpc::ServerUnaryReactor* Heartbeat(grpc::CallbackServerContext* context, const v1::HeartbeatRequest* request,
                                      v1::HeartbeatAck* ack) override {
    return Answer(*context, [this, request, ack](const std::string& site) -> absl::Status {
      FEDGLM_ASSIGN_OR_RETURN(const bool expected,
                              rooms_.rounds.Works(site, {request->round(), request->step(), request->steps()}));
      ack->set_expected(expected);
      return absl::OkStatus();
    });
  }

  grpc::ServerUnaryReactor* QueryUpload(grpc::CallbackServerContext* context, const v1::QueryUploadRequest* request,
                                        v1::UploadState* state) override {
    return Answer(*context, [this, request, state](const std::string& site) -> absl::Status {
      FEDGLM_ASSIGN_OR_RETURN(const std::optional<UpdateRow> update, rooms_.store.FindUpdate(request->update_id()));
      // Of an update that nobody knows of (an aggregator that was restored from a copy) there is nothing, and the
      // upload is answered with a refusal, which ends it for the site.
      const bool known = update && update->site_id == site;
      state->set_received_bytes(known ? rooms_.spool.Received(request->update_id()) : 0);
      return absl::OkStatus();
    });
  }

  grpc::ServerUnaryReactor* ReportEvaluation(grpc::CallbackServerContext* context, const v1::EvaluationReport* report,
                                             v1::EvaluationAck*) override {
    return Answer(*context, [this, report](const std::string& site) {
      if (report->failed()) return rooms_.rounds.ReportFailedEvaluation(site, report->round());
      return rooms_.rounds.ReportEvaluation(site, report->round(), {report->loss(), report->tokens()});
    });
  }

  grpc::ServerUnaryReactor* ReportRejection(grpc::CallbackServerContext* context, const v1::AdapterRejection* rejection,
                                            v1::RejectionAck*) override {
    return Answer(*context, [this, rejection](const std::string& site) {
      return rooms_.rounds.ReportRejection(site, rejection->round(), rejection->adapter_sha256(), rejection->reason());
    });
  }

  grpc::ServerUnaryReactor* RenewCertificate(grpc::CallbackServerContext* context, const v1::RenewalRequest* request,
                                             v1::Renewal* renewal) override {
    return Answer(*context, [this, request, renewal](const std::string& site) -> absl::Status {
      FEDGLM_ASSIGN_OR_RETURN(const CertificatePem next,
                              rooms_.enrolment.Renew(site, request->certificate_request_pem()));
      renewal->set_certificate_pem(next.text());
      return absl::OkStatus();
    });
  }

 private:
  // A short call: `body` with the site's name, as a task. It ends by itself.
  template <typename Body>
  grpc::ServerUnaryReactor* Answer(grpc::CallbackServerContext& context, Body body) {
    grpc::ServerUnaryReactor* const reactor = context.DefaultReactor();
    absl::StatusOr<Caller> caller = CallingSite(context, rooms_.store);
    absl::StatusOr<std::shared_ptr<OpenCall>> call =
        caller.ok() ? rooms_.calls.Begin(*std::move(caller), CallKind::kShort, [](const absl::Status&) {})
                    : caller.status();
    if (!call.ok()) {
      reactor->Finish(ToGrpc(call.status()));
      return reactor;
    }
    rooms_.tasks.Post([this, reactor, call = *call, body] {
      const std::string& site = call->caller().site_id;
      rooms_.rounds.Heard(site);
      reactor->Finish(ToGrpc(body(site)));
    });
    return reactor;
  }

  const ServiceRooms& rooms_;
};

}  // namespace

std::unique_ptr<v1::Federation::CallbackService> MakeFederationService(const ServiceRooms& rooms) {
  return std::make_unique<FederationService>(rooms);
}

}  // namespace fedglm
