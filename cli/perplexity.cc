// fedglm perplexity: of a text, in windows. fedglm evaluate: the loss on records' answers, as the trainer reports it.
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "adapter/training_plan.h"
#include "base/file.h"
#include "base/json.h"
#include "base/process.h"
#include "base/progress.h"
#include "cli/command.h"
#include "cli/evaluation.h"
#include "cli/model_options.h"

namespace fedglm::cli {
namespace {

struct PerplexityOptions {
  ModelOptions model;
  std::string file;
  bool json = false;
};

absl::Status RunPerplexity(const PerplexityOptions& options) {
  FEDGLM_ASSIGN_OR_RETURN(const std::string text, TextOrFile("", options.file));
  FEDGLM_ASSIGN_OR_RETURN(std::unique_ptr<Engine> engine, OpenEngine(options.model));
  const Tokenizer& tokenizer = engine->tokenizer();
  const std::vector<Token> tokens = tokenizer.Encode(text, {.add_special = false, .parse_special = false});
  const std::vector<Token> start = tokenizer.Encode("", {.add_special = true});
  if (tokens.size() + start.size() < 2) return BadFileError(options.file + ": too short to measure");
  // A window's first token is not counted where no start token comes before it.
  const size_t smallest = std::max<size_t>(start.size(), 1) + 1, context = static_cast<size_t>(engine->context());
  if (context < smallest) return UsageError("a context of " + std::to_string(context) + " leaves nothing to predict");
  const size_t window = context - start.size();
  Engine::Loss total;
  Progress progress("perplexity", static_cast<int64_t>(tokens.size()), options.json);
  for (size_t begin = 0; begin < tokens.size(); begin += window) {
    if (StopRequested()) return CancelledError("stopped");
    const size_t end = std::min(tokens.size(), begin + window);
    std::vector<Token> sequence = start;
    sequence.insert(sequence.end(), tokens.begin() + static_cast<ptrdiff_t>(begin),
                    tokens.begin() + static_cast<ptrdiff_t>(end));
    if (sequence.size() < 2) break;
    std::vector<bool> counted(sequence.size(), true);
    std::fill_n(counted.begin(), std::max<size_t>(start.size(), 1), false);
    FEDGLM_ASSIGN_OR_RETURN(const Engine::Loss loss, engine->SequenceLoss(sequence, counted));
    total.sum += loss.sum;
    total.tokens += loss.tokens;
    progress.Update(static_cast<int64_t>(end));
  }
  progress.Finish();
  if (options.json) {
    const Json result = {
        {"version", 1}, {"perplexity", std::exp(total.mean())}, {"loss", total.mean()}, {"tokens", total.tokens}};
    std::printf("%s\n", DumpJson(result).c_str());
  } else {
    std::printf("perplexity %.4f  loss %.5f  over %lld tokens\n", std::exp(total.mean()), total.mean(),
                static_cast<long long>(total.tokens));
  }
  return absl::OkStatus();
}

struct EvaluateOptions {
  ModelOptions model;
  std::vector<std::string> data;
  int64_t sequence_length = kDefaultSequenceLength;
  bool json = false;
};

absl::Status RunEvaluate(const EvaluateOptions& options) {
  FEDGLM_ASSIGN_OR_RETURN(std::unique_ptr<Engine> engine, OpenEngine(options.model));
  const std::vector<std::filesystem::path> files(options.data.begin(), options.data.end());
  FEDGLM_ASSIGN_OR_RETURN(const Engine::Loss loss,
                          EvaluateRecords(*engine, files, options.sequence_length, options.json));
  if (options.json) {
    std::printf("%s\n", DumpJson(Json{{"version", 1}, {"loss", loss.mean()}, {"tokens", loss.tokens}}).c_str());
  } else {
    std::printf("loss %.5f over %lld answer tokens\n", loss.mean(), static_cast<long long>(loss.tokens));
  }
  return absl::OkStatus();
}

}  // namespace

void AddPerplexity(CommandLine& line) {
  auto options = std::make_shared<PerplexityOptions>();
  Command app = line.Add("perplexity", "perplexity of a text file", [options] { return RunPerplexity(*options); });
  options->model.AddTo(app);
  app.Add("-f,--file", options->file, "the text; - reads stdin").Required();
  app.AddFlag("--json", options->json);
}

void AddEvaluate(CommandLine& line) {
  auto options = std::make_shared<EvaluateOptions>();
  Command app =
      line.Add("evaluate", "loss on the answers of records (JSON Lines)", [options] { return RunEvaluate(*options); });
  options->model.AddTo(app);
  app.Add("--data", options->data, "JSON Lines files").Required();
  app.Add("--sequence-length", options->sequence_length, "longer records are cut").ShowDefault().Between(8, 1 << 20);
  app.AddFlag("--json", options->json);
}

}  // namespace fedglm::cli
