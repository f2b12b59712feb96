#include <span>

#include "inference/gguf/architecture.h"
#include "inference/gguf/gguf_file.h"
#include "inference/tokenizer/chat_template.h"
#include "inference/tokenizer/tokenizer.h"
#include "tests/fuzz/fuzz_targets.h"

namespace fedglm::fuzz {
namespace {

constexpr ExitCode kBadFile = ExitCode::kBadInputFile;

// Every tensor lies in the file and is as long as its shape says.
void CheckTensors(const GgufFile& file, std::string_view input) {
  for (const GgufTensor& tensor : file.tensors()) {
    const char* const begin = reinterpret_cast<const char*>(tensor.bytes.data());
    Require(begin >= input.data() && tensor.bytes.size() <= static_cast<size_t>(input.data() + input.size() - begin),
            "a tensor lies in the file");
    Require(static_cast<int64_t>(tensor.bytes.size()) == RowBytes(tensor.type, tensor.columns()) * tensor.rows(),
            "a tensor has the bytes of its shape");
    Require(file.FindTensor(tensor.name) == &tensor, "a tensor is found by its name");
  }
}

void CheckTokenizer(const GgufFile& file) {
  const auto tokenizer = fedglm::Tokenizer::FromGguf(file);
  if (!WasRead(tokenizer.status(), kBadFile)) return;
  const fedglm::ChatTemplate chat_template = DetectChatTemplate(file, **tokenizer);
  const auto chat = RenderChat(chat_template, **tokenizer, {{"system", "Be brief."}, {"user", "How are you?"}}, true);
  Require(chat.ok(), "a conversation is rendered");
  for (const Token token : JoinParts(*chat)) {
    Require(token >= 0 && token < (*tokenizer)->size(), "a token is one of the vocabulary");
    (void)(*tokenizer)->Piece(token, true);
    (void)(*tokenizer)->EndsGeneration(token);
  }
}

}  // namespace

void Gguf(std::string_view input) {
  const auto file = GgufFile::Parse(std::as_bytes(std::span(input)), "input");
  if (!WasRead(file.status(), kBadFile)) return;
  CheckTensors(**file, input);
  for (const auto& [key, value] : (*file)->metadata()) {
    Require((*file)->FindValue(key) == &value && (*file)->RawValue(key).size() > sizeof(uint32_t), "a key is found");
  }
  const auto hyperparameters = ReadHyperparameters(**file);
  if (WasRead(hyperparameters.status(), kBadFile)) {
    (void)RotaryFrequencies(*hyperparameters, **file);
    for (const LinearModule& module : LinearModules(*hyperparameters)) {
      Require((*file)->FindTensor(module.gguf_name) != nullptr, "a linear layer has its matrix");
    }
  }
  CheckTokenizer(**file);
}

}  // namespace fedglm::fuzz
