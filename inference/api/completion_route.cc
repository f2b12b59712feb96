#include "base/digest.h"
#include "base/json.h"
#include "inference/api/completion_request.h"
#include "inference/api/generation.h"
#include "inference/api/output_grammar.h"
#include "inference/api/routes.h"

namespace fedglm {
namespace {

constexpr const char* kPath = "/v1/completions";

// What is put before the answers: the prompts' texts if they are to be echoed.
std::vector<std::string> Echoes(const CompletionRequest& request, const Tokenizer& tokenizer) {
  std::vector<std::string> echoes;
  for (const std::vector<Token>& prompt : request.prompts) {
    for (int i = 0; i < request.options.choices; ++i) echoes.push_back(request.echo ? tokenizer.Decode(prompt) : "");
  }
  return echoes;
}

void SendCompletionStream(ApiContext& context, const std::shared_ptr<Exchange>& exchange,
                          const AnswerIdentity& identity, const CompletionRequest& request,
                          std::shared_ptr<Generation> generation) {
  const auto chunk = [identity, usage = request.options.stream_usage](Json choice) {
    Json answer = TextAnswer(identity, Json::array({std::move(choice)}));
    if (usage) answer["usage"] = nullptr;
    return Event(answer);
  };
  const Tokenizer& tokenizer = context.engine.tokenizer();
  const size_t answers = request.prompts.size() * static_cast<size_t>(request.options.choices);
  auto offsets = std::make_shared<std::vector<size_t>>(answers);
  const auto event_text = [chunk, offsets, &tokenizer](const AnswerEvent& event) {
    Json logprobs;
    if (!event.scores.empty()) {
      size_t& offset = (*offsets)[static_cast<size_t>(event.choice)];
      logprobs = TextLogprobs(tokenizer, event.scores, offset);
      for (const ScoredToken& token : event.scores) offset += tokenizer.Piece(token.chosen.token, true).size();
    }
    const Json reason = event.end ? Json(std::string(FinishReasonName((*event.end)->reason))) : Json();
    return chunk(TextChoice(event.choice, event.text, logprobs, reason));
  };
  exchange->SendStream(
      200, "text/event-stream",
      [=, usage = request.options.stream_usage, echoes = Echoes(request, tokenizer)](const SendBytes& send) {
        bool sent = true;
        for (size_t i = 0; i < echoes.size() && sent; ++i) {
          if (!echoes[i].empty()) sent = send(chunk(TextChoice(static_cast<int>(i), echoes[i], Json(), Json())));
        }
        while (sent) {
          const absl::StatusOr<std::optional<AnswerEvent>> event = generation->Next();
          if (!event.ok()) return send(Event(ErrorJson(ToApiError(event.status())))) && send(kLastEvent);
          if (!*event) break;
          sent = send(event_text(**event));
        }
        exchange->facts.broken_off = !sent;
        if (!sent) return false;
        Json last = TextAnswer(identity, Json::array());
        last["usage"] = UsageJson(generation->usage());
        return (!usage || send(Event(last))) && send(kLastEvent);
      });
}

}  // namespace

void AnswerCompletion(ApiContext& context, const std::shared_ptr<Exchange>& exchange) {
  const absl::StatusOr<Json> body = ReadBody(*exchange);
  if (!body.ok()) return exchange->SendStatus(body.status());
  if (AnsweredByUpstreamModel(context, exchange, kPath, *body)) return;
  if (const absl::Status fits = CheckTextsFit(context, *body, "prompt"); !fits.ok()) return exchange->SendStatus(fits);
  const Tokenizer& tokenizer = context.engine.tokenizer();
  const absl::StatusOr<CompletionRequest> request = ParseCompletionRequest(*body, tokenizer);
  if (!request.ok()) return exchange->SendStatus(request.status());
  const absl::StatusOr<std::string> adapter = AdapterOfModel(context, request->options.model);
  if (!adapter.ok()) return exchange->SendStatus(adapter.status());
  exchange->facts.model = request->options.model.empty() ? context.options.model_name : request->options.model;
  int64_t prompt_tokens = 0;
  for (const std::vector<Token>& prompt : request->prompts) {
    const absl::Status fits = CheckPromptFits(context, static_cast<int64_t>(prompt.size()), "prompt");
    if (!fits.ok()) return exchange->SendStatus(fits);
    prompt_tokens += static_cast<int64_t>(prompt.size());
  }
  const absl::StatusOr<AnswerGrammar> grammar = OutputGrammar(request->options, {}, {});
  if (!grammar.ok()) return exchange->SendStatus(grammar.status());
  if (!TakePromptTokens(context, *exchange, prompt_tokens)) return;

  absl::StatusOr<std::unique_ptr<Generation>> generation = Generation::Start(
      context, *exchange, MakeGenerationRequests(context, request->options, *adapter, request->prompts, *grammar));
  if (!generation.ok()) return RefuseOrHandOver(context, exchange, generation.status(), kPath, *body);
  const AnswerIdentity identity = {"cmpl-" + Base64UrlEncode(SecureRandomBytes(18)), exchange->facts.model,
                                   UnixMilliseconds(Clock::System().Now()) / 1000};
  if (request->options.stream) {
    return SendCompletionStream(context, exchange, identity, *request, *std::move(generation));
  }
  const absl::StatusOr<std::vector<GenerationResult>> results = (*generation)->Collect();
  if (!results.ok()) return RefuseOrHandOver(context, exchange, results.status(), kPath, *body);
  const std::vector<std::string> echoes = Echoes(*request, tokenizer);
  Json choices = Json::array();
  for (size_t i = 0; i < results->size(); ++i) {
    const GenerationResult& result = (*results)[i];
    const Json logprobs = request->options.logprobs < 0 ? Json() : TextLogprobs(tokenizer, ScoredTokens(result), 0);
    choices.push_back(TextChoice(static_cast<int>(i), echoes[i] + result.text, logprobs,
                                 std::string(FinishReasonName(result.reason))));
  }
  Json answer = TextAnswer(identity, std::move(choices));
  answer["usage"] = UsageJson((*generation)->usage());
  exchange->SendJson(answer);
}

}  // namespace fedglm
