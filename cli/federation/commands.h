// The commands of `fedglm federation` that show how the federation goes, and keep what comes of it.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "base/command_line.h"
#include "client/administration_client.h"

namespace fedglm::cli {

struct AdministrationOptions {
  std::string admin, address;
  bool json = false;
};

// A command with --admin, --address and --json, whose `run` gets a client. `options` lives as long as the command line.
Command AddAdministrationCommand(CommandLine& line, Command group, const char* name, const char* description,
                                 AdministrationOptions& options,
                                 std::function<absl::Status(AdministrationClient&)> run);

// The file with the federation's public signing key: `given`, or if that is empty the one beside the administrator's
// folder.
std::filesystem::path SigningKeyOf(const std::filesystem::path& admin, const std::string& given);

void AddLosses(CommandLine& line, Command group);
void AddBest(CommandLine& line, Command group);
void AddExport(CommandLine& line, Command group);
void AddWatch(CommandLine& line, Command group);

}  // namespace fedglm::cli
