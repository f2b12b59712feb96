// llama.cpp's own test vocabularies: FILE.gguf with texts in FILE.gguf.inp and their ids in FILE.gguf.out.
#pragma once

#include <filesystem>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"
#include "gtest/gtest.h"
#include "inference/tokenizer/tokenizer.h"

namespace fedglm {

using VocabularyPairs = std::vector<std::pair<std::string, std::vector<Token>>>;

// Empty if there are none beside the file.
inline VocabularyPairs ReadVocabularyPairs(const std::filesystem::path& vocabulary) {
  VocabularyPairs pairs;
  const auto inputs = ReadFile(vocabulary.string() + ".inp"), outputs = ReadFile(vocabulary.string() + ".out");
  if (!inputs.ok() || !outputs.ok()) return pairs;
  const std::string separator = "\n__ggml_vocab_test__\n";
  std::istringstream lines(*outputs);
  for (size_t begin = 0; begin < inputs->size();) {
    const size_t end = inputs->find(separator, begin);
    std::string line;
    if (!std::getline(lines, line)) {
      ADD_FAILURE() << vocabulary << ": more texts than lines of ids";
      break;
    }
    std::istringstream ids(line);
    std::vector<Token> expected;
    for (Token id; ids >> id;) expected.push_back(id);
    pairs.emplace_back(inputs->substr(begin, end == std::string::npos ? std::string::npos : end - begin), expected);
    if (end == std::string::npos) break;
    begin = end + separator.size();
  }
  return pairs;
}

}  // namespace fedglm
