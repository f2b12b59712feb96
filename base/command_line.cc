#include "base/command_line.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <iostream>
#include <new>
#include <optional>
#include <span>
#include <system_error>

#include "CLI/CLI.hpp"
#include "base/utf8.h"

namespace fedglm {
namespace {

// CLI11's Range lets NaN pass.
std::string IsNumber(const std::string& text) {
  return std::isnan(std::strtod(text.c_str(), nullptr)) ? text + " is not a number" : std::string();
}

// CLI11's PositiveNumber prints the range that is left, to the last of 309 digits. What is no number at all is refused
// when it is converted.
std::string CheckSign(const std::string& text, bool above_zero) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (end == text.c_str() || *end != '\0') return "";
  if (std::isnan(value)) return text + " is not a number";
  if (above_zero && value <= 0) return text + " is not above 0";
  return value < 0 ? text + " is below 0" : std::string();
}

// What is wrong with a command line, and whose help says more: "(see fedglm adapter --help)". CLI11 says of an unknown
// command only that one is required.
std::string Explain(const CLI::ParseError& error, const CLI::App& root, const std::string& program,
                    std::span<char* const> words) {
  const CLI::App* app = &root;
  std::string message = error.what(), command = program;
  for (const char* word : words) {
    const auto next = app->get_subcommands([&](const CLI::App* one) { return one->check_name(word); });
    if (next.empty()) {
      const bool wanted = app->get_require_subcommand_min() > 0 && *word != '-';
      if (wanted) message = "there is no command \"" + std::string(word) + "\"";
      break;
    }
    app = next.front();
    command += " " + std::string(word);
  }
  return message + " (see " + command + " --help)";
}

absl::Status CallRun(const std::function<absl::Status()>& run) {
  try {
    return run();
  } catch (const std::bad_alloc&) {
    return FailedError("out of memory");
  } catch (const std::system_error& error) {
    if (error.code() != std::errc::resource_unavailable_try_again) return FailedError(error.what());
    return FailedError("cannot start a thread (ulimit -u, or the limit of a container)");
  } catch (const std::exception& error) {
    return FailedError(std::string("unexpected: ") + error.what());
  }
}

}  // namespace

CommandOption& CommandOption::Required() { return option_->required(), *this; }
CommandOption& CommandOption::ShowDefault() { return option_->capture_default_str(), *this; }
CommandOption& CommandOption::Between(int64_t lowest, int64_t highest) {
  return option_->check(CLI::Range(lowest, highest)), *this;
}
CommandOption& CommandOption::NumberBetween(double lowest, double highest) {
  return option_->check(CLI::Range(lowest, highest) & CLI::Validator(IsNumber, "")), *this;
}
CommandOption& CommandOption::Positive() {
  return option_->check([](const std::string& text) { return CheckSign(text, true); }), *this;
}
CommandOption& CommandOption::NotNegative() {
  return option_->check([](const std::string& text) { return CheckSign(text, false); }), *this;
}
CommandOption& CommandOption::OneOf(const std::vector<std::string>& words) {
  return option_->check(CLI::IsMember(words)), *this;
}
// CLI11 takes an empty text as the number 0.
CommandOption& CommandOption::NotEmpty() {
  return option_->check([](const std::string& text) { return std::string(text.empty() ? "is empty" : ""); }), *this;
}
CommandOption& CommandOption::ExistingFile() { return option_->check(CLI::ExistingFile), *this; }
CommandOption& CommandOption::Separated(char delimiter) { return option_->delimiter(delimiter), *this; }
CommandOption& CommandOption::Needs(const CommandOption& other) { return option_->needs(other.option_), *this; }
bool CommandOption::Given() const { return option_->count() > 0; }

template <typename T>
CommandOption Command::Add(const std::string& names, T& target, const std::string& description) {
  return CommandOption(app_->add_option(names, target, description));
}
template CommandOption Command::Add(const std::string&, std::string&, const std::string&);
template CommandOption Command::Add(const std::string&, int&, const std::string&);
template CommandOption Command::Add(const std::string&, int64_t&, const std::string&);
template CommandOption Command::Add(const std::string&, uint64_t&, const std::string&);
template CommandOption Command::Add(const std::string&, float&, const std::string&);
template CommandOption Command::Add(const std::string&, double&, const std::string&);
template CommandOption Command::Add(const std::string&, std::optional<int64_t>&, const std::string&);
template CommandOption Command::Add(const std::string&, std::optional<bool>&, const std::string&);
template CommandOption Command::Add(const std::string&, std::filesystem::path&, const std::string&);
template CommandOption Command::Add(const std::string&, std::vector<std::string>&, const std::string&);
template CommandOption Command::Add(const std::string&, std::vector<int>&, const std::string&);
template CommandOption Command::Add(const std::string&, std::vector<int64_t>&, const std::string&);

CommandOption Command::AddFlag(const std::string& names, bool& target, const std::string& description) {
  return CommandOption(app_->add_flag(names, target, description));
}

bool Command::Has(const std::string& name) const { return app_->get_option_no_throw(name) != nullptr; }

CommandLine::CommandLine(const std::string& program, const std::string& description)
    : program_(program), root_(std::make_unique<CLI::App>(program + ": " + description, program)) {
  root_->set_version_flag("--version", std::string("fedglm ") + FEDGLM_VERSION);
}

CommandLine::~CommandLine() = default;

Command CommandLine::root() { return Command(root_.get()); }

Command CommandLine::Add(const std::string& name, const std::string& description, std::function<absl::Status()> run) {
  root_->require_subcommand(1);
  return AddTo(root(), name, description, std::move(run));
}

Command CommandLine::AddGroup(const std::string& name, const std::string& description) {
  CLI::App* app = root_->add_subcommand(name, description);
  app->require_subcommand(1);
  return Command(app);
}

Command CommandLine::AddTo(Command group, const std::string& name, const std::string& description,
                           std::function<absl::Status()> run) {
  CLI::App* app = group.app_->add_subcommand(name, description);
  app->callback([this, run = std::move(run)] { chosen_ = run; });
  return Command(app);
}

void CommandLine::CheckFirst(std::function<absl::Status()> check) { check_ = std::move(check); }

int CommandLine::Run(int argc, char** argv, const std::function<absl::Status()>& run) {
  try {
    root_->parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() != 0) {
      // A message may quote names that a file holds.
      const std::string message = Explain(error, *root_, program_, {argv + 1, argv + argc});
      std::fprintf(stderr, "%s: %s\n", program_.c_str(), OneLine(message).c_str());
      return static_cast<int>(ExitCode::kUsage);
    }
    root_->exit(error);  // --help, --version
    return Finish(absl::OkStatus());
  }
  absl::Status status = check_ ? CallRun(check_) : absl::OkStatus();
  if (status.ok()) status = CallRun(chosen_ ? chosen_ : run);
  return Finish(std::move(status));
}

int CommandLine::Finish(absl::Status status) const {
  std::cout.flush();                              // CLI11 prints its help there
  const bool flushed = std::fflush(stdout) == 0;  // says nothing of what an earlier flush has lost; ferror does
  if (status.ok() && (!flushed || std::ferror(stdout) != 0 || !std::cout)) {
    status = FailedError("cannot write to stdout");
  }
  if (!status.ok()) std::fprintf(stderr, "%s: %s\n", program_.c_str(), OneLine(Message(status)).c_str());
  return static_cast<int>(ExitCodeOf(status));
}

}  // namespace fedglm
