// fedglm import HF_FOLDER OUT: a Hugging Face checkpoint as one GGUF model, quantized on the way if asked.
#include <cstdio>
#include <memory>

#include "base/configuration.h"
#include "base/json.h"
#include "base/process.h"
#include "base/progress.h"
#include "cli/command.h"
#include "inference/import/import_checkpoint.h"

namespace fedglm::cli {
namespace {

struct ImportFlags {
  std::string folder, out, type;
  int threads = 0;
  bool json = false;
};

absl::Status RunImport(const ImportFlags& flags) {
  ImportOptions options;
  options.threads = flags.threads;
  if (!flags.type.empty()) {
    FEDGLM_ASSIGN_OR_RETURN(options.mix, QuantizationMixFromName(flags.type));
  }
  Progress progress("import", 0, flags.json);
  const auto go_on = [&](int64_t done, const std::string& name) {
    progress.Update(done, name);
    return StopRequested() ? CancelledError("stopped") : absl::OkStatus();
  };
  FEDGLM_ASSIGN_OR_RETURN(const QuantizeReport report, ImportCheckpoint(flags.folder, flags.out, options, go_on));
  if (flags.json) {
    Json tensors = Json::object();
    for (const auto& [type, count] : report.tensors) tensors[std::string(FactsOf(type).name)] = count;
    const Json result = {
        {"version", 1}, {"bytes_out", report.bytes}, {"weights", report.weights}, {"tensors", tensors}};
    std::printf("%s\n", DumpJson(result).c_str());
  } else {
    progress.Finish(flags.out + ", " + FormatByteSize(report.bytes));
  }
  return absl::OkStatus();
}

}  // namespace

void AddImport(CommandLine& line) {
  auto flags = std::make_shared<ImportFlags>();
  Command app =
      line.Add("import", "make a GGUF model of a Hugging Face checkpoint", [flags] { return RunImport(*flags); });
  app.Add("folder", flags->folder, "with config.json, tokenizer.json and the safetensors files").Required();
  app.Add("out", flags->out, "the GGUF file to write").Required();
  app.Add("--type", flags->type, "as for quantize; without it, weights stay as they are");
  app.Add("-t,--threads", flags->threads).Between(0, 1024);
  app.AddFlag("--json", flags->json);
}

}  // namespace fedglm::cli
