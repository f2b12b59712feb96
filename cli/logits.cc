// fedglm logits: raw little-endian float32 [tokens][vocabulary], for comparison with other engines.
#include <cstdio>

#include "base/file.h"
#include "cli/command.h"
#include "cli/model_options.h"

namespace fedglm::cli {
namespace {

struct LogitsOptions {
  ModelOptions model;
  std::vector<Token> tokens;
  std::string out;
};

absl::Status RunLogits(const LogitsOptions& options) {
  FEDGLM_ASSIGN_OR_RETURN(std::unique_ptr<Engine> engine, OpenEngine(options.model));
  const size_t vocabulary = static_cast<size_t>(engine->hyperparameters().vocabulary);
  std::string bytes;
  FEDGLM_RETURN_IF_ERROR(engine->Logits(options.tokens, [&](const float* rows, int64_t count) {
    bytes.append(reinterpret_cast<const char*>(rows), static_cast<size_t>(count) * vocabulary * sizeof(float));
    return absl::OkStatus();
  }));
  return WriteFileAtomically(options.out, bytes);
}

}  // namespace

void AddLogits(CommandLine& line) {
  auto options = std::make_shared<LogitsOptions>();
  CLI::App* app = line.Add("logits", "write the logits of every position as float32",
                           [options] { return RunLogits(*options); });
  options->model.AddTo(app);
  app->add_option("--tokens", options->tokens, "ids, separated by commas")->required()->delimiter(',');
  app->add_option("--out", options->out, "the file to write: [tokens][vocabulary], little-endian")->required();
}

}  // namespace fedglm::cli
