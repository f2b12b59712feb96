#include "base/digest.h"
#include "base/json.h"
#include "inference/api/chat_request.h"
#include "inference/api/generation.h"
#include "inference/api/output_grammar.h"
#include "inference/api/routes.h"

namespace fedglm {
namespace {

constexpr const char* kPath = "/v1/chat/completions";

// "length" says that a call is cut off; a whole one is a reason of its own.
std::string_view ReasonOf(const GenerationResult& result, bool is_call) {
  return is_call && result.reason == FinishReason::kStop ? "tool_calls" : FinishReasonName(result.reason);
}

Json WholeChoice(const ChatRequest& request, const Tokenizer& tokenizer, int index, const GenerationResult& result) {
  ToolCallSplitter splitter(request.tools);
  ToolCallSplitter::Shown shown = splitter.Push(result.text);
  shown.text += splitter.Finish().text;
  std::optional<ToolCall> call;
  if (splitter.is_call()) call = ToolCall{NewToolCallId(), splitter.name(), shown.arguments};
  const Json logprobs = request.options.logprobs < 0 ? Json() : ChatLogprobs(tokenizer, ScoredTokens(result));
  return ChatChoice(index, shown.text, call, ReasonOf(result, call.has_value()), logprobs);
}

// The chunks of one answer, choice by choice.
class ChatStream {
 public:
  ChatStream(const ApiContext& context, AnswerIdentity identity, const ChatRequest& request)
      : tokenizer_(context.engine.tokenizer()), identity_(std::move(identity)), options_(request.options) {
    for (int i = 0; i < options_.choices; ++i) choices_.push_back({ToolCallSplitter(request.tools), {}});
  }

  std::string Beginning() const {
    std::string events;
    for (int i = 0; i < options_.choices; ++i) {
      events += Chunk(i, {{"role", "assistant"}, {"content", ""}}, Json(), Json());
    }
    return events;
  }

  std::string Events(const AnswerEvent& event) {
    Choice& choice = choices_[static_cast<size_t>(event.choice)];
    choice.scores.insert(choice.scores.end(), event.scores.begin(), event.scores.end());
    std::string events = Show(event.choice, choice.splitter.Push(event.text));
    if (!event.end) return events;
    events += Show(event.choice, choice.splitter.Finish());
    const std::string reason(ReasonOf(**event.end, choice.splitter.is_call()));
    return events + Chunk(event.choice, Json::object(), TakeScores(event.choice), reason);
  }

  std::string Usage(const TokenUsage& usage) const {
    Json chunk = ChatAnswer(identity_, "chat.completion.chunk", Json::array());
    chunk["usage"] = UsageJson(usage);
    return Event(chunk);
  }

 private:
  struct Choice {
    ToolCallSplitter splitter;
    std::vector<ScoredToken> scores;  // of tokens whose text has not been shown yet
  };

  std::string Show(int index, const ToolCallSplitter::Shown& shown) {
    std::string events;
    if (!shown.text.empty()) events += Chunk(index, {{"content", shown.text}}, TakeScores(index), Json());
    if (shown.call_begins) {
      const std::string& name = choices_[static_cast<size_t>(index)].splitter.name();
      events += Chunk(index, ToolCallDelta(NewToolCallId(), name, ""), Json(), Json());
    }
    if (!shown.arguments.empty()) events += Chunk(index, ToolCallDelta("", "", shown.arguments), Json(), Json());
    return events;
  }

  // null if there are none.
  Json TakeScores(int index) {
    std::vector<ScoredToken> scores;
    scores.swap(choices_[static_cast<size_t>(index)].scores);
    return scores.empty() ? Json() : ChatLogprobs(tokenizer_, scores);
  }

  std::string Chunk(int index, Json delta, const Json& logprobs, const Json& reason) const {
    Json chunk = ChatAnswer(identity_, "chat.completion.chunk",
                            Json::array({ChatDelta(index, std::move(delta), logprobs, reason)}));
    if (options_.stream_usage) chunk["usage"] = nullptr;
    return Event(chunk);
  }

  const Tokenizer& tokenizer_;
  const AnswerIdentity identity_;
  const AnswerOptions options_;
  std::vector<Choice> choices_;
};

void SendChatStream(ApiContext& context, const std::shared_ptr<Exchange>& exchange, const AnswerIdentity& identity,
                    const ChatRequest& request, std::shared_ptr<Generation> generation) {
  auto stream = std::make_shared<ChatStream>(context, identity, request);
  exchange->SendStream(200, "text/event-stream", [=, usage = request.options.stream_usage](const SendBytes& send) {
    bool sent = send(stream->Beginning());
    while (sent) {
      const absl::StatusOr<std::optional<AnswerEvent>> event = generation->Next();
      if (!event.ok()) return send(Event(ErrorJson(ToApiError(event.status())))) && send(kLastEvent);
      if (!*event) break;
      sent = send(stream->Events(**event));
    }
    exchange->facts.broken_off = !sent;
    return sent && (!usage || send(stream->Usage(generation->usage()))) && send(kLastEvent);
  });
}

// Everything that can be wrong with a request, before the engine hears of it.
absl::StatusOr<std::vector<GenerationRequest>> Prepare(const ApiContext& context, const ChatRequest& request,
                                                       Exchange& exchange) {
  FEDGLM_ASSIGN_OR_RETURN(const std::string adapter, AdapterOfModel(context, request.options.model));
  for (const ChatMessage& message : request.messages) {
    FEDGLM_RETURN_IF_ERROR(CheckTextFits(context, message.content, "messages"));
  }
  FEDGLM_ASSIGN_OR_RETURN(const std::vector<Token> prompt,
                          RenderPrompt(request, context.engine.chat_template(), context.engine.tokenizer()));
  FEDGLM_RETURN_IF_ERROR(CheckPromptFits(context, static_cast<int64_t>(prompt.size()), "messages"));
  FEDGLM_ASSIGN_OR_RETURN(const AnswerGrammar grammar,
                          OutputGrammar(request.options, request.tools, request.tool_choice));
  exchange.facts.prompt_tokens = static_cast<int64_t>(prompt.size());
  return MakeGenerationRequests(context, request.options, adapter, {prompt}, grammar);
}

}  // namespace

void AnswerChat(ApiContext& context, const std::shared_ptr<Exchange>& exchange) {
  const absl::StatusOr<Json> body = ReadBody(*exchange);
  if (!body.ok()) return exchange->SendStatus(body.status());
  if (AnsweredByUpstreamModel(context, exchange, kPath, *body)) return;
  const absl::StatusOr<ChatRequest> request = ParseChatRequest(*body);
  if (!request.ok()) return exchange->SendStatus(request.status());
  exchange->facts.model = request->options.model.empty() ? context.options.model_name : request->options.model;
  absl::StatusOr<std::vector<GenerationRequest>> requests = Prepare(context, *request, *exchange);
  if (!requests.ok()) return exchange->SendStatus(requests.status());
  if (!TakePromptTokens(context, *exchange, exchange->facts.prompt_tokens)) return;

  absl::StatusOr<std::unique_ptr<Generation>> generation = Generation::Start(context, *exchange, *std::move(requests));
  if (!generation.ok()) return RefuseOrHandOver(context, exchange, generation.status(), kPath, *body);
  const AnswerIdentity identity = {"chatcmpl-" + Base64UrlEncode(SecureRandomBytes(18)), exchange->facts.model,
                                   UnixMilliseconds(Clock::System().Now()) / 1000};
  if (request->options.stream) return SendChatStream(context, exchange, identity, *request, *std::move(generation));
  const absl::StatusOr<std::vector<GenerationResult>> results = (*generation)->Collect();
  if (!results.ok()) return RefuseOrHandOver(context, exchange, results.status(), kPath, *body);
  Json choices = Json::array();
  for (size_t i = 0; i < results->size(); ++i) {
    choices.push_back(WholeChoice(*request, context.engine.tokenizer(), static_cast<int>(i), (*results)[i]));
  }
  Json answer = ChatAnswer(identity, "chat.completion", std::move(choices));
  answer["usage"] = UsageJson((*generation)->usage());
  exchange->SendJson(answer);
}

}  // namespace fedglm
