// The subcommands: each lives in a file of its own, declares its flags, and returns a status that CommandLine::Run
// turns into one line on stderr and the documented exit code.
#pragma once

#include "base/command_line.h"

namespace fedglm::cli {

void AddGenerate(CommandLine& line);
void AddChat(CommandLine& line);
void AddServe(CommandLine& line);
void AddApiKeys(CommandLine& line);
void AddTokenize(CommandLine& line);
void AddLogits(CommandLine& line);
void AddPerplexity(CommandLine& line);
void AddBench(CommandLine& line);
void AddInspect(CommandLine& line);
void AddQuantize(CommandLine& line);
void AddImport(CommandLine& line);
void AddTrain(CommandLine& line);
void AddPretrain(CommandLine& line);
void AddEvaluate(CommandLine& line);
void AddAdapter(CommandLine& line);
void AddDemo(CommandLine& line);
void AddFederation(CommandLine& line);

}  // namespace fedglm::cli
