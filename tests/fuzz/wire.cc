// The proto messages, and the readers that their fields are given to at the aggregator and at a site.
#include <google/protobuf/stubs/logging.h>

#include <string>

#include "adapter/adapter.h"
#include "adapter/tensors.h"
#include "adapter/training_plan.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/tls.h"
#include "fedglm/v1/administration.pb.h"
#include "fedglm/v1/enrolment.pb.h"
#include "fedglm/v1/federation.pb.h"
#include "tests/fuzz/fuzz_targets.h"

namespace fedglm::fuzz {
namespace {

struct Authority {
  TlsKeyPem key;
  CaCertificatePem certificate;
};

const Authority& TestAuthority() {
  static const Authority authority = [] {
    const auto now = std::chrono::system_clock::now();
    Authority made;
    made.key = *GenerateTlsKey();
    made.certificate = *MakeCaCertificate(made.key, "fuzz", now, std::chrono::hours(24));
    return made;
  }();
  return authority;
}

const Adapter& GlobalAdapter() {
  static const Adapter adapter = MakeSeededAdapter(
      {.rank = 2}, {{"model.layers.0.self_attn.q_proj", 4, 4}, {"model.layers.0.mlp.down_proj", 8, 4}}, 1);
  return adapter;
}

// The update's bytes, as the round machine looks at them.
void ReadUpload(const v1::UploadRequest& request) {
  const auto mode = ParseUpdateForm(request.header().mode());
  const auto update = ParseTensors(request.chunk());
  if (!WasRead(update.status(), ExitCode::kBadInputFile)) return;
  for (const auto as : {UpdateForm::kChangeOfB, UpdateForm::kChangeOfFactors, UpdateForm::kFactors,
                        UpdateForm::kGradientOfB, mode.value_or(UpdateForm::kChangeOfB)}) {
    if (!WasRead(CheckUpdate(*update, GlobalAdapter(), as), ExitCode::kRefused)) continue;
    TensorMap sum = TensorsOf(GlobalAdapter(), as);
    Require(AddScaled(0.5, *update, sum).ok(), "an update that passed the check can be added");
  }
}

void ReadEnrolment(const v1::EnrolRequest& request) {
  CertificateTerms terms;
  terms.common_name = "north";
  terms.not_before = std::chrono::system_clock::now();
  terms.not_after = terms.not_before + std::chrono::hours(1);
  const auto certificate =
      IssueCertificate(TestAuthority().key, TestAuthority().certificate, request.certificate_request_pem(), terms);
  if (!certificate.ok()) return;
  const auto facts = DescribeCertificate(*certificate);
  Require(facts.ok() && facts->common_name == "north", "a certificate names the site that the terms name");
}

void ReadMembership(const v1::EnrolResponse& response) {
  (void)DescribeCertificate(CertificatePem(response.certificate_pem()));
  (void)CheckIssuedBy(CertificatePem(response.certificate_pem()), CaCertificatePem(response.ca_certificate_pem()));
  (void)VerifySignature(PublicKeyPem(response.signing_public_key_pem()), "bytes", std::string(64, 'x'));
}

void ReadTrainTask(const v1::TrainTask& task) {
  (void)ParseUpdateForm(task.mode());
  const auto plan = ParseTrainingPlan(task.plan());
  if (!WasRead(plan.status(), ExitCode::kUsage)) return;
  const std::string sent = DumpJson(ToJson(*plan));
  const auto again = ParseTrainingPlan(sent);
  Require(again.ok() && DumpJson(ToJson(*again)) == sent, "a plan that was read is sent and read again");
}

template <typename Message>
Message Read(std::string_view input) {
  Message message;
  if (message.ParseFromArray(input.data(), static_cast<int>(input.size()))) {
    Message again;
    Require(again.ParseFromString(message.SerializeAsString()), "a message that was read is written and read again");
  }
  return message;
}

}  // namespace

// The first byte: which message.
void Wire(std::string_view input) {
  static const auto quiet = google::protobuf::SetLogHandler(nullptr);  // it complains of text that is not UTF-8
  (void)quiet;
  switch (TakeByte(input) % 8) {
    case 0:
      return ReadUpload(Read<v1::UploadRequest>(input));
    case 1:
      return ReadEnrolment(Read<v1::EnrolRequest>(input));
    case 2:
      return ReadMembership(Read<v1::EnrolResponse>(input));
    case 3:
      return (void)WasRead(ParseAdapter(Read<v1::DownloadChunk>(input).data()).status(), ExitCode::kBadInputFile);
    case 4:
      return (void)Read<v1::NextTaskRequest>(input);
    case 5:
      return ReadTrainTask(Read<v1::Task>(input).train());
    case 6:
      return (void)Read<v1::ListRoundsResponse>(input);
    default:
      break;
  }
  // An enrolment token's text.
  const auto decoded = Base64UrlDecode(input);
  if (decoded.ok()) Require(Base64UrlDecode(Base64UrlEncode(*decoded)).value() == *decoded, "base64 there and back");
}

}  // namespace fedglm::fuzz
