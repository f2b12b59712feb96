#include "training/pretrainer.h"

#include <torch/torch.h>

#include <algorithm>
#include <filesystem>

#include "inference/gguf/gguf_writer.h"
#include "training/base_model.h"
#include "training/data/bpe_trainer.h"
#include "training/model/dense_weights.h"
#include "training/model/transformer_loss.h"
#include "training/optimization.h"

namespace fedglm {
namespace {

constexpr char kArchitecture[] = "glm4", kPretokenizer[] = "glm4";
constexpr int64_t kMaxSize = 1 << 20;
constexpr const char* kControlTokens[] = {"<|endoftext|>", "[MASK]",         "[gMASK]",    "[sMASK]",
                                          "<sop>",         "<eop>",          "<|system|>", "<|user|>",
                                          "<|assistant|>", "<|observation|>"};
constexpr char kChatTemplate[] =
    "[gMASK]<sop>{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}";

absl::StatusOr<Hyperparameters> ShapeOf(const PretrainShape& shape, int64_t vocabulary) {
  for (const int64_t size :
       {shape.layers, shape.hidden, shape.feed_forward, shape.heads, shape.kv_heads, shape.context_length}) {
    if (size < 1 || size > kMaxSize) return UsageError("a size of the new model is out of range");
  }
  if (shape.hidden % shape.heads != 0 || shape.heads % shape.kv_heads != 0) {
    return UsageError("the hidden size must be a multiple of the heads, and the heads of the K/V heads");
  }
  Hyperparameters h;
  FEDGLM_ASSIGN_OR_RETURN(h.architecture, FindArchitecture(kArchitecture));
  h.name = shape.name;
  h.vocabulary = vocabulary;
  h.context_length = shape.context_length;
  h.layers = shape.layers;
  h.hidden = shape.hidden;
  h.feed_forward = shape.feed_forward;
  h.heads = shape.heads;
  h.kv_heads = shape.kv_heads;
  h.head_size = shape.hidden / shape.heads;
  h.rotary_size = h.head_size / 2;  // as GLM-4: half of each head
  if (h.rotary_size % 2 != 0) return UsageError("the head size must be a multiple of 4");
  h.tied_embeddings = true;
  h.qkv_bias = true;
  return h;
}

struct NewVocabulary {
  std::vector<std::string> tokens, merges;
  std::vector<int32_t> kinds;  // tokenizer.ggml.token_type
  int64_t Find(std::string_view name) const { return std::find(tokens.begin(), tokens.end(), name) - tokens.begin(); }
};

absl::StatusOr<NewVocabulary> MakeVocabulary(const TrainingJob& job) {
  FEDGLM_ASSIGN_OR_RETURN(const std::vector<std::string> texts, LoadTexts(job.records));
  const auto controls = static_cast<int64_t>(std::size(kControlTokens));
  FEDGLM_ASSIGN_OR_RETURN(BpeVocabulary bpe, TrainBpe(texts, job.pretrain.vocabulary - controls, kPretokenizer));
  NewVocabulary vocabulary;
  vocabulary.tokens = std::move(bpe.tokens);
  vocabulary.merges = std::move(bpe.merges);
  vocabulary.kinds.assign(vocabulary.tokens.size(), 1);
  for (const char* name : kControlTokens) {
    vocabulary.tokens.emplace_back(name);
    vocabulary.kinds.push_back(3);
  }
  return vocabulary;
}

void WriteMetadata(GgufWriter& writer, const Hyperparameters& h, const NewVocabulary& vocabulary) {
  WriteHyperparameters(h, writer);
  writer.AddString("tokenizer.ggml.model", "gpt2");
  writer.AddString("tokenizer.ggml.pre", kPretokenizer);
  writer.AddStrings("tokenizer.ggml.tokens", vocabulary.tokens);
  writer.AddInt32s("tokenizer.ggml.token_type", vocabulary.kinds);
  writer.AddStrings("tokenizer.ggml.merges", vocabulary.merges);
  writer.AddUint32("tokenizer.ggml.eos_token_id", static_cast<uint32_t>(vocabulary.Find("<|endoftext|>")));
  writer.AddUint32("tokenizer.ggml.eot_token_id", static_cast<uint32_t>(vocabulary.Find("<|user|>")));
  writer.AddUint32("tokenizer.ggml.padding_token_id", static_cast<uint32_t>(vocabulary.Find("<|endoftext|>")));
  writer.AddString("tokenizer.chat_template", kChatTemplate);
}

// Pre-training learns the language of the records, questions too: every token counts.
void CountEverything(ExampleSet& set) {
  for (Example& example : set.examples) {
    std::fill(example.counted.begin() + 1, example.counted.end(), true);
  }
}

absl::Status WriteModel(const std::filesystem::path& path, const Hyperparameters& h, const NewVocabulary& vocabulary,
                        const DenseWeights& weights, BlockType type) {
  FEDGLM_ASSIGN_OR_RETURN(const std::unique_ptr<GgufWriter> writer, GgufWriter::Create(path));
  WriteMetadata(*writer, h, vocabulary);
  FEDGLM_RETURN_IF_ERROR(weights.Write(*writer, type));
  return writer->Finish();
}

// Written once before training, and read back: the tokenizer is then the one that every user of the file will have. The
// file is beside `output`, which stays as it is until the training succeeds; once mapped, it needs no name.
absl::StatusOr<BaseModel> OpenUntrained(const std::filesystem::path& output, const Hyperparameters& h,
                                        const NewVocabulary& vocabulary, const DenseWeights& weights, BlockType type) {
  const std::filesystem::path path = output.string() + ".untrained";
  FEDGLM_RETURN_IF_ERROR(WriteModel(path, h, vocabulary, weights, type));
  absl::StatusOr<BaseModel> base = BaseModel::Open(path);
  std::error_code ignored;
  std::filesystem::remove(path, ignored);
  return base;
}

}  // namespace

absl::Status Pretrain(const TrainingJob& job, const EventSink& on_event) {
  FEDGLM_ASSIGN_OR_RETURN(const BlockType type, BlockTypeFromName(job.pretrain.type));
  FEDGLM_ASSIGN_OR_RETURN(const NewVocabulary vocabulary, MakeVocabulary(job));
  FEDGLM_ASSIGN_OR_RETURN(const Hyperparameters h,
                          ShapeOf(job.pretrain, static_cast<int64_t>(vocabulary.tokens.size())));
  const DenseWeights weights(h, job.plan.seed);
  FEDGLM_ASSIGN_OR_RETURN(const BaseModel base, OpenUntrained(job.output, h, vocabulary, weights, type));
  FEDGLM_ASSIGN_OR_RETURN(ExampleSet set, base.Load(job.records, job.plan.sequence_length));
  CountEverything(set);
  std::optional<ExampleSet> held_out;
  if (!job.held_out.empty()) {
    FEDGLM_ASSIGN_OR_RETURN(held_out, base.Load(job.held_out, job.plan.sequence_length));
  }
  TrainerEvent started;
  started.event = "started";
  started.records = static_cast<int64_t>(set.examples.size());
  started.tokens = set.CountedTokens();
  on_event(started);
  TransformerLoss model(h, RotaryFrequencies(h, *base.file), weights);
  FEDGLM_ASSIGN_OR_RETURN(const TrainingSummary summary, Optimize(job, model, set, held_out, on_event));
  FEDGLM_RETURN_IF_ERROR(WriteModel(job.output, h, vocabulary, weights, type));
  on_event(DoneEvent(summary));
  return absl::OkStatus();
}

}  // namespace fedglm
