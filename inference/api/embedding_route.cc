#include <bit>
#include <cstring>

#include "base/json.h"
#include "inference/api/completion_request.h"
#include "inference/api/request_fields.h"
#include "inference/api/routes.h"

namespace fedglm {
namespace {

constexpr const char* kPath = "/v1/embeddings";
constexpr size_t kMaxInputs = 128;

static_assert(std::endian::native == std::endian::little, "base64 embeddings are little-endian float32");

// RFC 4648 with padding, which OpenAI's clients expect.
std::string Base64(std::string_view bytes) {
  static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t group = 0;
    for (size_t j = i; j < i + 3; ++j)
      group = group << 8 | (j < bytes.size() ? static_cast<unsigned char>(bytes[j]) : 0);
    for (size_t j = 0; j < 4; ++j) text += i + j > bytes.size() ? '=' : kDigits[group >> (18 - 6 * j) & 63];
  }
  return text;
}

struct EmbeddingRequest {
  std::string model;
  std::vector<std::vector<Token>> inputs;
  bool base64 = false;
};

absl::StatusOr<EmbeddingRequest> Parse(const ApiContext& context, const Json& body) {
  EmbeddingRequest request;
  FEDGLM_ASSIGN_OR_RETURN(request.model, ReadText(body, "model", kMaxNameBytes));
  FEDGLM_ASSIGN_OR_RETURN(const std::string format, ReadText(body, "encoding_format", kMaxNameBytes));
  if (!format.empty() && format != "float" && format != "base64") return MustBe("encoding_format", "float or base64");
  request.base64 = format == "base64";
  const int64_t hidden = context.engine.hyperparameters().hidden;
  FEDGLM_ASSIGN_OR_RETURN(const int64_t dimensions, ReadCount(body, "dimensions", hidden, 1, INT32_MAX));
  if (dimensions != hidden) return MustBe("dimensions", std::to_string(hidden) + ", the width of this model");
  FEDGLM_RETURN_IF_ERROR(CheckTextsFit(context, body, "input"));
  FEDGLM_ASSIGN_OR_RETURN(request.inputs, ReadTokenLists(body, "input", context.engine.tokenizer(), kMaxInputs));
  for (const std::vector<Token>& input : request.inputs) {
    FEDGLM_RETURN_IF_ERROR(CheckPromptFits(context, static_cast<int64_t>(input.size()), "input"));
  }
  return request;
}

}  // namespace

void AnswerEmbeddings(ApiContext& context, const std::shared_ptr<Exchange>& exchange) {
  const absl::StatusOr<Json> body = ReadBody(*exchange);
  if (!body.ok()) return exchange->SendStatus(body.status());
  if (AnsweredByUpstreamModel(context, exchange, kPath, *body)) return;
  const absl::StatusOr<EmbeddingRequest> request = Parse(context, *body);
  if (!request.ok()) return exchange->SendStatus(request.status());
  const absl::StatusOr<std::string> adapter = AdapterOfModel(context, request->model);
  if (!adapter.ok()) return exchange->SendStatus(adapter.status());
  exchange->facts.model = request->model.empty() ? context.options.model_name : request->model;
  int64_t tokens = 0;
  for (const std::vector<Token>& input : request->inputs) tokens += static_cast<int64_t>(input.size());
  if (!TakePromptTokens(context, *exchange, tokens)) return;

  const auto late = [&] { return exchange->TimeIsUp(context.options.request_seconds); };
  const auto embeddings =
      context.engine.Embed(request->inputs, *adapter, [&] { return !late() && !exchange->Abandoned(); });
  if (absl::IsCancelled(embeddings.status()) && late() && !exchange->Abandoned()) {
    return exchange->SendStatus(absl::DeadlineExceededError("the embeddings took too long"));
  }
  if (!embeddings.ok()) return RefuseOrHandOver(context, exchange, embeddings.status(), kPath, *body);
  Json data = Json::array();
  for (const std::vector<float>& embedding : *embeddings) {
    const std::string_view bytes(reinterpret_cast<const char*>(embedding.data()), embedding.size() * sizeof(float));
    data.push_back({{"object", "embedding"},
                    {"index", data.size()},
                    {"embedding", request->base64 ? Json(Base64(bytes)) : Json(embedding)}});
  }
  exchange->SendJson({{"object", "list"},
                      {"data", std::move(data)},
                      {"model", exchange->facts.model},
                      {"usage", {{"prompt_tokens", tokens}, {"total_tokens", tokens}}}});
}

}  // namespace fedglm
