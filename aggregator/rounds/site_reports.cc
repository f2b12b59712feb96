#include "aggregator/rounds/site_reports.h"

#include "base/log.h"
#include "base/utf8.h"

namespace fedglm {
namespace {

constexpr size_t kMaxDetail = 300;  // what a site says must not fill the log, or look like a line of it

absl::Status CheckRound(int64_t round, int64_t latest) {
  return round < 0 || round > latest ? RefusedError("no such round") : absl::OkStatus();
}

}  // namespace

absl::StatusOr<bool> SiteReports::IsNews(LastRounds& said, const std::string& site_id, int64_t round, int64_t latest) {
  FEDGLM_RETURN_IF_ERROR(CheckRound(round, latest));
  const auto [last, first] = said.try_emplace(site_id, round);
  const bool news = first || round > last->second;
  if (news) last->second = round;
  return news;
}

absl::Status SiteReports::Audit(const std::string& site_id, const std::string& action, const std::string& detail) {
  return store_.AddAudit(UnixMilliseconds(clock_.Now()), site_id, action, site_id, detail);
}

absl::Status SiteReports::Evaluation(const std::string& site_id, int64_t round, int64_t latest,
                                     const SiteLoss& report) {
  if (const std::string fault = FaultOf(report); !fault.empty()) return RefusedError(fault);
  FEDGLM_RETURN_IF_ERROR(CheckRound(round, latest));
  FEDGLM_ASSIGN_OR_RETURN(const EvaluationRow counted,
                          store_.PutEvaluation({round, site_id, report.loss, report.tokens}));
  if (counted.loss == report.loss && counted.tokens == report.tokens) return absl::OkStatus();
  FEDGLM_ASSIGN_OR_RETURN(const bool news, IsNews(changed_, site_id, round, latest));
  if (!news) return absl::OkStatus();
  const std::string detail = "round " + std::to_string(round) + ": a loss of " + std::to_string(counted.loss) +
                             " counts, which was reported first, not " + std::to_string(report.loss);
  LogWarning(site_id + ": " + detail);
  return Audit(site_id, "evaluation repeated", detail);
}

absl::Status SiteReports::FailedEvaluation(const std::string& site_id, int64_t round, int64_t latest) {
  FEDGLM_ASSIGN_OR_RETURN(const bool news, IsNews(failed_, site_id, round, latest));
  if (!news) return absl::OkStatus();
  const std::string detail =
      "round " + std::to_string(round) + ": the site could not evaluate the adapter, and uses the one before";
  LogWarning(site_id + ": " + detail);
  return Audit(site_id, "evaluation failed", detail);
}

absl::Status SiteReports::Rejection(const std::string& site_id, int64_t round, int64_t latest,
                                    const std::string& adapter_sha256, const std::string& reason) {
  FEDGLM_ASSIGN_OR_RETURN(const bool news, IsNews(rejections_, site_id, round, latest));
  if (!news) return absl::OkStatus();
  const std::string detail = OneLine(
      "round " + std::to_string(round) + ", adapter " + adapter_sha256.substr(0, 12) + ": " + reason, kMaxDetail);
  LogError(site_id + " does not use an adapter: " + detail);
  return Audit(site_id, "adapter rejected", detail);
}

}  // namespace fedglm
