// Answers as the worst of models would write them: tokens taken at random among those that a grammar allows.
#pragma once

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "inference/gguf/gguf_file.h"
#include "inference/grammar/grammar.h"
#include "tests/support/source_tree.h"

namespace fedglm {

// A real vocabulary: the first of these files that is there. "ggml-vocab-llama-spm.gguf" always is.
inline std::shared_ptr<const Tokenizer> RealTokenizer(const std::string& name = "ggml-vocab-llama-spm.gguf") {
  const char* const golden = std::getenv("FEDGLM_GOLDEN");
  const std::filesystem::path source = SourceFolder();
  for (const std::filesystem::path& folder :
       {source / "tests/data", golden != nullptr ? std::filesystem::path(golden) : source / "../shared/data"}) {
    const auto path = folder / "tokenizers" / name;
    if (!std::filesystem::exists(path)) continue;
    const auto file = GgufFile::Open(path);
    if (!file.ok()) continue;
    const auto tokenizer = Tokenizer::FromGguf(**file);
    if (tokenizer.ok()) return *tokenizer;
  }
  return nullptr;
}

struct RandomAnswer {
  std::string text;
  bool ended = false;  // with a token that ends generation
  int tokens = 0;
};

// After `patience` tokens half of the choices are the best closing one (an end, then the bytes in `closing_order`, the
// best last), since by chance alone nothing would ever end; by closing alone neither, where something else is missing
// first.
inline RandomAnswer WriteRandomAnswer(std::shared_ptr<const Grammar> grammar, std::shared_ptr<const TokenTrie> trie,
                                      const Tokenizer& tokenizer, std::mt19937_64& random, int patience = 40,
                                      std::string_view closing_order = "}]\"") {
  const std::shared_ptr<TokenConstraint> constraint = MakeConstraint(std::move(grammar), std::move(trie));
  std::vector<float> logits(static_cast<size_t>(tokenizer.size()));
  std::vector<Token> allowed, single_bytes;
  RandomAnswer answer;
  for (; answer.tokens < 5000; ++answer.tokens) {
    std::fill(logits.begin(), logits.end(), 0.0f);
    constraint->Mask(logits);
    allowed.clear();
    single_bytes.clear();
    Token closing = -1;
    size_t best = 0;
    for (Token token = 0; token < tokenizer.size(); ++token) {
      if (std::isinf(logits[static_cast<size_t>(token)])) continue;
      allowed.push_back(token);
      const bool ends = tokenizer.EndsGeneration(token);
      EXPECT_TRUE(ends || !tokenizer.IsControl(token));
      const std::string piece = tokenizer.Piece(token);
      if (!ends && piece.size() != 1) continue;
      single_bytes.push_back(token);
      const size_t rank = ends ? closing_order.size() + 1 : closing_order.find(piece[0]) + 1;  // 0 for the others
      if (rank > best) best = rank, closing = token;
    }
    if (allowed.empty()) {
      ADD_FAILURE() << "all tokens are masked after: " << answer.text;
      return answer;
    }
    const std::vector<Token>& choices = single_bytes.empty() || random() % 2 == 0 ? allowed : single_bytes;
    Token token = choices[random() % choices.size()];
    if (answer.tokens >= patience) {
      const bool close = closing >= 0 && random() % 2 == 0;
      token = close ? closing : single_bytes.empty() ? token : single_bytes[random() % single_bytes.size()];
    }
    if (tokenizer.EndsGeneration(token)) {
      answer.ended = true;
      return answer;
    }
    constraint->Accept(token);
    answer.text += tokenizer.Piece(token);
  }
  return answer;
}

}  // namespace fedglm
