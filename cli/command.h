// The frame of the subcommands: each lives in a file of its own, declares its flags, and returns a status that main()
// turns into one line on stderr and the documented exit code.
#pragma once

#include <functional>
#include <string>

#include "CLI/CLI.hpp"
#include "base/status.h"

namespace fedglm::cli {

class CommandLine {
 public:
  CommandLine();

  // A subcommand below `parent` (nullptr: the program). `run` is called after all flags have been parsed.
  CLI::App* Add(const std::string& name, const std::string& description, std::function<absl::Status()> run,
                CLI::App* parent = nullptr);
  // A subcommand that only holds others.
  CLI::App* AddGroup(const std::string& name, const std::string& description);

  // Parses and runs; the process's exit code.
  int Run(int argc, char** argv);

 private:
  CLI::App root_;
  std::function<absl::Status()> chosen_;
};

// A number in the range, both ends included. (CLI11's Range alone lets NaN pass.)
CLI::Validator Between(double lowest, double highest);

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
