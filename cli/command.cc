#include "cli/command.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>

namespace fedglm::cli {
namespace {

// A message may quote names that a file holds: one line it stays, and nothing for the terminal to obey.
std::string OneLine(std::string message) {
  for (char& c : message) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  return message;
}

}  // namespace

CommandLine::CommandLine() : root_("fedglm: adapt one quantized language model together, records stay where they are") {
  root_.set_version_flag("--version", std::string("fedglm ") + FEDGLM_VERSION);
  root_.require_subcommand(1);
}

CLI::App* CommandLine::Add(const std::string& name, const std::string& description, std::function<absl::Status()> run,
                           CLI::App* parent) {
  CLI::App* app = (parent != nullptr ? parent : &root_)->add_subcommand(name, description);
  app->callback([this, run = std::move(run)] { chosen_ = run; });
  return app;
}

CLI::App* CommandLine::AddGroup(const std::string& name, const std::string& description) {
  CLI::App* app = root_.add_subcommand(name, description);
  app->require_subcommand(1);
  return app;
}

int CommandLine::Run(int argc, char** argv) {
  try {
    root_.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return root_.exit(error);  // --help, --version
    std::fprintf(stderr, "fedglm: %s (see fedglm --help)\n", OneLine(error.what()).c_str());
    return static_cast<int>(ExitCode::kUsage);
  }
  absl::Status status;
  try {
    status = chosen_();
  } catch (const std::bad_alloc&) {
    status = FailedError("out of memory");
  } catch (const std::exception& error) {
    status = FailedError(std::string("unexpected: ") + error.what());
  }
  const bool flushed = std::fflush(stdout) == 0;  // says nothing of what an earlier flush has lost; ferror does
  if (status.ok() && (!flushed || std::ferror(stdout) != 0)) status = FailedError("cannot write to stdout");
  if (!status.ok()) std::fprintf(stderr, "fedglm: %s\n", OneLine(Message(status)).c_str());
  return static_cast<int>(ExitCodeOf(status));
}

CLI::Validator Between(double lowest, double highest) {
  const CLI::Validator is_number(
      [](const std::string& text) {
        return std::isnan(std::strtod(text.c_str(), nullptr)) ? text + " is not a number" : std::string();
      },
      "");
  return CLI::Range(lowest, highest) & is_number;
}

}  // namespace fedglm::cli
