// make-model: a model file of random weights in the shape of a known model.
#include <string>

#include "base/configuration.h"
#include "base/process.h"
#include "base/progress.h"
#include "bench/measurement_program.h"
#include "bench/random_model.h"

namespace fedglm::bench {
namespace {

struct MakeModelOptions {
  std::string like, type = "Q4_0", output_type, out;
  uint64_t seed = 1;
  int64_t layers = 0;  // 0: as the shape has
};

absl::Status MakeModel(const MakeModelOptions& options) {
  RandomModelOptions model;
  model.seed = options.seed;
  FEDGLM_ASSIGN_OR_RETURN(model.shape, ShapeOf(options.like));
  FEDGLM_ASSIGN_OR_RETURN(model.type, BlockTypeFromName(options.type));
  FEDGLM_ASSIGN_OR_RETURN(model.output_type,
                          BlockTypeFromName(options.output_type.empty() ? options.type : options.output_type));
  if (options.layers > 0) model.shape.layers = options.layers;
  Progress progress("make-model", 0);
  FEDGLM_ASSIGN_OR_RETURN(const uint64_t bytes,
                          WriteRandomModel(model, options.out, [&](int64_t done, const std::string& tensor) {
                            progress.Update(done, tensor);
                            return StopRequested() ? CancelledError("stopped") : absl::OkStatus();
                          }));
  progress.Finish(options.out + ", " + FormatByteSize(bytes));
  return absl::OkStatus();
}

}  // namespace
}  // namespace fedglm::bench

int main(int argc, char** argv) {
  using namespace fedglm;
  HandleStopSignals();
  bench::MakeModelOptions options;
  CommandLine line("make-model", "A model file of random weights in the shape of a known model");
  Command app = line.root();
  app.Add("--like", options.like, "the model whose shape it has").Required().OneOf(bench::KnownShapes());
  app.Add("--type", options.type, "block type of the matrices").ShowDefault();
  app.Add("--output-type", options.output_type, "block type of the output head; as the others by default");
  app.Add("--out,-o", options.out, "the GGUF file to write").Required();
  app.Add("--seed", options.seed).ShowDefault();
  app.Add("--layers", options.layers, "fewer or more layers than the model has").Between(1, 1000);
  return line.Run(argc, argv, [&] { return bench::MakeModel(options); });
}
