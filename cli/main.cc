#include "base/log.h"
#include "base/process.h"
#include "cli/command.h"
#include "inference/kernels/instruction_sets.h"

int main(int argc, char** argv) {
  fedglm::HandleStopSignals();
  fedglm::LogOptions log;
  log.program = "fedglm";
  log.level = fedglm::LogLevel::kWarning;
  if (absl::Status status = fedglm::InitializeLogging(log); !status.ok()) return 1;

  fedglm::CommandLine line("fedglm", "adapt one quantized language model together, records stay where they are");
  line.CheckFirst(fedglm::CheckInstructionSetOfEnvironment);
  using namespace fedglm::cli;
  AddGenerate(line);
  AddChat(line);
  AddServe(line);
  AddApiKeys(line);
  AddTokenize(line);
  AddLogits(line);
  AddPerplexity(line);
  AddBench(line);
  AddInspect(line);
  AddQuantize(line);
  AddImport(line);
  AddTrain(line);
  AddPretrain(line);
  AddEvaluate(line);
  AddAdapter(line);
  AddDemo(line);
  AddFederation(line);
  return line.Run(argc, argv);
}
