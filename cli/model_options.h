// The flags that every command with a model shares, and what they open.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/command_line.h"
#include "base/status.h"
#include "inference/engine/engine.h"

namespace fedglm::cli {

struct ModelOptions {
  std::string model;
  std::string adapter;  // a PEFT folder or a GGUF LoRA; empty: none
  int threads = 0;
  int64_t context = 0;
  std::string memory_budget;  // "4GiB"; empty: from the cgroup or the machine
  std::string pin_threads = "off";
  std::string kv_type = "f16";
  bool autotune = false;  // only with AddAutotuneTo

  // Not set: the engine's defaults. Flags only with AddQueueTo; a command may set them itself.
  int64_t max_running = 0;             // answers written together; 0: not set
  std::optional<int64_t> max_waiting;  // requests beside them

  bool explain_memory = false, explain_as_json = false;  // only with AddExplainTo

  void AddTo(Command app);
  // --no-autotune, for a command that runs long: unless it is given, thread counts and the size of a prompt's chunks
  // are measured once and kept in the user's cache folder.
  void AddAutotuneTo(Command app);
  // --parallel and --queue, for a command that answers several clients.
  void AddQueueTo(Command app);
  // --explain-memory, and --json for it unless the command has that flag already. The command then calls ExplainMemory
  // (cli/explain_memory.h) and nothing else.
  void AddExplainTo(Command app);
  // UsageError for a budget that is no size or an unknown pinning.
  absl::StatusOr<EngineOptions> ForEngine() const;
};

// The engine with the adapter in place. Ctrl-C stops what it computes.
absl::StatusOr<std::unique_ptr<Engine>> OpenEngine(const ModelOptions& options, bool require_tokenizer = true);

// Opens options.adapter, if there is one, and makes it the engine's: also again, in place of the one before.
absl::Status InstallAdapter(const ModelOptions& options, Engine& engine);

// An adapter for an open base, refused if it names another one. The base's digest is computed only if it is needed.
absl::StatusOr<std::shared_ptr<const Adapter>> OpenAdapter(const std::string& path, const GgufFile& base);

// SHA-256 of a model file, kept in the user's cache folder by path, size and time of change: hashing 5 GB takes
// seconds.
absl::StatusOr<std::string> ModelSha256(const std::filesystem::path& model);

// `text`, or the content of `file` if that is not empty ("-": stdin). UsageError if neither or both are given.
absl::StatusOr<std::string> TextOrFile(const std::string& text, const std::string& file);

}  // namespace fedglm::cli
