// Answers as the worst of models would write them: tokens taken at random among those that a grammar allows.
#pragma once

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
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

// Writes answers with one vocabulary, whose pieces it looks up once.
class RandomWriter {
 public:
  explicit RandomWriter(const Tokenizer& tokenizer) : trie_(BuildTokenTrie(tokenizer)) {
    for (Token token = 0; token < tokenizer.size(); ++token) {
      pieces_.push_back(tokenizer.Piece(token));
      ends_.push_back(tokenizer.EndsGeneration(token));
      forbidden_.push_back(!ends_.back() && tokenizer.IsControl(token));
    }
  }

  // After `patience` tokens half of the choices are the best closing one (an end, then the bytes in `closing_order`,
  // the best last), since by chance alone nothing would ever end; by closing alone neither, where something else is
  // missing first.
  RandomAnswer Write(std::shared_ptr<const Grammar> grammar, std::mt19937_64& random, int patience = 40,
                     std::string_view closing_order = "}]\"") const {
    const std::shared_ptr<TokenConstraint> constraint = MakeConstraint(std::move(grammar), trie_);
    std::vector<float> logits(pieces_.size());
    RandomAnswer answer;
    for (; answer.tokens < 5000; ++answer.tokens) {
      std::fill(logits.begin(), logits.end(), 0.0f);
      constraint->Mask(logits);
      const Choices choices = ChoicesAmong(logits, closing_order);
      if (choices.allowed.empty()) {
        ADD_FAILURE() << "all tokens are masked after: " << answer.text;
        return answer;
      }
      const size_t token = Choose(choices, random, answer.tokens >= patience);
      if (ends_[token]) {
        answer.ended = true;
        return answer;
      }
      constraint->Accept(static_cast<Token>(token));
      answer.text += pieces_[token];
    }
    return answer;
  }

 private:
  struct Choices {
    std::vector<size_t> allowed, single_bytes;  // tokens; an end counts as a single byte
    std::optional<size_t> closing;              // the best of them
  };

  Choices ChoicesAmong(const std::vector<float>& logits, std::string_view closing_order) const {
    Choices choices;
    size_t best = 0;
    for (size_t token = 0; token < logits.size(); ++token) {
      if (std::isinf(logits[token])) continue;
      choices.allowed.push_back(token);
      EXPECT_FALSE(forbidden_[token]);
      if (!ends_[token] && pieces_[token].size() != 1) continue;
      choices.single_bytes.push_back(token);
      const size_t rank =
          ends_[token] ? closing_order.size() + 1 : closing_order.find(pieces_[token][0]) + 1;  // 0 for the others
      if (rank > best) best = rank, choices.closing = token;
    }
    return choices;
  }

  static size_t Choose(const Choices& choices, std::mt19937_64& random, bool impatient) {
    const std::vector<size_t>& among =
        choices.single_bytes.empty() || random() % 2 == 0 ? choices.allowed : choices.single_bytes;
    const size_t token = among[random() % among.size()];
    if (!impatient) return token;
    if (choices.closing.has_value() && random() % 2 == 0) return *choices.closing;
    return choices.single_bytes.empty() ? token : choices.single_bytes[random() % choices.single_bytes.size()];
  }

  std::shared_ptr<const TokenTrie> trie_;
  std::vector<std::string> pieces_;     // by token
  std::vector<bool> ends_, forbidden_;  // by token
};

}  // namespace fedglm
