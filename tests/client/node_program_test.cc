// fedglm-node as a site meets it: exit codes, one clear line, what it cannot open, how it ends.
#include <gmock/gmock.h>
#include <linux/landlock.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "aggregator/aggregator_server.h"
#include "base/json.h"
#include "base/lock_file.h"
#include "base/process.h"
#include "client/enrolment_client.h"
#include "client/site_state.h"
#include "tests/client/small_site.h"
#include "tests/support/http.h"
#include "tests/support/loopback_listener.h"
#include "tests/support/source_tree.h"
#include "tests/support/wait_until.h"

namespace fedglm {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class NodeProgramTest : public SmallSite {
 protected:
  void SetUp() override {
    SmallSite::SetUp();
    if (IsSkipped()) return;
    config_ =
        "model = 'base.gguf'\n[records]\ntrain = ['records.jsonl']\nheld_out = ['held-out.jsonl']\n"
        "[training]\nthreads = 1\nmicro_batch_tokens = 64\n[log]\nfile = 'log/node.log'\n"
        "[adapter]\nmax_regression = 1e12\n"  // the golden LoRA is random, and worse than the base
        "[federation]\nsite = 'berlin'\ntoken_file = 'token'\n";
  }

  // One round with one site, from the golden LoRA. Again: the same one goes on.
  void StartAggregator(Clock& clock = Clock::System()) {
    AggregatorOptions options = SmallOptions(root_.path());
    options.advertise = "127.0.0.1";
    options.rounds = options.min_sites = options.min_updates = 1;
    options.state_dir = Path("aggregator");
    options.initial_adapter = Path("first-adapter");
    options.training.steps = 1;
    options.training.batch_tokens = options.training.sequence_length = 64;
    Adapter first = Lora();
    first.provenance = Provenance{base_sha256_};
    ASSERT_TRUE(SaveAdapter(first, options.initial_adapter).ok());
    if (!federation_address_.empty()) options.listen = federation_address_;
    if (!enrolment_address_.empty()) options.enrolment_listen = enrolment_address_;
    aggregator_ = Get(AggregatorServer::Start(options, clock));
    federation_address_ = aggregator_->federation_address();
    enrolment_address_ = aggregator_->enrolment_address();
  }
  std::string Token() { return Get(aggregator_->CreateToken("berlin", std::chrono::seconds(600))); }
  void WriteToken(const std::string& token) { ASSERT_TRUE(WriteFileAtomically(Path("token"), token + "\n").ok()); }
  // A member whose aggregator is gone.
  void EnrolThenLoseTheAggregator() {
    StartAggregator();
    ASSERT_TRUE(EnrolSite(Get(ParseToken(Token())), "berlin", Path("state/identity")).ok());
    aggregator_.reset();
  }

  // The programs of another installation: what is not named here is not there.
  void Install(const std::vector<std::string>& programs) {
    ASSERT_TRUE(MakeDirectories(Path("bin")).ok());
    for (const std::string& program : programs) std::filesystem::copy_file(bin_ / program, Path("bin/" + program));
    bin_ = Path("bin");
  }

  Process Start() {
    EXPECT_TRUE(WriteFileAtomically(Path("node.toml"), config_).ok());
    std::filesystem::remove(Path("stderr"));
    SpawnOptions options;
    options.arguments = {(bin_ / "fedglm-node").string(), "--config", Path("node.toml")};
    options.stderr_file = Path("stderr");
    return Get(Process::Spawn(options));
  }
  std::string Text(const std::string& name) const { return ReadFile(Path(name)).value_or(""); }
  std::string Log() const { return Text("log/node.log"); }

  // Ends with that exit code and one line on stderr.
  void ExpectEnds(ExitCode code, const std::string& because, int lines = 1) {
    Process node = Start();
    const std::optional<int> status = node.WaitFor(std::chrono::seconds(60));
    ASSERT_TRUE(status.has_value()) << "it does not end\n" << Log();
    const std::string error = Text("stderr");
    EXPECT_EQ(*status, static_cast<int>(code)) << error << Log();
    EXPECT_EQ(std::count(error.begin(), error.end(), '\n'), lines) << error;
    const std::string last = error.substr(error.rfind('\n', error.size() - 2) + 1);
    EXPECT_THAT(last, StartsWith("fedglm-node: "));
    EXPECT_THAT(last, HasSubstr(because));
  }
  int64_t Installed() const { return ReadInstalled(Path("state")).value_or(InstalledRound{}).round; }
  bool Serves() const { return std::filesystem::exists(Path("state/addresses.json")); }
  // Of what its API answers to GET /v1/models.
  int ModelsStatus() const {
    const std::string serve = *RequireString(*ParseJson(Text("state/addresses.json"), "addresses"), "serve");
    return HttpStatus(std::stoi(serve.substr(serve.rfind(':') + 1)), "/v1/models");
  }
  void ExpectEndsOnSigterm(Process& node) {
    const Stopwatch watch;
    node.Signal(SIGTERM);
    const std::optional<int> status = node.WaitFor(std::chrono::seconds(60));
    EXPECT_LT(watch.Seconds(), 20);  // of the 30 that it asks the aggregator to let it wait
    EXPECT_EQ(status.value_or(-1), 0) << Text("stderr") << Log();
    EXPECT_EQ(Text("stderr"), "");
  }

  std::filesystem::path bin_ = ProgramFolder();
  std::string config_;
  // What an aggregator with this clock issues has passed two thirds of its year.
  ManualClock months_ago_{std::chrono::system_clock::now() - std::chrono::hours(24 * 300)};
  std::unique_ptr<AggregatorServer> aggregator_;
  std::string federation_address_, enrolment_address_;  // which a second start takes again
};

TEST_F(NodeProgramTest, AnUnknownKeyIsABadConfigurationWithItsLine) {
  config_ += "passwort = 'x'\n";
  ExpectEnds(ExitCode::kConfiguration, "node.toml:15: unknown key 'federation.passwort'");
  EXPECT_FALSE(std::filesystem::exists(Path("log"))) << "nothing was begun";
}

TEST_F(NodeProgramTest, WithoutATokenASiteCannotEnrol) {
  ExpectEnds(ExitCode::kConfiguration, "federation.token_file");
}

TEST_F(NodeProgramTest, AWrongTokenIsRefused) {
  WriteToken("not a token");
  ExpectEnds(ExitCode::kRefused, "no enrolment token");
  StartAggregator();
  EnrolmentToken token = Get(ParseToken(Token()));
  const auto write = [&] {
    WriteToken("fgt1." + Base64UrlEncode(DumpJson(
                             Json{{"secret", token.secret}, {"ca", token.ca_pem.text()}, {"address", token.address}})));
  };
  const std::string secret = token.secret;
  token.secret = "guessed";
  write();
  ExpectEnds(ExitCode::kRefused, "token");
  token.secret = secret;
  token.ca_pem = TestAuthority().certificate;
  write();
  ExpectEnds(ExitCode::kRefused, "TLS handshake failed");
  EXPECT_FALSE(std::filesystem::exists(Path("state/identity/membership.json")));
}

TEST_F(NodeProgramTest, MissingRecordsAreABadInput) {
  std::filesystem::remove(Path("records.jsonl"));
  ExpectEnds(ExitCode::kBadInputFile, "records.jsonl: no such file of records");
}

// One bad line in an export: the site is served all the same, and trains when the line is mended.
TEST_F(NodeProgramTest, RecordsThatAreNotJsonLinesAreNamedAndTheNodeGoesOnWhenTheyAreMended) {
  const std::string records = Text("records.jsonl");
  WriteRecords("records.jsonl", "{\"text\":\"a record\"}\n{\"text\":\"another\"}\nMustermann, Max\n");
  StartAggregator();
  WriteToken(Token());
  Process node = Start();
  ASSERT_TRUE(WaitUntil([&] { return Log().find("records.jsonl:3: ") != std::string::npos; }))
      << Text("stderr") << Log();
  EXPECT_TRUE(node.Running());
  EXPECT_EQ(ModelsStatus(), 200);
  EXPECT_THAT(Text("stderr") + Log(), Not(HasSubstr("Mustermann")));
  WriteRecords("records.jsonl", records);
  ASSERT_TRUE(WaitUntil([&] { return Installed() == 1; })) << Log();
  EXPECT_THAT(Log(), HasSubstr("the federation works again after "));
  ExpectEndsOnSigterm(node);
}

// What is there only to look at a new adapter is no reason to stop answering.
TEST_F(NodeProgramTest, HeldOutRecordsThatAreNoneDoNotEndANodeWhichGoesOnWhenTheyAreMended) {
  const std::string held_out = Text("held-out.jsonl");
  WriteRecords("held-out.jsonl", "{\"text\":\"a record\"}\nMustermann, Max\n");
  StartAggregator();
  WriteToken(Token());
  Process node = Start();
  const auto waits = [&] { return Log().find("; trying again") != std::string::npos; };
  ASSERT_TRUE(WaitUntil(waits)) << Text("stderr") << Log();
  EXPECT_TRUE(node.Running());
  EXPECT_TRUE(Serves());
  EXPECT_THAT(Log(), HasSubstr("held-out.jsonl:2: "));
  EXPECT_THAT(Log(), Not(HasSubstr("Mustermann")));
  EXPECT_EQ(Installed(), -1);
  WriteRecords("held-out.jsonl", held_out);
  ASSERT_TRUE(WaitUntil([&] { return Installed() == 1; })) << Log();
  ExpectEndsOnSigterm(node);
}

TEST_F(NodeProgramTest, APortInUseIsUnreachable) {
  const LoopbackListener taken;
  EnrolThenLoseTheAggregator();
  config_ += "[serve]\nlisten = '" + taken.host_and_port() + "'\n";
  ExpectEnds(ExitCode::kUnreachable, taken.port());
}

TEST_F(NodeProgramTest, ASecondNodeOnTheSameStateEndsAtOnce) {
  const LockFile first = Get(LockFile::Take(Path("state/lock"), "busy"));
  ExpectEnds(ExitCode::kUnreachable, "another node runs on this state");
}

TEST_F(NodeProgramTest, WithoutItsAggregatorAMemberServesKeepsTryingAndEndsOnSigterm) {
  EnrolThenLoseTheAggregator();
  Process node = Start();
  ASSERT_TRUE(WaitUntil([&] { return Serves(); })) << Text("stderr") << Log();
  ASSERT_TRUE(WaitUntil([&] { return Log().find("; trying again") != std::string::npos; })) << Log();
  EXPECT_TRUE(node.Running());
  EXPECT_EQ(ModelsStatus(), 200);
  ExpectEndsOnSigterm(node);
}

TEST_F(NodeProgramTest, TakesPartInARoundAndServesTheNewAdapterAlsoAfterItWasKilled) {
  StartAggregator();
  WriteToken(Token());
  // What a node that was killed may have left.
  ASSERT_TRUE(MakeDirectories(Path("state/adapter.1a2b3c4d")).ok());
  ASSERT_TRUE(MakeDirectories(Path("state/work/global.5e6f7a8b")).ok());
  {
    Process node = Start();
    ASSERT_TRUE(WaitUntil([&] { return Installed() == 1; })) << Text("stderr") << Log();
    EXPECT_FALSE(std::filesystem::exists(Path("state/adapter.1a2b3c4d")));
    EXPECT_FALSE(std::filesystem::exists(Path("state/work/global.5e6f7a8b")));
    EXPECT_EQ(Get(LoadAdapter(Path("state/adapter"))).provenance->contributors.size(), 1u);
    node.Signal(SIGKILL);
    node.Wait();
  }
  aggregator_.reset();
  std::filesystem::remove(Path("state/addresses.json"));
  std::filesystem::remove(Path("token"));
  std::filesystem::remove(Path("log/node.log"));
  Process node = Start();
  ASSERT_TRUE(WaitUntil([&] { return Serves(); })) << Text("stderr") << Log();
  EXPECT_THAT(Log(), Not(HasSubstr("will be fetched again"))) << "the adapter runs, without an aggregator and a token";
  ExpectEndsOnSigterm(node);
}

// The programs that a site needs are the node and its two workers.
TEST_F(NodeProgramTest, AnInstallationWithoutTheCommandsInstallsAdapters) {
  Install({"fedglm-node", "fedglm-trainer", "fedglm-evaluator"});
  StartAggregator();
  WriteToken(Token());
  Process node = Start();
  ASSERT_TRUE(WaitUntil([&] { return Installed() == 1; })) << Text("stderr") << Log();
  EXPECT_THAT(Log(), HasSubstr("round 1: held-out loss "));
  ExpectEndsOnSigterm(node);
}

TEST_F(NodeProgramTest, WithoutAnEvaluatorTheAdapterWaitsAndTheLogNamesTheProgram) {
  Install({"fedglm-node", "fedglm-trainer"});
  StartAggregator();
  WriteToken(Token());
  Process node = Start();
  ASSERT_TRUE(WaitUntil([&] { return Log().find("; trying again") != std::string::npos; })) << Log();
  EXPECT_TRUE(node.Running());
  EXPECT_THAT(Log(), HasSubstr("/bin/fedglm-evaluator"));
  EXPECT_EQ(Installed(), -1);
  std::filesystem::copy_file(ProgramPath("fedglm-evaluator"), Path("bin/fedglm-evaluator"));
  ASSERT_TRUE(WaitUntil([&] { return Installed() == 1; })) << Log();
  ExpectEndsOnSigterm(node);
}

// A library that prints (LibTorch's warnings, OpenBLAS) or breaks the stream of events ends no node.
TEST_F(NodeProgramTest, GoesOnWithATrainerWhoseLibrariesPrint) {
  Install({"fedglm-node", "fedglm-evaluator"});
  const std::string real = ProgramPath("fedglm-trainer");
  ASSERT_TRUE(WriteFileAtomically(Path("bin/fedglm-trainer"),
                                  "#!/bin/sh\nprintf '{\"event\":\"failed\",\"exit_code\":6}\\n'\n"
                                  "printf '{\"event\":\"evaluated\"[W1130 Warning\\n' >&3\n"
                                  "head -c 300000 /dev/urandom\nexec " +
                                      real + " \"$@\"\n",
                                  0700)
                  .ok());
  StartAggregator();
  WriteToken(Token());
  Process node = Start();
  ASSERT_TRUE(WaitUntil([&] { return Installed() == 1; })) << Log();
  EXPECT_EQ(Get(LoadAdapter(Path("state/adapter"))).provenance->contributors.size(), 1u);
  EXPECT_THAT(Text("stderr"), HasSubstr("the trainer wrote a line of "));
  EXPECT_GT(Text("stderr").size(), 300000u) << "what it printed is in the log";
  node.Signal(SIGTERM);
  EXPECT_EQ(node.WaitFor(std::chrono::seconds(60)).value_or(-1), 0);
}

TEST_F(NodeProgramTest, AKilledSupervisorIsStartedAgainAndTrains) {
  EnrolThenLoseTheAggregator();
  Process node = Start();
  ASSERT_TRUE(WaitUntil([&] { return Serves(); })) << Text("stderr") << Log();
  const std::set<pid_t> keepers = Children(node.pid(), "--supervise");
  ASSERT_EQ(keepers.size(), 1u);
  for (int i = 0; i < 2; ++i) {
    const std::set<pid_t> supervisors = Children(*keepers.begin(), "--supervise");
    ASSERT_EQ(supervisors.size(), 1u);
    kill(*supervisors.begin(), SIGKILL);
    ASSERT_TRUE(WaitUntil([&] {
      const std::set<pid_t> now = Children(*keepers.begin(), "--supervise");
      return now.size() == 1 && now != supervisors;
    }));
  }
  StartAggregator();
  ASSERT_TRUE(WaitUntil([&] { return Installed() == 1; })) << Log();
  EXPECT_THAT(Log(), HasSubstr("the trainer supervisor was killed, and was started again"));
  ExpectEndsOnSigterm(node);
}

// Without a keeper nothing can be trained any more: the site is served, and the log says what to do.
TEST_F(NodeProgramTest, WithoutASupervisorItServesAndSaysThatItHasToBeStartedAgain) {
  EnrolThenLoseTheAggregator();
  Process node = Start();
  ASSERT_TRUE(WaitUntil([&] { return Serves(); })) << Text("stderr") << Log();
  for (const pid_t keeper : Children(node.pid(), "--supervise")) kill(keeper, SIGKILL);
  StartAggregator();
  ASSERT_TRUE(WaitUntil([&] { return Log().find("the trainer supervisor has ended") != std::string::npos; })) << Log();
  EXPECT_THAT(Log(), HasSubstr("start the node again"));
  EXPECT_EQ(ModelsStatus(), 200);
  ExpectEndsOnSigterm(node);
}

// A certificate that has run out, or a clock that is wrong: the federation is not there, the site's own model is.
TEST_F(NodeProgramTest, WithAnExpiredCertificateItServes) {
  EnrolThenLoseTheAggregator();
  const TestAuthority authority;
  SiteIdentity identity = MakeIdentity(authority, Get(GenerateSigningKey()), InHours(-1));
  ASSERT_TRUE(SaveIdentity(identity, Path("state/identity")).ok());
  Process node = Start();
  ASSERT_TRUE(WaitUntil([&] { return Log().find("certificate expired on") != std::string::npos; }))
      << Text("stderr") << Log();
  EXPECT_EQ(ModelsStatus(), 200);
  ExpectEndsOnSigterm(node);
}

TEST_F(NodeProgramTest, RenewsItsCertificateWhileItTakesPartAndIsNotStartedAgain) {
  StartAggregator(months_ago_);
  WriteToken(Token());
  Process node = Start();
  ASSERT_TRUE(WaitUntil([&] { return Log().find("certificate is renewed") != std::string::npos; }))
      << Text("stderr") << Log();
  ASSERT_TRUE(WaitUntil([&] { return Installed() == 1; })) << Log();
  const std::unique_ptr<Store> store = Get(Store::Open(Path("aggregator/state.sqlite")));
  const SiteIdentity identity = Get(LoadIdentity(Path("state/identity")));
  EXPECT_EQ(store->FindNode("berlin")->serial, Get(DescribeCertificate(identity.certificate_pem)).serial_hex);
  int renewed = 0;
  for (const AuditRow& row : Get(store->Audit(0, 100))) renewed += row.action == "certificate renewed";
  EXPECT_EQ(renewed, 1);
  EXPECT_THAT(Log(), Not(HasSubstr(" W "))) << "nothing of it is worth a warning";
  ExpectEndsOnSigterm(node);
}

TEST_F(NodeProgramTest, OnSighupItLooksAtTheTokenFileAgainAndGoesOn) {
  StartAggregator();
  WriteToken(Token());
  Process node = Start();
  ASSERT_TRUE(WaitUntil([&] { return Installed() == 1; })) << Text("stderr") << Log();
  const std::string before = Text("state/identity/cert.pem");
  // Into the file that is there: one that is put in its place lies behind the wall.
  std::ofstream(Path("token")) << Token() << "\n";
  node.Signal(SIGHUP);
  for (const pid_t keeper : Children(node.pid(), "--supervise")) kill(keeper, SIGHUP);  // as a service manager does
  ASSERT_TRUE(WaitUntil([&] { return Log().find("enrolled anew as berlin") != std::string::npos; })) << Log();
  EXPECT_NE(Text("state/identity/cert.pem"), before);
  EXPECT_TRUE(node.Running());
  EXPECT_EQ(Children(node.pid(), "--supervise").size(), 1u);
  EXPECT_EQ(ModelsStatus(), 200);
  ExpectEndsOnSigterm(node);
}

TEST_F(NodeProgramTest, ANewTokenIsUsedAtTheNextStartAndAUselessOneLeavesTheIdentityAsItIs) {
  StartAggregator();
  ASSERT_TRUE(EnrolSite(Get(ParseToken(Token())), "berlin", Path("state/identity")).ok());
  const std::string first = Text("state/identity/cert.pem");
  EnrolmentToken wrong = Get(ParseToken(Token()));
  WriteToken("fgt1." + Base64UrlEncode(DumpJson(
                           Json{{"secret", "guessed"}, {"ca", wrong.ca_pem.text()}, {"address", wrong.address}})));
  {
    Process node = Start();
    ASSERT_TRUE(WaitUntil([&] { return Installed() == 1; })) << Text("stderr") << Log();
    EXPECT_THAT(Log(), HasSubstr("the present identity is kept"));
    EXPECT_EQ(Text("state/identity/cert.pem"), first);
    ExpectEndsOnSigterm(node);
  }
  WriteToken(Token());
  std::filesystem::remove(Path("state/addresses.json"));
  Process node = Start();
  ASSERT_TRUE(WaitUntil([&] { return Serves(); })) << Text("stderr") << Log();
  EXPECT_THAT(Log(), HasSubstr("enrolled anew as berlin"));
  EXPECT_NE(Text("state/identity/cert.pem"), first);
  ExpectEndsOnSigterm(node);
}

TEST_F(NodeProgramTest, AnAddressInTheConfigurationIsDialledInsteadOfTheMemberships) {
  StartAggregator();
  SiteIdentity identity = Get(EnrolSite(Get(ParseToken(Token())), "berlin", Path("state/identity")));
  identity.federation_address = "127.0.0.1:1";
  ASSERT_TRUE(SaveIdentity(identity, Path("state/identity")).ok());
  config_ += "address = '" + federation_address_ + "'\n";
  Process node = Start();
  ASSERT_TRUE(WaitUntil([&] { return Installed() == 1; })) << Text("stderr") << Log();
  EXPECT_EQ(Get(LoadIdentity(Path("state/identity"))).federation_address, "127.0.0.1:1") << "and it is not kept";
  ExpectEndsOnSigterm(node);
}

TEST_F(NodeProgramTest, BeforeItsAggregatorIsThereANewSiteServesAndEnrolsWhenItComes) {
  StartAggregator();
  WriteToken(Token());
  aggregator_.reset();
  Process node = Start();
  ASSERT_TRUE(WaitUntil([&] { return Serves(); })) << Text("stderr") << Log();
  EXPECT_EQ(ModelsStatus(), 200);
  EXPECT_THAT(Log(), HasSubstr("becomes a member when that can be reached"));
  StartAggregator();
  ASSERT_TRUE(WaitUntil([&] { return Installed() == 1; })) << Log();
  ExpectEndsOnSigterm(node);
}

// At its start a node opens the adapter that it had installed. Here its configuration file is a link: first to a file
// that the node may read, which shows that it follows the link, then to the records.
TEST_F(NodeProgramTest, TheRunningNodeCannotOpenItsRecords) {
  if (syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION) < 1) {
    GTEST_SKIP() << "this kernel has no Landlock";
  }
  EnrolThenLoseTheAggregator();
  ASSERT_TRUE(MakeDirectories(Path("state/adapter")).ok());
  const auto what_it_says_of = [&](const std::filesystem::path& file) {
    std::filesystem::remove(Path("state/adapter/adapter_config.json"));
    std::filesystem::create_symlink(file, Path("state/adapter/adapter_config.json"));
    std::filesystem::remove(Path("state/addresses.json"));
    std::filesystem::remove(Path("log/node.log"));
    Process node = Start();
    EXPECT_TRUE(WaitUntil([&] { return Serves(); })) << Text("stderr") << Log();
    node.Terminate(std::chrono::seconds(5));
    return Log();
  };
  std::filesystem::copy_file(Path("records.jsonl"), Path("state/copy.jsonl"));
  EXPECT_THAT(what_it_says_of(Path("state/copy.jsonl")), HasSubstr("adapter_config.json: parse error at line 2"));
  EXPECT_THAT(what_it_says_of(Path("records.jsonl")), HasSubstr("adapter_config.json: Permission denied"));
}

}  // namespace
}  // namespace fedglm
