// The inference engine: one mapped base, an adapter that can be swapped between two tokens, generation by callback.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "adapter/adapter.h"
#include "base/status.h"
#include "base/thread_pool.h"
#include "inference/autotune/tuning.h"
#include "inference/engine/generation.h"
#include "inference/engine/pending_answer.h"
#include "inference/gguf/architecture.h"
#include "inference/gguf/gguf_file.h"
#include "inference/tokenizer/chat_template.h"
#include "inference/tokenizer/tokenizer.h"

namespace fedglm {

class ActivationObserver;

struct EngineOptions {
  int threads = 0;  // 0: physical cores the process may use, or what was measured: tuning_folder
  // Where is kept how this machine runs models fastest (inference/autotune/): thread counts and prefill_chunk are read
  // there, or else measured by Open, in about half a second, unless `threads` says how many. Empty: not measured.
  std::filesystem::path tuning_folder;
  ThreadPinning pin_threads = ThreadPinning::kOff;
  int64_t prefill_chunk = kUsualPrefillChunk;  // prompt tokens of one step while no answer is being written
  int64_t mixed_chunk = 0;                     // the same while one is; 0: by how long steps take (mixed_chunk.h)
  int64_t context = 0;                         // of one sequence, in tokens; 0: the model's own, at most 8192
  uint64_t memory_budget = 0;                  // bytes; 0: from the cgroup or the machine
  uint64_t caller_bytes = 0;                   // of the budget, what the caller is going to hold beside the engine
  // Layers are pinned and streamed as the budget allows, and what the machine lacks is watched (memory/model_memory.h).
  // False: the kernel keeps of the weights what it likes, and the budget is for pages and activations alone.
  bool plan_weights = true;
  bool quantized_cache = false;   // KV pages as Q8_0: half of float16's size, a quarter of float32's
  int64_t max_running = 8;        // sequences that are computed together
  int64_t max_waiting = 16;       // requests that wait for a place; one more is refused at once
  bool require_tokenizer = true;  // false: a model without a vocabulary can be opened; it computes logits, not text
  std::function<bool()> stop_requested;  // asked between batches of Logits and SequenceLoss: true makes them Cancelled
  ActivationObserver* observer =
      nullptr;  // sees every matrix's input (model/activation_observer.h); outlives the engine
};

// Thread-safe. Requests are computed together: every step takes one token of each running answer and a chunk of the
// prompts that are being read, so that a long prompt does not stop the others.
class Engine {
 public:
  static absl::StatusOr<std::unique_ptr<Engine>> Open(const std::filesystem::path& model, const EngineOptions& options);
  ~Engine();

  const GgufFile& file() const;
  const Hyperparameters& hyperparameters() const;
  const Tokenizer& tokenizer() const;
  const ChatTemplate& chat_template() const;
  int64_t context() const;

  // From the next token on, also of answers that are being written: their KV cache entries of the old adapter are kept.
  // nullptr: the base alone. BadFile if it does not fit the base. ResourceExhausted if the memory budget has no room
  // for it and, from then on, for another of its size to replace it, although idle KV pages were evicted and layers
  // unpinned for that (docs/memory.md); the adapter that is there stays then. Both wait for the step that is being
  // computed.
  absl::Status SetAdapter(std::shared_ptr<const Adapter> adapter);
  // As SetAdapter would answer; nothing is changed.
  absl::Status CheckAdapter(const Adapter& adapter) const;
  // Adapters that requests choose by name, beside the one of SetAdapter. Adding a name again replaces it, for requests
  // that come after; nullptr: none of that name any more, which cannot fail. UsageError for kBaseAdapter or no name;
  // other errors as SetAdapter.
  absl::Status AddAdapter(std::string name, std::shared_ptr<const Adapter> adapter);
  std::vector<std::string> AdapterNames() const;  // of AddAdapter, sorted

  // Takes all of them, or none, and does not wait. UsageError if a prompt is empty, has ids out of range or does not
  // fit the context, a request's options mean nothing (CheckSampling), an adapter is unknown, or there are more
  // requests than the queue ever holds. Unavailable if the
  // queue is full, ResourceExhausted if the memory budget or its pressure allows no more work. An answer that outgrows
  // the memory although it is the only one ends with kLength.
  absl::StatusOr<std::vector<PendingAnswer>> Take(std::vector<GenerationRequest> requests);
  // One request: Take's errors, and PendingAnswer::Wait.
  absl::StatusOr<GenerationResult> Generate(const GenerationRequest& request, const TokenCallback& on_token);

  // Of each text's tokens the mean of the last hidden states, scaled to length 1: [texts][hidden]. Errors as Take:
  // refused at once, or not, whatever presses while earlier texts are computed. Cancelled if `still_wanted`, which is
  // asked some times a second, says no.
  absl::StatusOr<std::vector<std::vector<float>>> Embed(const std::vector<std::vector<Token>>& texts,
                                                        const std::string& adapter = "",
                                                        const std::function<bool()>& still_wanted = {});

  // How hard other programs press on the memory (memory/memory_monitor.h): 0 none … 4. 1: smaller batches; 2: evict and
  // quantize KV pages; 3: unpin layers; 4: refuse new work.
  void SetMemoryPressure(int level);

  EngineStatistics Statistics() const;

  // Logits of every position: [tokens][vocabulary] float32. `sink` gets the rows in order, in batches.
  absl::Status Logits(const std::vector<Token>& tokens,
                      const std::function<absl::Status(const float* rows, int64_t count)>& sink);

  struct Loss {
    double sum = 0;  // natural logarithm
    int64_t tokens = 0;
    double mean() const { return tokens ? sum / static_cast<double>(tokens) : 0; }
  };
  // Cross entropy of tokens[i+1] given tokens[0..i], over the positions where counted[i+1]. One sequence from position
  // 0.
  absl::StatusOr<Loss> SequenceLoss(const std::vector<Token>& tokens, const std::vector<bool>& counted);

 private:
  struct State;
  explicit Engine(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace fedglm
