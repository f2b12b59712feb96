#include <filesystem>
#include <fstream>

#include "base/file.h"
#include "inference/import/checkpoint_config.h"
#include "inference/import/checkpoint_tensors.h"
#include "inference/import/checkpoint_vocabulary.h"
#include "inference/import/safetensors_shards.h"
#include "tests/fuzz/fuzz_targets.h"

namespace fedglm::fuzz {

// The files of a folder, one field each; the last is the weights, with whatever bytes.
void Checkpoint(std::string_view input) {
  constexpr ExitCode kBadFile = ExitCode::kBadInputFile;
  static const TemporaryDirectory directory = *TemporaryDirectory::Make("fuzz");
  const std::filesystem::path& folder = directory.path();
  const auto write = [&](const char* name, std::string_view bytes) {
    std::ofstream(folder / name, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  };
  for (const char* name : {"config.json", "tokenizer.json", "tokenizer_config.json"}) write(name, TakeField(input));
  write("model.safetensors", input);
  const auto config = ReadCheckpointConfig(folder);
  if (WasRead(config.status(), kBadFile)) {
    const auto vocabulary = ReadCheckpointVocabulary(folder, *config);
    (void)WasRead(vocabulary.status(), kBadFile);
  }
  const auto shards = SafetensorsShards::Open(folder);
  if (!WasRead(shards.status(), kBadFile) || !config.ok()) return;
  const auto tensors = PlanTensors(*config, *shards);
  if (!WasRead(tensors.status(), kBadFile)) return;
  for (const PlannedTensor& tensor : *tensors) {
    std::vector<float> row(static_cast<size_t>(tensor.columns));
    for (int64_t i = 0; i < tensor.rows; ++i) tensor.ReadRow(i, row.data());
  }
}

}  // namespace fedglm::fuzz
