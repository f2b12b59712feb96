#include "inference/api/logprobs_json.h"
#include "base/json.h"

namespace fedglm {
namespace {

Json Entry(const Tokenizer& tokenizer, const TokenLogprob& scored) {
  const std::string piece = tokenizer.Piece(scored.token, true);
  Json bytes = Json::array();
  for (const char byte : piece) bytes.push_back(static_cast<unsigned char>(byte));
  return {{"token", piece}, {"logprob", scored.logprob}, {"bytes", std::move(bytes)}};
}

}  // namespace

Json ChatLogprobs(const Tokenizer& tokenizer, const std::vector<ScoredToken>& tokens) {
  Json content = Json::array();
  for (const ScoredToken& token : tokens) {
    Json entry = Entry(tokenizer, token.chosen);
    entry["top_logprobs"] = Json::array();
    for (const TokenLogprob& rival : token.top) entry["top_logprobs"].push_back(Entry(tokenizer, rival));
    content.push_back(std::move(entry));
  }
  return {{"content", std::move(content)}, {"refusal", nullptr}};
}

Json TextLogprobs(const Tokenizer& tokenizer, const std::vector<ScoredToken>& tokens, size_t offset) {
  Json texts = Json::array(), logprobs = Json::array(), top = Json::array(), offsets = Json::array();
  for (const ScoredToken& token : tokens) {
    const std::string piece = tokenizer.Piece(token.chosen.token, true);
    texts.push_back(piece);
    logprobs.push_back(token.chosen.logprob);
    offsets.push_back(offset);
    offset += piece.size();
    Json rivals = Json::object();
    for (const TokenLogprob& rival : token.top) rivals[tokenizer.Piece(rival.token, true)] = rival.logprob;
    top.push_back(std::move(rivals));
  }
  return {{"tokens", std::move(texts)},
          {"token_logprobs", std::move(logprobs)},
          {"top_logprobs", std::move(top)},
          {"text_offset", std::move(offsets)}};
}

std::vector<ScoredToken> ScoredTokens(const GenerationResult& result) {
  std::vector<ScoredToken> tokens;
  for (size_t i = 0; i < result.logprobs.size() && i < result.tokens.size(); ++i) {
    tokens.push_back({{result.tokens[i], result.logprobs[i]}, {}});
    if (i < result.top.size()) tokens.back().top = result.top[i];
  }
  return tokens;
}

}  // namespace fedglm
