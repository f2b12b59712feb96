// fedglm quantize IN OUT TYPE: the same model with its matrices in another block type.
#include <cstdio>

#include "base/configuration.h"
#include "base/process.h"
#include "base/progress.h"
#include "cli/command.h"
#include "inference/gguf/quantize_file.h"

namespace fedglm::cli {
namespace {

struct QuantizeOptions {
  std::string in, out, type;
  int threads = 0;
};

absl::Status RunQuantize(const QuantizeOptions& options) {
  FEDGLM_ASSIGN_OR_RETURN(const BlockType type, BlockTypeFromName(options.type));
  FEDGLM_ASSIGN_OR_RETURN(const std::shared_ptr<const GgufFile> in, GgufFile::Open(options.in));
  Progress progress("quantize", static_cast<int64_t>(in->tensors().size()));
  FEDGLM_ASSIGN_OR_RETURN(const uint64_t bytes,
                          QuantizeFile(*in, options.out, type, options.threads, [&](int64_t done, const std::string& name) {
                            progress.Update(done, name);
                            return StopRequested() ? CancelledError("stopped") : absl::OkStatus();
                          }));
  progress.Finish(FormatByteSize(in->file_bytes()) + " to " + FormatByteSize(bytes));
  return absl::OkStatus();
}

}  // namespace

void AddQuantize(CommandLine& line) {
  auto options = std::make_shared<QuantizeOptions>();
  CLI::App* app = line.Add("quantize", "write a model in another block type", [options] { return RunQuantize(*options); });
  app->add_option("in", options->in, "GGUF file")->required();
  app->add_option("out", options->out, "the GGUF file to write")->required();
  app->add_option("type", options->type, "F32, F16, BF16, Q8_0, Q5_0, Q5_1, Q4_0, Q4_1")->required();
  app->add_option("-t,--threads", options->threads)->check(CLI::Range(0, 1024));
}

}  // namespace fedglm::cli
