// fedglm serve: the OpenAI-compatible HTTP API over one model, until Ctrl-C. SIGUSR1 opens its adapters again.
#include <signal.h>
#include <time.h>

#include <cstdio>

#include "base/configuration.h"
#include "base/heap/heap.h"
#include "base/listen_address.h"
#include "base/log.h"
#include "base/process.h"
#include "base/warm_blocks.h"
#include "cli/command.h"
#include "cli/explain_memory.h"
#include "cli/model_options.h"
#include "inference/api/api_server.h"

namespace fedglm::cli {
namespace {

struct ServeOptions {
  ModelOptions model;
  std::vector<std::string> adapters;  // NAME=PATH
  std::string config;                 // TOML with a table [serve]
  // As text: they override the file's, and are checked as the file's are.
  std::string listen, model_name, api_keys, tls_certificate, tls_key, request_timeout;
  bool insecure_open = false;
  std::string log_level = "info";
};

absl::StatusOr<ApiOptions> ReadOptions(const ServeOptions& options) {
  if (!options.listen.empty()) FEDGLM_RETURN_IF_ERROR(ParseListenAddress(options.listen).status());
  absl::StatusOr<Configuration> file =
      options.config.empty() ? Configuration::Parse("", "serve") : Configuration::Load(options.config);
  if (!file.ok()) return file.status();
  const auto override_with = [&](const char* key, const std::string& value) {
    if (!value.empty()) file->Override(key, value);
  };
  // A path in the file is relative to the file, one in a flag to where the user is.
  const auto absolute = [](const std::string& path) {
    return path.empty() ? path : std::filesystem::absolute(path).string();
  };
  override_with("serve.listen", options.listen);
  override_with("serve.model_name", options.model_name);
  override_with("serve.api_keys", absolute(options.api_keys));
  override_with("serve.tls_certificate", absolute(options.tls_certificate));
  override_with("serve.tls_key", absolute(options.tls_key));
  override_with("serve.request_timeout", options.request_timeout);
  override_with("serve.insecure_open", options.insecure_open ? "true" : "");
  ApiOptions defaults;
  defaults.port = 8080;
  FEDGLM_ASSIGN_OR_RETURN(ApiOptions api, ReadApiOptions(*file, defaults));
  FEDGLM_RETURN_IF_ERROR(file->Finish());
  FEDGLM_RETURN_IF_ERROR(CheckExposure(api));  // before the model is loaded
  return api;
}

struct NamedAdapter {
  std::string name, path;
};

absl::StatusOr<std::vector<NamedAdapter>> NamedAdapters(const ServeOptions& options) {
  std::vector<NamedAdapter> named;
  for (const std::string& entry : options.adapters) {
    const size_t equals = entry.find('=');
    if (equals == std::string::npos || equals == 0 || equals + 1 == entry.size()) {
      return UsageError("--serve-adapter '" + entry + "' is not NAME=PATH");
    }
    named.push_back({entry.substr(0, equals), entry.substr(equals + 1)});
  }
  return named;
}

absl::Status AddNamedAdapters(const ServeOptions& options, Engine& engine) {
  FEDGLM_ASSIGN_OR_RETURN(const std::vector<NamedAdapter> named, NamedAdapters(options));
  for (const NamedAdapter& each : named) {
    FEDGLM_ASSIGN_OR_RETURN(std::shared_ptr<const Adapter> adapter, OpenAdapter(each.path, engine.file()));
    FEDGLM_RETURN_IF_ERROR(engine.AddAdapter(each.name, std::move(adapter)));
  }
  return absl::OkStatus();
}

absl::Status ExplainServing(const ServeOptions& options) {
  FEDGLM_ASSIGN_OR_RETURN(const std::vector<NamedAdapter> named, NamedAdapters(options));
  std::vector<std::string> paths;
  for (const NamedAdapter& each : named) paths.push_back(each.path);
  return ExplainMemory(options.model, options.model.explain_as_json, std::move(paths));
}

absl::Status OpenAdaptersAgain(const ServeOptions& options, Engine& engine) {
  FEDGLM_RETURN_IF_ERROR(InstallAdapter(options.model, engine));
  return AddNamedAdapters(options, engine);
}

// Until Ctrl-C or SIGTERM. What is being answered goes on while adapters are replaced (Engine::SetAdapter, AddAdapter).
void ServeUntilStopped(const ServeOptions& options, const sigset_t& reload, Engine& engine) {
  constexpr timespec kPoll = {0, 100'000'000};
  while (!StopRequested()) {
    if (sigtimedwait(&reload, nullptr, &kPoll) != SIGUSR1) continue;
    if (const absl::Status status = OpenAdaptersAgain(options, engine); status.ok()) {
      LogInfo("the adapters are opened again");
    } else {
      LogError("not all adapters could be opened again; the others stay as they were: " + Message(status));
    }
  }
}

absl::Status RunServe(const ServeOptions& options) {
  KeepHeapCompact();
  (void)KeepBlocksWarm();  // before the memory is planned: they count as the program's
  if (options.model.explain_memory) return ExplainServing(options);
  // Blocked before there are threads, which inherit that: it is taken in ServeUntilStopped alone.
  sigset_t reload;
  sigemptyset(&reload);
  sigaddset(&reload, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &reload, nullptr);
  LogOptions log;
  log.program = "fedglm";
  FEDGLM_ASSIGN_OR_RETURN(log.level, ParseLogLevel(options.log_level));
  FEDGLM_RETURN_IF_ERROR(InitializeLogging(log));
  FEDGLM_ASSIGN_OR_RETURN(const ApiOptions api, ReadOptions(options));
  FEDGLM_ASSIGN_OR_RETURN(std::unique_ptr<Engine> engine, OpenEngine(options.model));
  FEDGLM_RETURN_IF_ERROR(AddNamedAdapters(options, *engine));
  FEDGLM_ASSIGN_OR_RETURN(std::unique_ptr<ApiServer> server, ApiServer::Start(*engine, api));
  const bool ipv6 = api.host.find(':') != std::string::npos;
  std::fprintf(stderr, "serving on %s://%s:%d/v1 (Ctrl-C ends)\n", api.tls_certificate.empty() ? "http" : "https",
               ipv6 ? ("[" + api.host + "]").c_str() : api.host.c_str(), server->port());
  ServeUntilStopped(options, reload, *engine);
  server->Stop();
  return absl::OkStatus();
}

}  // namespace

void AddServe(CommandLine& line) {
  auto options = std::make_shared<ServeOptions>();
  Command app = line.Add("serve", "serve OpenAI's HTTP API", [options] { return RunServe(*options); });
  options->model.AddTo(app);
  options->model.AddAutotuneTo(app);
  options->model.AddQueueTo(app);
  options->model.AddExplainTo(app);
  app.Add("--serve-adapter", options->adapters,
          "NAME=PATH: an adapter that requests choose as their model (SIGUSR1 opens all again)");
  app.Add("--config", options->config, "TOML file whose table [serve] has what follows, and upstreams");
  app.Add("--listen", options->listen, "HOST:PORT; port 0 takes a free one (default: 127.0.0.1:8080)");
  app.Add("--model-name", options->model_name, "what clients call the model (default: its own name)");
  app.Add("--api-keys", options->api_keys, "file of keys, made with fedglm api-key new");
  app.Add("--tls-certificate", options->tls_certificate, "PEM, with its chain");
  app.Add("--tls-key", options->tls_key, "PEM");
  app.Add("--request-timeout", options->request_timeout, "seconds for one answer (default: 600; 0: none)");
  app.AddFlag("--insecure-open", options->insecure_open, "listen for other machines without keys or without TLS");
  app.Add("--log-level", options->log_level, "debug, info, warning, error or off").ShowDefault();
}

}  // namespace fedglm::cli
