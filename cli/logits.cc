// fedglm logits: raw little-endian float32 [tokens][vocabulary], for comparison with other engines.
#include <cstdio>

#include "base/output_file.h"
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
  FEDGLM_ASSIGN_OR_RETURN(std::unique_ptr<Engine> engine, OpenEngine(options.model, /*require_tokenizer=*/false));
  std::error_code error;
  for (const std::string& input : {options.model.model, options.model.adapter}) {
    if (std::filesystem::equivalent(input, options.out, error))
      return UsageError(input + ": would be overwritten by --out");
  }
  // Written as they come: a large vocabulary takes 0.6 MB a token.
  FEDGLM_ASSIGN_OR_RETURN(OutputFile out, OutputFile::Create(options.out));
  const size_t vocabulary = static_cast<size_t>(engine->hyperparameters().vocabulary);
  FEDGLM_RETURN_IF_ERROR(engine->Logits(options.tokens, [&](const float* rows, int64_t count) {
    return out.Append(std::as_bytes(std::span(rows, static_cast<size_t>(count) * vocabulary)));
  }));
  return out.Finish();
}

}  // namespace

void AddLogits(CommandLine& line) {
  auto options = std::make_shared<LogitsOptions>();
  Command app =
      line.Add("logits", "write the logits of every position as float32", [options] { return RunLogits(*options); });
  options->model.AddTo(app);
  app.Add("--tokens", options->tokens, "ids, separated by commas").Required().Separated(',').NotEmpty();
  app.Add("--out", options->out, "the file to write: [tokens][vocabulary], little-endian").Required();
}

}  // namespace fedglm::cli
