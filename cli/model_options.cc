#include "cli/model_options.h"

#include <cstdlib>
#include <iostream>
#include <iterator>

#include "base/configuration.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/process.h"
#include "inference/gguf/lora_gguf.h"

namespace fedglm::cli {
namespace {

std::filesystem::path CacheFolder() {
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache != nullptr && *cache != '\0') {
    return std::filesystem::path(cache) / "fedglm";
  }
  const char* home = std::getenv("HOME");
  return std::filesystem::path(home != nullptr ? home : "/tmp") / ".cache" / "fedglm";
}

}  // namespace

void ModelOptions::AddTo(Command app) {
  app.Add("-m,--model", model, "GGUF file").Required();
  app.Add("--adapter", adapter, "LoRA adapter: a PEFT folder or a GGUF file");
  app.Add("-t,--threads", threads, "threads (default: the physical cores)").Between(0, 1024);
  app.Add("-c,--context", context, "context length in tokens").Between(0, 1 << 20);
  app.Add("--memory-budget", memory_budget, "at most so much memory, as 4GiB");
  app.Add("--kv-type", kv_type, "keys and values: f16, or q8_0 in half the memory")
      .OneOf({"f16", "q8_0"})
      .ShowDefault();
  app.Add("--pin-threads", pin_threads, "keep each thread on a physical core: auto, on or off").ShowDefault();
}

void ModelOptions::AddAutotuneTo(Command app) {
  autotune = true;
  app.AddFlag("!--no-autotune", autotune, "all physical cores, instead of the threads measured to be fastest here");
}

void ModelOptions::AddQueueTo(Command app) {
  app.Add("--parallel", max_running, "answers that are written together (default: 8)").Between(1, 256);
  app.Add("--queue", max_waiting, "requests that wait beside them; one more gets 429 (default: 16)").Between(0, 10'000);
}

void ModelOptions::AddExplainTo(Command app) {
  app.AddFlag("--explain-memory", explain_memory, "print what would be kept in memory and what streamed, and end");
  if (!app.Has("--json")) {
    app.AddFlag("--json", explain_as_json, "with --explain-memory: as JSON");
  }
}

absl::StatusOr<EngineOptions> ModelOptions::ForEngine() const {
  EngineOptions engine;
  engine.threads = threads;
  engine.context = context;
  engine.stop_requested = StopRequested;
  if (autotune) engine.tuning_folder = CacheFolder() / "autotune";
  const std::optional<ThreadPinning> pinning = ThreadPinningFromName(pin_threads);
  if (!pinning) return UsageError("--pin-threads is auto, on or off, not '" + pin_threads + "'");
  engine.pin_threads = *pinning;
  if (max_running > 0) engine.max_running = max_running;
  if (max_waiting) engine.max_waiting = *max_waiting;
  engine.quantized_cache = kv_type == "q8_0";
  if (!memory_budget.empty()) {
    FEDGLM_ASSIGN_OR_RETURN(engine.memory_budget, ParseByteSize(memory_budget));
  }
  return engine;
}

absl::StatusOr<std::string> ModelSha256(const std::filesystem::path& model) {
  std::error_code error;
  if (std::filesystem::exists(model, error) && !std::filesystem::is_regular_file(model, error)) {
    return BadFileError(model.string() + ": not a regular file");
  }
  const std::filesystem::path absolute = std::filesystem::weakly_canonical(model, error);
  const auto size = std::filesystem::file_size(absolute, error);
  if (error) return Sha256HexOfFile(model);
  const auto changed = std::filesystem::last_write_time(absolute, error).time_since_epoch().count();
  const std::string key = Sha256Hex(absolute.string() + "\n" + std::to_string(size) + "\n" + std::to_string(changed));
  const std::filesystem::path entry = CacheFolder() / "digests" / key;
  if (absl::StatusOr<std::string> known = ReadFile(entry, 64); known.ok() && known->size() == 64) return *known;
  FEDGLM_ASSIGN_OR_RETURN(const std::string digest, Sha256HexOfFile(model));
  // A cache that cannot be written costs time, nothing else.
  if (MakeDirectories(entry.parent_path(), 0700).ok()) (void)WriteFileAtomically(entry, digest, 0600);
  return digest;
}

absl::StatusOr<std::shared_ptr<const Adapter>> OpenAdapter(const std::string& path, const GgufFile& base) {
  FEDGLM_ASSIGN_OR_RETURN(Adapter adapter, LoadAdapterFor(path, base, ""));
  if (adapter.provenance && !adapter.provenance->base_sha256.empty()) {
    FEDGLM_ASSIGN_OR_RETURN(const std::string digest, ModelSha256(base.path()));
    FEDGLM_RETURN_IF_ERROR(Annotate(CheckBase(adapter, digest), path));
  }
  return std::make_shared<const Adapter>(std::move(adapter));
}

absl::StatusOr<std::unique_ptr<Engine>> OpenEngine(const ModelOptions& options, bool require_tokenizer) {
  FEDGLM_ASSIGN_OR_RETURN(EngineOptions engine_options, options.ForEngine());
  engine_options.require_tokenizer = require_tokenizer;
  FEDGLM_ASSIGN_OR_RETURN(std::unique_ptr<Engine> engine, Engine::Open(options.model, engine_options));
  FEDGLM_RETURN_IF_ERROR(InstallAdapter(options, *engine));
  return engine;
}

absl::Status InstallAdapter(const ModelOptions& options, Engine& engine) {
  if (options.adapter.empty()) return absl::OkStatus();
  FEDGLM_ASSIGN_OR_RETURN(std::shared_ptr<const Adapter> adapter, OpenAdapter(options.adapter, engine.file()));
  return engine.SetAdapter(std::move(adapter));
}

absl::StatusOr<std::string> TextOrFile(const std::string& text, const std::string& file) {
  if (text.empty() == file.empty()) return UsageError("give either a text or a file");
  if (file.empty()) return text;
  if (file == "-") return std::string(std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>());
  return ReadFile(file);
}

}  // namespace fedglm::cli
