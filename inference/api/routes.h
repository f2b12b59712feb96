// The paths of the API. Each function answers one request; docs of the bodies are OpenAI's own, where it has them.
#pragma once

#include <memory>

#include "inference/api/api_context.h"

namespace fedglm {

// POST /v1/chat/completions, POST /v1/completions
void AnswerChat(ApiContext& context, const std::shared_ptr<Exchange>& exchange);
void AnswerCompletion(ApiContext& context, const std::shared_ptr<Exchange>& exchange);
// POST /v1/embeddings: the mean of the last hidden states, of length 1
void AnswerEmbeddings(ApiContext& context, const std::shared_ptr<Exchange>& exchange);
// GET /v1/models, /v1/models/NAME: the model, its adapters, and what upstreams have
void AnswerModels(ApiContext& context, const std::shared_ptr<Exchange>& exchange);
void AnswerModel(ApiContext& context, const std::shared_ptr<Exchange>& exchange);
// POST /tokenize {"content"|"prompt": TEXT | "messages": […], "add_special": true, "with_pieces": false}
// POST /detokenize {"tokens": […]}
void AnswerTokenize(ApiContext& context, const std::shared_ptr<Exchange>& exchange);
void AnswerDetokenize(ApiContext& context, const std::shared_ptr<Exchange>& exchange);

}  // namespace fedglm
