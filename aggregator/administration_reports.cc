#include "aggregator/administration_reports.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <fstream>
#include <vector>

#include "aggregator/rounds/founding.h"

namespace fedglm {
namespace {

constexpr int64_t kMostLosses = 10000;
constexpr int64_t kMostAuditEntries = 10000;
// Below what a client takes (client/administration_client.cc), however long the entries are.
constexpr size_t kAuditPageBytes = 8 << 20;
constexpr size_t kChunkBytes = 1 << 20;

// "ROUND/SITE": the last one of the page before.
struct LossesPosition {
  int64_t round = -1;
  std::string site_id;
};
absl::StatusOr<LossesPosition> ParseLossesToken(const std::string& token) {
  LossesPosition position;
  const char* const end = token.data() + token.size();
  const auto [parsed, error] = std::from_chars(token.data(), end, position.round);
  if (error != std::errc() || parsed == end || *parsed != '/') {
    return UsageError("page_token is not one that this service gave");
  }
  position.site_id.assign(parsed + 1, end);
  return position;
}

struct PublishedAdapter {
  int64_t round = 0;
  std::string sha256;
};
absl::StatusOr<PublishedAdapter> AdapterOf(Store& store, const v1::ExportAdapterRequest& request) {
  PublishedAdapter adapter = {request.round(), ""};
  if (!request.has_round()) {
    FEDGLM_ASSIGN_OR_RETURN(const std::optional<RoundRow> last, store.LastRound());
    if (last) adapter.round = last->state == RoundState::kDone ? last->round : last->round - 1;
  }
  FEDGLM_ASSIGN_OR_RETURN(adapter.sha256, AdapterOfRound(store, adapter.round));
  return adapter;
}

void Write(const AuditCheckpoint& checkpoint, v1::AuditCheckpoint* out) {
  out->set_id(checkpoint.id);
  out->set_hash(checkpoint.hash);
  out->set_signature(checkpoint.signature);
}

}  // namespace

absl::Status ListLosses(Store& store, const v1::ListLossesRequest& request, v1::ListLossesResponse* out) {
  LossesPosition after;
  if (request.has_round()) after.round = std::max<int64_t>(request.round(), 0);
  if (!request.page_token().empty()) {
    FEDGLM_ASSIGN_OR_RETURN(after, ParseLossesToken(request.page_token()));
  }
  const int64_t last_round = request.has_round() ? request.round() : INT64_MAX;
  const bool sized = request.page_size() > 0 && request.page_size() <= kMostLosses;
  const int64_t size = sized ? request.page_size() : kMostLosses;
  // One more than the page has: whether another page follows.
  FEDGLM_ASSIGN_OR_RETURN(std::vector<SiteRoundRow> rows,
                          store.SiteRoundsAfter(after.round, after.site_id, last_round, size + 1));
  const bool more = static_cast<int64_t>(rows.size()) > size;
  if (more) rows.pop_back();
  for (const SiteRoundRow& row : rows) {
    v1::SiteLosses* const losses = out->add_losses();
    losses->set_round(row.round);
    losses->set_site_id(row.site_id);
    losses->set_examples(row.examples);
    losses->set_tokens(row.tokens);
    if (row.training_loss) losses->set_training_loss(*row.training_loss);
    if (row.held_out_loss) losses->set_evaluation_loss(*row.held_out_loss);
  }
  if (more) out->set_next_page_token(std::to_string(rows.back().round) + "/" + rows.back().site_id);
  return absl::OkStatus();
}

absl::Status ListAudit(Store& store, const v1::ListAuditRequest& request, v1::ListAuditResponse* out) {
  const int64_t after_id = request.after_id();
  const int64_t limit = request.limit() > 0 ? std::min<int64_t>(request.limit(), kMostAuditEntries) : 100;
  // Before the entries: a checkpoint that is newer than the last of them would else look like a log that is cut off.
  FEDGLM_ASSIGN_OR_RETURN(const std::optional<AuditCheckpoint> newest, store.NewestAuditCheckpoint());
  if (newest) Write(*newest, out->mutable_newest_checkpoint());
  FEDGLM_ASSIGN_OR_RETURN(const std::vector<AuditRow> entries, store.Audit(after_id, limit, request.newest()));
  size_t bytes = 0;
  for (const AuditRow& entry : entries) {
    v1::AuditEntry* const e = out->add_entries();
    e->set_id(entry.id);
    e->set_unix_ms(entry.unix_ms);
    e->set_actor(entry.actor);
    e->set_action(entry.action);
    e->set_subject(entry.subject);
    e->set_detail(entry.detail);
    e->set_hash(entry.hash);
    bytes += e->ByteSizeLong();
    if (!request.newest() && bytes > kAuditPageBytes) break;  // the rest is the next page
  }
  if (out->entries().empty()) return absl::OkStatus();
  FEDGLM_ASSIGN_OR_RETURN(const std::vector<AuditCheckpoint> checkpoints,
                          store.AuditCheckpoints(out->entries().begin()->id(), out->entries().rbegin()->id()));
  for (const AuditCheckpoint& checkpoint : checkpoints) Write(checkpoint, out->add_checkpoints());
  return absl::OkStatus();
}

absl::Status ExportAdapter(Store& store, const Artifacts& artifacts, const v1::ExportAdapterRequest& request,
                           const std::function<absl::Status(const v1::ExportAdapterChunk&)>& send) {
  FEDGLM_ASSIGN_OR_RETURN(const PublishedAdapter adapter, AdapterOf(store, request));
  FEDGLM_ASSIGN_OR_RETURN(const std::filesystem::path path, artifacts.Find(adapter.sha256));
  FEDGLM_ASSIGN_OR_RETURN(const uint64_t bytes, artifacts.Bytes(adapter.sha256));
  v1::ExportAdapterChunk message;
  message.mutable_header()->set_round(adapter.round);
  message.mutable_header()->set_sha256(adapter.sha256);
  message.mutable_header()->set_bytes(bytes);
  FEDGLM_RETURN_IF_ERROR(send(message));
  std::ifstream file(path, std::ios::binary);
  std::string chunk(kChunkBytes, '\0');
  while (file.read(chunk.data(), static_cast<std::streamsize>(chunk.size())), file.gcount() > 0) {
    message.set_data(chunk.data(), static_cast<size_t>(file.gcount()));
    FEDGLM_RETURN_IF_ERROR(send(message));
  }
  return file.bad() || !file.eof() ? FailedError("the artifact cannot be read") : absl::OkStatus();
}

}  // namespace fedglm
