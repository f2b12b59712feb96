// fedglm serve: the OpenAI-compatible HTTP API over one model, until Ctrl-C.
#include <chrono>
#include <cstdio>
#include <thread>

#include "base/process.h"
#include "cli/command.h"
#include "base/listen_address.h"
#include "cli/model_options.h"
#include "inference/api/api_server.h"

namespace fedglm::cli {
namespace {

struct ServeOptions {
  ModelOptions model;
  std::string listen = "127.0.0.1:8080";
};

absl::Status RunServe(const ServeOptions& options) {
  FEDGLM_ASSIGN_OR_RETURN(const ListenAddress address, ParseListenAddress(options.listen));
  FEDGLM_ASSIGN_OR_RETURN(std::unique_ptr<Engine> engine, OpenEngine(options.model));
  ApiOptions api;
  api.host = address.host;
  api.port = address.port;
  FEDGLM_ASSIGN_OR_RETURN(std::unique_ptr<ApiServer> server, ApiServer::Start(*engine, api));
  std::fprintf(stderr, "serving on http://%s:%d/v1 (Ctrl-C ends)\n", address.host.c_str(), server->port());
  while (!StopRequested()) std::this_thread::sleep_for(std::chrono::milliseconds(100));
  server->Stop();
  return absl::OkStatus();
}

}  // namespace

void AddServe(CommandLine& line) {
  auto options = std::make_shared<ServeOptions>();
  CLI::App* app = line.Add("serve", "serve OpenAI's HTTP API", [options] { return RunServe(*options); });
  options->model.AddTo(app);
  app->add_option("--listen", options->listen, "HOST:PORT; port 0 takes a free one")->capture_default_str();
}

}  // namespace fedglm::cli
