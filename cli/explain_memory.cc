#include "cli/explain_memory.h"

#include <cctype>
#include <cstdio>
#include <string>

#include "base/configuration.h"
#include "base/cpu.h"
#include "base/json.h"
#include "inference/engine/engine_memory.h"
#include "inference/gguf/architecture.h"
#include "inference/gguf/gguf_file.h"
#include "inference/gguf/lora_gguf.h"
#include "inference/memory/adapter_memory.h"
#include "inference/memory/bandwidth.h"
#include "inference/memory/memory_plan.h"
#include "inference/model/bound_adapter.h"

namespace fedglm::cli {
namespace {

// "37 of 40 layers and the output matrix"
std::string Pinned(const MemoryPlan& plan) {
  const bool output = plan.pinned.back();
  const int64_t layers = plan.pinned_count() - (output ? 1 : 0);
  return std::to_string(layers) + " of " + std::to_string(plan.layers()) + " layers" +
         (output ? " and the output matrix" : "");
}

std::string Streamed(const MemoryPlan& plan) {
  if (!plan.streams()) return "nothing is streamed";
  return std::to_string(plan.ring_slots) + " buffers of " + FormatByteSize(plan.slot_bytes) + "; " +
         FormatByteSize(plan.streamed_bytes) + " are read from the disk for a token";
}

void PrintTable(const MemoryPlan& plan) {
  const auto row = [&](MemoryAccount account, const std::string& what) {
    std::printf("%-18s%12s   %s\n", std::string(MemoryAccountName(account)).c_str(),
                FormatByteSize(plan.account(account)).c_str(), what.c_str());
  };
  row(MemoryAccount::kPinnedWeights, Pinned(plan));
  row(MemoryAccount::kStreamedWeights, Streamed(plan));
  row(MemoryAccount::kKvPages, std::to_string(plan.kv_positions) + " positions");
  row(MemoryAccount::kActivations, "of one batch");
  row(MemoryAccount::kScratch, "program, vocabulary, logits, stacks");
  row(MemoryAccount::kAdapters,
      plan.account(MemoryAccount::kAdapters) == 0 ? "none" : "the largest twice, to replace any");
  std::printf("%-18s%12s   of a budget of %s\n", "together", FormatByteSize(plan.total()).c_str(),
              FormatByteSize(plan.budget).c_str());
  std::printf("\nmemory is read at %.1f GB/s", plan.memory_bandwidth / 1e9);
  if (plan.streams()) std::printf(", the disk at %.2f GB/s", plan.disk_bandwidth / 1e9);
  std::printf(": at most %.2f tokens/s for one answer\n", plan.tokens_per_second);
}

void PrintJson(const MemoryPlan& plan) {
  Json accounts;
  for (size_t i = 0; i < kMemoryAccounts; ++i) {
    std::string name(MemoryAccountName(static_cast<MemoryAccount>(i)));
    for (char& c : name) c = c == ' ' ? '_' : static_cast<char>(std::tolower(c));
    accounts[name + "_bytes"] = plan.accounts[i];
  }
  Json streamed = Json::array();
  for (size_t i = 0; i + 1 < plan.pinned.size(); ++i) {
    if (!plan.pinned[i]) streamed.push_back(i);
  }
  const Json result = {{"version", 1},
                       {"budget_bytes", plan.budget},
                       {"planned_bytes", plan.total()},
                       {"accounts", accounts},
                       {"layers", plan.layers()},
                       {"streamed_layers", streamed},
                       {"output_pinned", static_cast<bool>(plan.pinned.back())},
                       {"ring_slots", plan.ring_slots},
                       {"slot_bytes", plan.slot_bytes},
                       {"kv_positions", plan.kv_positions},
                       {"weight_bytes", plan.weight_bytes},
                       {"streamed_bytes_per_pass", plan.streamed_bytes},
                       {"memory_bytes_per_second", plan.memory_bandwidth},
                       {"disk_bytes_per_second", plan.disk_bandwidth},
                       {"tokens_per_second", plan.tokens_per_second}};
  std::printf("%s\n", DumpJson(result).c_str());
}

// What the engine sets aside when it has these adapters.
absl::StatusOr<uint64_t> AdapterRoom(const std::vector<std::string>& paths, const GgufFile& base) {
  std::vector<uint64_t> bytes;
  for (const std::string& path : paths) {
    FEDGLM_ASSIGN_OR_RETURN(const Adapter adapter, LoadAdapterFor(path, base, ""));
    bytes.push_back(BoundAdapter::Bytes(adapter));
  }
  return RoomForAdapters(bytes);
}

}  // namespace

absl::Status ExplainMemory(const ModelOptions& options, bool json, std::vector<std::string> named_adapters) {
  FEDGLM_ASSIGN_OR_RETURN(const EngineOptions engine, options.ForEngine());
  FEDGLM_ASSIGN_OR_RETURN(const std::shared_ptr<const GgufFile> file, GgufFile::Open(options.model));
  FEDGLM_ASSIGN_OR_RETURN(const Hyperparameters hyperparameters, ReadHyperparameters(*file));
  const WeightLayout layout = LayOutWeights(*file, hyperparameters.layers);
  const int threads = engine.threads > 0 ? engine.threads : UsablePhysicalCores();
  PlanOptions plan_options = PlanOptionsFor(hyperparameters, engine, threads);
  if (!options.adapter.empty()) named_adapters.push_back(options.adapter);
  FEDGLM_ASSIGN_OR_RETURN(plan_options.adapter_bytes, AdapterRoom(named_adapters, *file));
  // First without measuring: a budget that is too small is said at once.
  FEDGLM_ASSIGN_OR_RETURN(MemoryPlan plan, PlanMemory(layout, hyperparameters, plan_options));
  plan_options.budget = plan.budget;
  plan_options.memory_bandwidth = MeasureMemoryBandwidth(threads);
  if (plan.streams()) {
    FEDGLM_ASSIGN_OR_RETURN(plan_options.disk_bandwidth, MeasureStreamBandwidth(file->path(), layout));
  }
  FEDGLM_ASSIGN_OR_RETURN(plan, PlanMemory(layout, hyperparameters, plan_options));
  if (json) {
    PrintJson(plan);
  } else {
    PrintTable(plan);
  }
  return absl::OkStatus();
}

}  // namespace fedglm::cli
