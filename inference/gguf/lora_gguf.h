// A LoRA adapter bound to a base: rows of B in the base's GGUF order, and llama.cpp's GGUF form of it.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "adapter/adapter.h"
#include "base/status.h"
#include "inference/gguf/architecture.h"
#include "inference/gguf/gguf_file.h"

namespace fedglm {

// The adapter with the rows of every Q/K B permuted between Hugging Face's order (as adapters are stored) and the
// base's GGUF order (as the engine and the trainer compute). BadFile if a module is not one of the base's, or a shape
// differs.
absl::StatusOr<Adapter> ToGgufOrder(const Adapter& adapter, const std::vector<LinearModule>& modules);
absl::StatusOr<Adapter> ToHuggingFaceOrder(const Adapter& adapter, const std::vector<LinearModule>& modules);

// llama.cpp's adapter file: general.type = adapter, adapter.type = lora, adapter.lora.alpha, NAME.lora_a, NAME.lora_b,
// and fedglm.base_sha256 if the provenance says it. UsageError if `path` is the base itself.
absl::Status ExportGgufLora(const Adapter& adapter, const GgufFile& base, const std::filesystem::path& path);
absl::StatusOr<Adapter> ImportGgufLora(const std::filesystem::path& path, const GgufFile& base);

// A PEFT folder or a GGUF LoRA file, whichever `path` is. Modules of a text model inside a larger one (PEFT on a
// GLM-4V: "model.language_model.layers.0…") get the text model's names. If the adapter says which base it is for
// (provenance), the base's SHA-256 must be that one (computed once and cached beside nothing: callers pass it if they
// know it, else "").
absl::StatusOr<Adapter> LoadAdapterFor(const std::filesystem::path& path, const GgufFile& base,
                                       const std::string& base_sha256);

}  // namespace fedglm
