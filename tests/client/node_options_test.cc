#include "client/node_options.h"

#include <gmock/gmock.h>

#include "tests/client/site_fixture.h"
#include "tests/support/first_file.h"

namespace fedglm {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class NodeOptionsTest : public testing::Test {
 protected:
  absl::StatusOr<NodeOptions> Read(const std::string& toml) {
    EXPECT_TRUE(WriteFileAtomically(Path("node.toml"), toml).ok());
    FEDGLM_ASSIGN_OR_RETURN(Configuration configuration, Configuration::Load(Path("node.toml")));
    return NodeOptions::Read(configuration);
  }
  void ExpectWrong(const std::string& toml, const std::string& because) {
    const absl::Status status = Read(toml).status();
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kConfiguration) << toml;
    EXPECT_THAT(Message(status), HasSubstr(because));
  }
  std::string Path(const std::string& name) const { return (folder_.path() / name).string(); }

  const TemporaryDirectory folder_ = MakeFolder();
};

constexpr char kLeast[] =
    "model = 'base.gguf'\n[records]\ntrain = ['records/train.jsonl']\n[federation]\nsite = 'berlin'\n";

TEST_F(NodeOptionsTest, RelativePathsLieBesideTheFile) {
  const NodeOptions options = Get(Read(std::string(kLeast) + "token_file = 'token'\n[log]\nfile = 'log/node.log'\n"));
  EXPECT_EQ(options.model, Path("base.gguf"));
  EXPECT_THAT(options.training_records, ElementsAre(Path("records/train.jsonl")));
  EXPECT_EQ(options.token_file, Path("token"));
  EXPECT_EQ(options.state_dir, Path("state")) << "the default as well";
  EXPECT_EQ(options.log.file, Path("log/node.log"));
  EXPECT_EQ(options.serve.host, "127.0.0.1");
  EXPECT_EQ(options.serve.port, 0);
}

TEST_F(NodeOptionsTest, EverythingThatIsSaidIsRead) {
  const NodeOptions options = Get(
      Read("model = '/models/base.gguf'\n[records]\ntrain = ['/data/a.jsonl', '/data/b.jsonl']\nheld_out = "
           "['/data/h.jsonl']\n"
           "[federation]\nsite = 'berlin'\n[node]\nstate_dir = '/var/lib/fedglm'\n[serve]\nlisten = "
           "'[::1]:8080'\ncontext = 4096\n"
           "autotune = false\npin_threads = 'on'\nmemory_budget = '3GiB'\nkv_type = 'q8_0'\nparallel = 4\nqueue = 0\n"
           "[training]\nthreads = 3\nmicro_batch_tokens = 512\n[privacy]\nmax_update_norm = 2.5\n[log]\nlevel = "
           "'debug'\njson = true\n"));
  EXPECT_EQ(options.model, "/models/base.gguf");
  EXPECT_THAT(options.training_records, ElementsAre("/data/a.jsonl", "/data/b.jsonl"));
  EXPECT_THAT(options.held_out_records, ElementsAre("/data/h.jsonl"));
  EXPECT_EQ(options.state_dir, "/var/lib/fedglm");
  EXPECT_EQ(options.serve.host, "::1");
  EXPECT_EQ(options.serve.port, 8080);
  EXPECT_EQ(options.engine.context, 4096);
  EXPECT_FALSE(options.autotune);
  EXPECT_EQ(options.engine.pin_threads, ThreadPinning::kOn);
  EXPECT_EQ(options.engine.memory_budget, uint64_t{3} << 30);
  EXPECT_TRUE(options.engine.quantized_cache);
  EXPECT_EQ(options.engine.max_running, 4);
  EXPECT_EQ(options.engine.max_waiting, 0);
  EXPECT_EQ(options.threads, 3);
  EXPECT_EQ(options.micro_batch_tokens, 512);
  EXPECT_EQ(options.privacy.max_update_norm, 2.5);
  EXPECT_EQ(options.log.level, LogLevel::kDebug);
  EXPECT_TRUE(options.log.json);
}

TEST_F(NodeOptionsTest, AnAggregatorThatHasMovedIsNamedByItsAddress) {
  EXPECT_EQ(Get(Read(kLeast)).federation_address, "") << "as enrolment said";
  for (const char* good : {"aggregator.example:7443", "10.0.0.7:7443", "[::1]:7443"}) {
    const NodeOptions options = Get(Read(std::string(kLeast) + "address = '" + good + "'\n"));
    EXPECT_EQ(options.federation_address, good);
  }
  for (const char* bad : {"aggregator", ":7443", "aggregator:port", "unix:/run/x:1", "http://aggregator:7443"}) {
    ExpectWrong(std::string(kLeast) + "address = '" + bad + "'\n", "federation.address is HOST:PORT");
  }
}

// SIGHUP: it is looked at by the process that has given up its files.
TEST_F(NodeOptionsTest, TheTokenFileIsOneThatTheRunningNodeMayRead) {
  const NodeOptions options = Get(Read(std::string(kLeast) + "token_file = 'token'\n"));
  EXPECT_THAT(options.ReadablePaths(), testing::Contains(std::filesystem::path(Path("token"))));
  EXPECT_THAT(options.ReadablePaths(), testing::Not(testing::Contains(folder_.path()))) << "and not its folder";
}

TEST_F(NodeOptionsTest, ServingToOtherMachinesNeedsKeysAndTlsWhichTheNodeMayRead) {
  const std::string open = std::string(kLeast) + "[serve]\nlisten = '0.0.0.0:8443'\n";
  ExpectWrong(open, "can be reached from other machines");
  const std::string guarded = open +
                              "api_keys = '/etc2/keys/api'\ntls_certificate = '/etc2/c.pem'\ntls_key = '/etc2/k.pem'\n"
                              "upstream_allow = ['10.0.0.7']\n[[serve.upstream]]\nurl = 'http://10.0.0.7:8080'\n"
                              "api_key_file = '/etc2/upstream-key'\n";
  const NodeOptions options = Get(Read(guarded));
  EXPECT_EQ(options.serve.upstreams.size(), 1u);
  for (const char* path : {"/etc2/keys", "/etc2/c.pem", "/etc2/k.pem", "/etc2/upstream-key"}) {
    EXPECT_THAT(options.ReadablePaths(), testing::Contains(std::filesystem::path(path)));
  }
  ExpectWrong(std::string(kLeast) + "[serve]\napi_keys = 'records/keys'\n",
              "which the process with the network may read");
}

TEST_F(NodeOptionsTest, AnUnknownKeyIsNamedWithItsLine) {
  ExpectWrong(std::string(kLeast) + "[serve]\npin_threads = 'yes'\n", "serve.pin_threads");
  ExpectWrong(std::string(kLeast) + "[privacy]\nmax_update_nrom = 1.0\n",
              "node.toml:7: unknown key 'privacy.max_update_nrom'");
}

TEST_F(NodeOptionsTest, WhatIsMissingOrWrongIsSaid) {
  ExpectWrong("[records]\ntrain = ['a']\n[federation]\nsite = 'berlin'\n", "model");
  ExpectWrong("model = 'm'\n[records]\ntrain = ['a']\n", "federation.site");
  ExpectWrong("model = 'm'\n[federation]\nsite = 'berlin'\n", "records.train");
  ExpectWrong(std::string(kLeast) + "[serve]\nlisten = '8080'\n", "serve.listen");
  ExpectWrong(std::string(kLeast) + "[serve]\nlisten = 'localhost:70000'\n", "serve.listen");
  ExpectWrong(std::string(kLeast) + "[serve]\nmemory_budget = 'much'\n", "serve.memory_budget");
  ExpectWrong(std::string(kLeast) + "[serve]\nkv_type = 'q4_0'\n", "serve.kv_type");
  ExpectWrong(std::string(kLeast) + "[serve]\nparallel = 0\n", "serve.parallel");
  ExpectWrong("model = 'm'\n[records]\ntrain = ['a']\n[federation]\nsite = 'Berlin, Mitte'\n", "federation.site");
  ExpectWrong(std::string(kLeast) + "[privacy]\nmax_update_norm = -1.0\n", "privacy.max_update_norm");
  ExpectWrong(std::string(kLeast) + "[training]\nthreads = 'all'\n", "training.threads");
  ExpectWrong(std::string(kLeast) + "[log]\nlevel = 'loud'\n", "log.level");
}

// What `init` writes is accepted, and where it shows a default, it is the program's.
TEST_F(NodeOptionsTest, TheFirstFileSaysWhatTheDefaultsAre) {
  const NodeOptions defaults = Get(Read(kLeast));
  const std::string first(NodeOptions::FirstFile()), whole = WithEveryKey(first);
  EXPECT_NE(first, whole);
  for (const std::string& text : {first, whole}) {
    const NodeOptions o = Get(Read(text));
    EXPECT_EQ(o.model, Path("model.gguf"));
    EXPECT_THAT(o.training_records, ElementsAre("/srv/records/train.jsonl"));
    EXPECT_TRUE(o.held_out_records.empty());
    EXPECT_EQ(o.site, "my-site");
    EXPECT_EQ(o.token_file, Path("site.token"));
    EXPECT_EQ(o.state_dir, defaults.state_dir);
    EXPECT_EQ(o.serve.host, defaults.serve.host);
    EXPECT_EQ(o.serve.port, 8080);
    EXPECT_EQ(o.serve.request_seconds, defaults.serve.request_seconds);
    EXPECT_EQ(o.serve.idle_seconds, defaults.serve.idle_seconds);
    EXPECT_EQ(o.serve.stop_seconds, defaults.serve.stop_seconds);
    EXPECT_EQ(o.engine.context, defaults.engine.context);
    EXPECT_EQ(o.engine.quantized_cache, defaults.engine.quantized_cache);
    EXPECT_EQ(o.engine.max_running, defaults.engine.max_running);
    EXPECT_EQ(o.engine.max_waiting, defaults.engine.max_waiting);
    EXPECT_EQ(o.engine.pin_threads, defaults.engine.pin_threads);
    EXPECT_EQ(o.autotune, defaults.autotune);
    EXPECT_EQ(o.threads, defaults.threads);
    EXPECT_EQ(o.micro_batch_tokens, defaults.micro_batch_tokens);
    EXPECT_EQ(o.privacy.max_update_norm, defaults.privacy.max_update_norm);
    EXPECT_EQ(o.max_regression, defaults.max_regression);
    EXPECT_EQ(o.log.level, defaults.log.level);
    EXPECT_EQ(o.log.json, defaults.log.json);
  }
}

// The wall between the process with the network and the records must have no hole from the start.
TEST_F(NodeOptionsTest, RecordsThatTheNodeCouldReadAreRefused) {
  const auto with = [](const std::string& records, const std::string& rest = "") {
    return "model = 'base.gguf'\n[records]\n" + records + "\n[federation]\nsite = 'berlin'\n" + rest;
  };
  const std::string train = "train = ['records.jsonl']";
  EXPECT_TRUE(Read(with(train)).ok());
  ExpectWrong(with("train = ['state/records.jsonl']"), "state/records.jsonl lies below");
  ExpectWrong(with("train = ['elsewhere/../state/inbox/records.jsonl']"), "lies below");
  ExpectWrong(with(train + "\nheld_out = ['state/held-out.jsonl']"), "held-out.jsonl lies below");
  ExpectWrong(with("train = ['/etc/records.jsonl']"), "lies below /etc");
  ExpectWrong(with("train = ['base.gguf']"), "lies below");
  ExpectWrong(with("train = ['log/records.jsonl']", "[log]\nfile = 'log/node.log'\n"), "lies below");
  ExpectWrong(with(train, "[node]\nstate_dir = '.'\n"), "lies below");
  EXPECT_TRUE(Read(with("train = ['state-of-berlin/records.jsonl']")).ok()) << "a name that only begins alike";
}

TEST_F(NodeOptionsTest, ALinkIntoTheStateFolderIsAHoleAsWell) {
  std::filesystem::create_directories(Path("state"));
  ASSERT_TRUE(WriteFileAtomically(Path("state/hidden.jsonl"), "{}").ok());
  std::filesystem::create_symlink(Path("state/hidden.jsonl"), Path("records.jsonl"));
  ExpectWrong("model = 'base.gguf'\n[records]\ntrain = ['records.jsonl']\n[federation]\nsite = 'berlin'\n",
              "lies below");
}

}  // namespace
}  // namespace fedglm
