#include "aggregator/peer_identity.h"
#include "aggregator/services.h"

namespace fedglm {
namespace {

class EnrolmentService : public v1::Enrolment::Service {
 public:
  explicit EnrolmentService(const ServiceRooms& rooms) : rooms_(rooms) {}

  grpc::Status Enrol(grpc::ServerContext*, const v1::EnrolRequest* request, v1::EnrolResponse* response) override {
    const absl::StatusOr<Enrolment::Membership> membership =
        rooms_.enrolment.Enrol(request->token_secret(), request->site_name(), request->certificate_request_pem());
    if (!membership.ok()) return ToGrpc(membership.status());
    response->set_site_id(membership->site_id);
    response->set_certificate_pem(membership->certificate_pem.text());
    response->set_ca_certificate_pem(rooms_.authority.certificate_pem().text());
    response->set_signing_public_key_pem(rooms_.authority.signing_public_pem().text());
    response->set_federation(rooms_.options.federation);
    response->set_federation_address(rooms_.federation_address);
    return grpc::Status::OK;
  }

 private:
  const ServiceRooms& rooms_;
};

}  // namespace

std::unique_ptr<v1::Enrolment::Service> MakeEnrolmentService(const ServiceRooms& rooms) {
  return std::make_unique<EnrolmentService>(rooms);
}

}  // namespace fedglm
