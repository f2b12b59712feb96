// A program's command line: options with their texts and ranges, subcommands, one-line errors and exit codes.
// CLI11 reads it, and is seen by command_line.cc alone: a file that includes its header compiles for ten seconds.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace fedglm {

// An option of a Command, and as long-lived. Its calls can be chained. Not for several threads.
class CommandOption {
 public:
  CommandOption& Required();
  CommandOption& ShowDefault();                                 // the variable's present value stands in --help
  CommandOption& Between(int64_t lowest, int64_t highest);      // whole numbers, both ends included
  CommandOption& NumberBetween(double lowest, double highest);  // both ends included; NaN is refused
  CommandOption& Positive();                                    // above 0
  CommandOption& NotNegative();                                 // 0 or above
  CommandOption& OneOf(const std::vector<std::string>& words);
  CommandOption& NotEmpty();
  CommandOption& ExistingFile();
  CommandOption& Separated(char delimiter);  // "a,b,c" is three values of a vector
  CommandOption& Needs(const CommandOption& other);

  // After parsing: whether the user gave it.
  bool Given() const;

 private:
  friend class Command;
  explicit CommandOption(CLI::Option* option) : option_(option) {}
  CLI::Option* option_;
};

// A program or one of its subcommands; a handle, cheap to copy. What options write to must outlive the parsing.
class Command {
 public:
  // "-m,--model" writes to `target`; a name without dashes is a positional argument. For std::string,
  // std::filesystem::path, int, int64_t, uint64_t, float, double, std::optional<int64_t>, std::optional<bool>, and
  // vectors of std::string, int and int64_t.
  template <typename T>
  CommandOption Add(const std::string& names, T& target, const std::string& description = "");
  // A switch. "!--no-thing" sets `target` to false.
  CommandOption AddFlag(const std::string& names, bool& target, const std::string& description = "");
  // Whether an option of this name is there already.
  bool Has(const std::string& name) const;

 private:
  friend class CommandLine;
  explicit Command(CLI::App* app) : app_(app) {}
  CLI::App* app_;
};

// Owns the tree of commands. Not for several threads.
class CommandLine {
 public:
  CommandLine(const std::string& program, const std::string& description);
  ~CommandLine();

  // The program itself, for one without subcommands.
  Command root();
  // A subcommand. `run` is called after everything has been parsed.
  Command Add(const std::string& name, const std::string& description, std::function<absl::Status()> run);
  // A subcommand that only holds others, and one of those.
  Command AddGroup(const std::string& name, const std::string& description);
  Command AddTo(Command group, const std::string& name, const std::string& description,
                std::function<absl::Status()> run);

  // What is called after parsing and before `run`; its error is the program's.
  void CheckFirst(std::function<absl::Status()> check);

  // Parses, calls the chosen subcommand's `run`, or this one where none was chosen, and prints what failed as one line
  // on stderr. The process's exit code: kUsage for a wrong command line, 0 after --help and --version, else that of the
  // status. An exception of a library, and a stdout that cannot be written, are failures too.
  int Run(int argc, char** argv, const std::function<absl::Status()>& run = nullptr);

 private:
  std::string program_;
  std::unique_ptr<CLI::App> root_;
  std::function<absl::Status()> check_, chosen_;

  // Writes out what stands in stdout's buffer, and `status` to stderr: the exit code.
  int Finish(absl::Status status) const;
};

}  // namespace fedglm
