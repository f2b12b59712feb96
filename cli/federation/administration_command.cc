#include "cli/federation/commands.h"

namespace fedglm::cli {

Command AddAdministrationCommand(CommandLine& line, Command group, const char* name, const char* description,
                                 AdministrationOptions& options,
                                 std::function<absl::Status(AdministrationClient&)> run) {
  Command command = line.AddTo(group, name, description, [&options, run = std::move(run)]() -> absl::Status {
    FEDGLM_ASSIGN_OR_RETURN(const std::unique_ptr<AdministrationClient> client,
                            AdministrationClient::Open(options.admin, options.address));
    return run(*client);
  });
  command.Add("--admin", options.admin, "folder with an administrator's key and certificate: STATE_DIR/admin")
      .Required();
  command.Add("--address", options.address, "HOST:PORT; default: the one in the aggregator's state folder");
  command.AddFlag("--json", options.json);
  return command;
}

std::filesystem::path SigningKeyOf(const std::filesystem::path& admin, const std::string& given) {
  if (!given.empty()) return given;
  const std::filesystem::path folder = admin.lexically_normal();
  return (folder.has_filename() ? folder : folder.parent_path()).parent_path() / "signing-public.pem";
}

}  // namespace fedglm::cli
