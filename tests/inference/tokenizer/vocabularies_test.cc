// All vocabularies in the folder that FEDGLM_VOCABS names, in llama.cpp's layout (its folder models/ is one): those of
// families that are supported must give the expected ids, the others must be refused.
#include <cstdlib>
#include <filesystem>

#include "gtest/gtest.h"
#include "inference/tokenizer/tokenizer.h"
#include "tests/inference/tokenizer/vocabulary_pairs.h"

namespace fedglm {
namespace {

TEST(Vocabularies, EveryTextInTheFolderGivesTheExpectedIds) {
  const char* const folder = std::getenv("FEDGLM_VOCABS");
  if (folder == nullptr || *folder == '\0') GTEST_SKIP() << "FEDGLM_VOCABS does not name a folder of vocabularies";
  int vocabularies = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".gguf") continue;
    const std::string name = entry.path().filename().string();
    const auto file = GgufFile::Open(entry.path());
    ASSERT_TRUE(file.ok()) << Message(file.status());
    const auto tokenizer = Tokenizer::FromGguf(**file);
    ++vocabularies;
    const std::string model = (*file)->StringOr("tokenizer.ggml.model", "");
    if (model != "gpt2" && model != "llama" && model != "gemma4") {
      EXPECT_EQ(ExitCodeOf(tokenizer.status()), ExitCode::kBadInputFile) << name;
      continue;
    }
    ASSERT_TRUE(tokenizer.ok()) << Message(tokenizer.status());
    // Byte-level BPE has a token for every byte by the name of its character, the others may have one like <0xFF>.
    const bool spells_all_bytes = (*tokenizer)->Find("ÿ").has_value() || (*tokenizer)->Find("<0xFF>").has_value();
    int wrong = 0, lost = 0;
    const VocabularyPairs pairs = ReadVocabularyPairs(entry.path());
    for (const auto& [text, expected] : pairs) {
      const std::vector<Token> tokens = (*tokenizer)->Encode(text, {.add_special = false});
      if (tokens != expected && ++wrong <= 3) {
        EXPECT_EQ(tokens, expected) << name << " text: <" << text << ">";
      }
      if (spells_all_bytes && (*tokenizer)->Decode(tokens) != text && ++lost <= 3) {
        EXPECT_EQ((*tokenizer)->Decode(tokens), text) << name;
      }
    }
    EXPECT_EQ(wrong, 0) << name << ": of " << pairs.size();
    EXPECT_EQ(lost, 0) << name << ": of " << pairs.size() << " texts came back changed";
  }
  EXPECT_GT(vocabularies, 0) << "no .gguf in " << folder;
}

}  // namespace
}  // namespace fedglm
