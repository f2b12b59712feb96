// What a user can get wrong, or a machine: one clear line on stderr, the documented exit code, and what was there
// before is unharmed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "base/digest.h"
#include "base/file.h"
#include "base/json.h"
#include "base/tls.h"
#include "tests/integration/federation.h"
#include "tests/integration/processes.h"
#include "tests/support/golden.h"
#include "tests/support/http.h"
#include "tests/support/loopback_listener.h"
#include "tests/support/scoped_variable.h"

namespace fedglm {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

constexpr auto kEnd = std::chrono::seconds(60);

// What a program says beside its log of what goes well.
std::vector<std::string> Complaints(const std::string& text) {
  std::vector<std::string> complaints;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const size_t time = line.find("Z fedglm-");
    const bool information = time != std::string::npos && line.find(" I ", time) == line.find(' ', time + 2);
    // On a kernel without Landlock every start of a node says so.
    if (!information && line.find("files are not restricted") == std::string::npos) complaints.push_back(line);
  }
  return complaints;
}

// Every file below a folder with its digest. Not SQLite's own, which it rewrites as it likes.
std::map<std::string, std::string> DigestsBelow(const std::filesystem::path& folder) {
  std::map<std::string, std::string> digests;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    const std::string name = std::filesystem::relative(entry.path(), folder);
    if (entry.is_regular_file() && name.rfind("state.sqlite", 0) != 0)
      digests[name] = Get(Sha256HexOfFile(entry.path()));
  }
  return digests;
}

std::string Record(int i) { return RecordLine("question " + std::to_string(i), "answer " + std::to_string(i)); }

class BadInput : public testing::Test {
 protected:
  void SetUp() override {
    setenv("TMPDIR", FolderForTests().c_str(), 1);
    folder_.emplace(Get(TemporaryDirectory::Make("bad-input")));
    settings_.model = GoldenPath("golden/glm4-tiny-q4_k_m.gguf");
    settings_.initial_adapter = Path("initial");
    settings_.rounds = 1;
    settings_.min_sites = 1;
    settings_.training = "steps = 1\nbatch_tokens = 64\n";
    const Outcome made =
        RunProgram("fedglm", {"adapter", "init", "-m", settings_.model, "--out", Path("initial")}, folder_->path());
    ASSERT_EQ(made.status, 0) << made.err;
  }

  std::filesystem::path Path(const std::string& name) const { return folder_->path() / name; }

  void Write(const std::filesystem::path& path, const std::string& text) {
    ASSERT_TRUE(Done(WriteFileAtomically(path, text, 0600)));
  }

  // `program --config FILE` ends with `status` and one line that names the program and the reason.
  void Refused(const std::string& program, const std::filesystem::path& config, ExitCode status,
               const std::string& reason) {
    const Outcome outcome = RunProgram(program, {"--config", config}, folder_->path());
    EXPECT_EQ(outcome.status, static_cast<int>(status)) << outcome.err;
    EXPECT_THAT(Complaints(outcome.err), ElementsAre(testing::AllOf(StartsWith(program + ": "), HasSubstr(reason))));
    EXPECT_EQ(outcome.out, "");
  }
  void NodeRefused(Federation& federation, const std::string& site, ExitCode status, const std::string& reason) {
    Refused("fedglm-node", federation.SiteFolder(site) / "node.toml", status, reason);
  }

  // The node says so in its log, and serves its site all the same.
  void NodeServesAndSays(Federation& federation, const std::string& site, const std::string& reason) {
    const size_t before = federation.NodeLog(site).size();
    std::filesystem::remove(federation.SiteState(site) / "addresses.json");
    ASSERT_TRUE(Done(federation.StartNode(site)));
    const auto says = [&] { return federation.NodeLog(site).find(reason, before) != std::string::npos; };
    EXPECT_TRUE(WaitUntil(says, kEnd)) << reason << federation.NodeLog(site).substr(before);
    EXPECT_TRUE(federation.node(site).Running()) << reason;
    const Json addresses = Get(ParseJson(TextOf(federation.SiteState(site) / "addresses.json"), "addresses.json"));
    const std::string serve = Get(RequireString(addresses, "serve"));
    EXPECT_EQ(HttpStatus(std::stoi(serve.substr(serve.rfind(':') + 1)), "/v1/models"), 200);
    EXPECT_EQ(federation.node(site).Terminate(kEnd), 0);
  }

  // A federation of one site, which is a member and is stopped.
  std::unique_ptr<Federation> StoppedMember() {
    auto federation = std::make_unique<Federation>(Path("federation"), settings_);
    EXPECT_TRUE(Done(federation->StartAggregator()));
    EXPECT_TRUE(Done(federation->AddSite("north", Record(1), "")));
    EXPECT_TRUE(Done(federation->StartNode("north")));
    EXPECT_TRUE(WaitUntil([&] { return federation->InstalledRound("north") >= 0; }, kEnd)) << federation->AllLogs();
    federation->node("north").Terminate(kEnd);
    return federation;
  }

  // The site's certificate, made anew.
  std::string CertificateFor(const std::filesystem::path& identity, const TlsKeyPem& ca_key, const CaCertificatePem& ca,
                             std::chrono::hours begins, std::chrono::hours ends) {
    CertificateTerms terms;
    terms.common_name = "north";
    terms.not_before = std::chrono::system_clock::now() + begins;
    terms.not_after = std::chrono::system_clock::now() + ends;
    return Get(IssueCertificate(ca_key, ca,
                                Get(MakeCertificateRequest(Get(ReadPem<TlsKeyPem>(identity / "key.pem")), "north")),
                                terms))
        .text();
  }

  std::optional<TemporaryDirectory> folder_;
  FederationSettings settings_;
};

TEST_F(BadInput, APortInUseIsFive) {
  Federation federation(Path("federation"), settings_);
  ASSERT_TRUE(Done(federation.StartAggregator()));
  // Another one on the same state folder would count rounds of its own.
  Refused("fedglm-aggregator", federation.AggregatorFolder() / "aggregator.toml", ExitCode::kUnreachable,
          "another aggregator runs");
  federation.Stop();

  const std::map<std::string, std::string> before = DigestsBelow(federation.AggregatorState());
  const LoopbackListener taken;
  const std::string config = TextOf(federation.AggregatorFolder() / "aggregator.toml");
  for (const std::string& port : {federation.federation_port(), federation.enrolment_port()}) {
    std::string changed = config;
    changed.replace(changed.find("127.0.0.1:" + port + "\""), port.size() + 10, taken.host_and_port());
    Write(federation.AggregatorFolder() / "taken.toml", changed);
    Refused("fedglm-aggregator", federation.AggregatorFolder() / "taken.toml", ExitCode::kUnreachable,
            taken.host_and_port());
  }
  EXPECT_EQ(DigestsBelow(federation.AggregatorState()), before);
  EXPECT_TRUE(Done(federation.StartAggregator()));
}

TEST_F(BadInput, ABadConfigurationIsThreeAndNamesItsLine) {
  const std::string aggregator = "[federation]\nname = \"x\"\ninitial_adapter = \"initial\"\n";
  const std::string node = "model = \"m.gguf\"\n[records]\ntrain = [\"r.jsonl\"]\n[federation]\nsite = \"x\"\n";
  const auto refused = [&](const std::string& program, const std::string& text, const std::string& reason) {
    Write(Path("bad.toml"), text);
    Refused(program, Path("bad.toml"), ExitCode::kConfiguration, reason);
  };
  const std::string file = Path("bad.toml").string();
  refused("fedglm-aggregator", aggregator + "[training]\nsteps = 1\nstepz = 2\n",
          file + ":6: unknown key 'training.stepz'");
  refused("fedglm-aggregator", aggregator + "rounds = \"many\"\n", file + ":4: federation.rounds");
  refused("fedglm-aggregator", aggregator + "rounds = 0\n", file + ":4: federation.rounds");
  refused("fedglm-aggregator", aggregator + "rounds = = 2\n", file + ":4: ");
  refused("fedglm-aggregator", aggregator + "mode = \"median\"\n", "federation.mode");
  refused("fedglm-aggregator", "[federation]\nname = \"x\"\n", "federation.initial_adapter is missing");
  refused("fedglm-node", node + "[serve]\nport = 80\n", file + ":7: unknown key 'serve.port'");
  refused("fedglm-node", node + "[training]\nthreads = -1\n", file + ":7: training.threads");
  refused("fedglm-node", node + "site = \"y\"\n", file + ":6: ");
  refused("fedglm-node", "model = \"m.gguf\"\n[federation]\nsite = \"x\"\n", "records.train");
  for (const char* program : {"fedglm-aggregator", "fedglm-node"})
    Refused(program, Path("none.toml"), ExitCode::kConfiguration, "none.toml");
  EXPECT_FALSE(std::filesystem::exists(Path("state")));
}

TEST_F(BadInput, AnInstructionSetThatTheNodeCannotHaveIsThree) {
  const ScopedVariable variable("FEDGLM_ISA", "avx3");
  Refused("fedglm-node", Path("none.toml"), ExitCode::kConfiguration, "FEDGLM_ISA: 'avx3'");
}

TEST_F(BadInput, AnInitialAdapterThatIsNoneIsSix) {
  Write(Path("aggregator.toml"),
        "[federation]\nname = \"x\"\ninitial_adapter = \"none\"\n[server]\nlisten = \"127.0.0.1:0\"\nenrolment_listen "
        "= \"127.0.0.1:0\"\n");
  Refused("fedglm-aggregator", Path("aggregator.toml"), ExitCode::kBadInputFile, "none");
  std::filesystem::create_directory(Path("none"));
  Write(Path("none/adapter_config.json"), "{}");
  Refused("fedglm-aggregator", Path("aggregator.toml"), ExitCode::kBadInputFile, "none");
}

TEST_F(BadInput, AWrongTokenIsFour) {
  Federation federation(Path("federation"), settings_);
  ASSERT_TRUE(Done(federation.StartAggregator()));
  ASSERT_TRUE(Done(federation.AddSite("north", Record(1), "")));
  ASSERT_TRUE(Done(federation.AddSite("south", Record(1), "")));
  const std::string good = TextOf(federation.SiteFolder("north") / "token");
  const std::string of_south = TextOf(federation.SiteFolder("south") / "token");
  const std::string payload = Get(Base64UrlDecode(good.substr(5, good.find('\n') - 5)));
  std::string unknown = payload;
  char& secret = unknown[unknown.find("secret\":\"") + 12];
  secret = secret == 'A' ? 'B' : 'A';
  for (const std::string& token :
       {std::string("hello\n"), good.substr(0, 40), "fgt1." + Base64UrlEncode(unknown), of_south}) {
    ASSERT_TRUE(Done(federation.WriteToken("north", token)));
    NodeRefused(federation, "north", ExitCode::kRefused, "token");
    EXPECT_FALSE(std::filesystem::exists(federation.SiteState("north") / "identity" / "membership.json"));
  }
  // What was tried spent no token, and made no key that stands in the way.
  ASSERT_TRUE(Done(federation.WriteToken("north", good)));
  ASSERT_TRUE(Done(federation.StartNode("north")));
  ASSERT_TRUE(Done(federation.WriteToken("south", of_south)));
  ASSERT_TRUE(Done(federation.StartNode("south")));
  EXPECT_TRUE(WaitUntil(
      [&] { return federation.InstalledRound("north") >= 0 && federation.InstalledRound("south") >= 0; }, kEnd))
      << federation.AllLogs();
  // A token that was used is good for nobody else.
  ASSERT_TRUE(Done(federation.AddSite("thief", Record(1), "")));
  ASSERT_TRUE(Done(federation.WriteToken("thief", good)));
  NodeRefused(federation, "thief", ExitCode::kRefused, "token");
}

TEST_F(BadInput, ACertificateThatIsNotValidIsSaidAndAForeignOneIsFour) {
  const std::unique_ptr<Federation> federation = StoppedMember();
  const std::filesystem::path identity = federation->SiteState("north") / "identity",
                              state = federation->AggregatorState();
  const TlsKeyPem ca_key = Get(ReadPem<TlsKeyPem>(state / "ca-key.pem"));
  const CaCertificatePem ca = Get(ReadPem<CaCertificatePem>(state / "ca.pem"));
  const std::string own = Get(ReadFile(identity / "cert.pem"));
  const TlsKeyPem foreign_key = Get(GenerateTlsKey());
  const CaCertificatePem foreign_ca =
      Get(MakeCaCertificate(foreign_key, "elsewhere", std::chrono::system_clock::now(), std::chrono::hours(24)));
  const std::chrono::hours day(24);

  Write(identity / "cert.pem", CertificateFor(identity, ca_key, ca, -2 * day, -day));
  NodeServesAndSays(*federation, "north", "the site's certificate expired on");
  Write(identity / "cert.pem", CertificateFor(identity, ca_key, ca, day, 2 * day));
  NodeServesAndSays(*federation, "north", "the site's certificate is not valid before");
  Write(identity / "cert.pem", CertificateFor(identity, foreign_key, foreign_ca, -day, day));
  NodeRefused(*federation, "north", ExitCode::kRefused, "certificate");
  // From the right CA, and yet not the one that was issued last.
  Write(identity / "cert.pem", CertificateFor(identity, ca_key, ca, -day, day));
  NodeServesAndSays(*federation, "north", "newer certificate");
  Write(identity / "cert.pem", own);
  Write(identity / "ca.pem", foreign_ca.text());
  NodeRefused(*federation, "north", ExitCode::kRefused, "certificate");

  Write(identity / "ca.pem", ca.text());
  ASSERT_TRUE(Done(federation->StartNode("north")));
  EXPECT_TRUE(Done(federation->WaitForRound(1)));
}

TEST_F(BadInput, RecordsThatAreNotThereAreSixAndBadLinesAreSaid) {
  Federation federation(Path("federation"), settings_);
  ASSERT_TRUE(Done(federation.StartAggregator()));
  ASSERT_TRUE(Done(federation.AddSite("north", Record(1) + "this is no JSON\n" + Record(2), "")));
  const std::filesystem::path records = federation.SiteFolder("north") / "records" / "train.jsonl";
  const std::string good = Record(1) + Record(2);

  NodeServesAndSays(federation, "north", "train.jsonl:2");
  Write(records, Record(1) + "{\"question\":\"x\"}\n");
  NodeServesAndSays(federation, "north", "train.jsonl:2");
  Write(records, "\n\n");
  NodeRefused(federation, "north", ExitCode::kBadInputFile, "train.jsonl");
  std::filesystem::remove(records);
  NodeRefused(federation, "north", ExitCode::kBadInputFile, "train.jsonl");
  std::filesystem::create_directory(records);
  NodeRefused(federation, "north", ExitCode::kBadInputFile, "train.jsonl");
  std::filesystem::remove(records);

  // The round waited for the site, which is still a member.
  Write(records, good);
  ASSERT_TRUE(Done(federation.StartNode("north")));
  EXPECT_TRUE(Done(federation.WaitForRound(1)));
}

// A small file system of its own, which can be full.
class SmallDisk {
 public:
  SmallDisk(std::filesystem::path folder, const char* size) : folder_(std::move(folder)) {
    std::filesystem::create_directories(folder_);
    mounted_ = mount("tmpfs", folder_.c_str(), "tmpfs", 0, (std::string("size=") + size).c_str()) == 0;
  }
  ~SmallDisk() {
    if (mounted_) umount2(folder_.c_str(), MNT_DETACH);
  }
  bool mounted() const { return mounted_; }
  // Until not a byte more fits.
  void Fill() const {
    for (size_t piece = 1 << 16; piece > 0; piece /= 16) {
      std::ofstream file(Filler(), std::ios::app | std::ios::binary);
      while (file.write(std::string(piece, 'f').data(), static_cast<std::streamsize>(piece)).flush()) {
      }
    }
  }
  void Free() const { std::filesystem::remove(Filler()); }

 private:
  std::filesystem::path Filler() const { return folder_ / "filler"; }
  std::filesystem::path folder_;
  bool mounted_ = false;
};

TEST_F(BadInput, AFullDiskLeavesTheAggregatorsStateAsItWas) {
  const SmallDisk disk(Path("disk"), "6m");
  if (!disk.mounted()) GTEST_SKIP() << "a file system cannot be mounted here (not root, or no CAP_SYS_ADMIN)";
  settings_.aggregator_state = Path("disk") / "state";
  settings_.training = "steps = 50\nbatch_tokens = 64\n";  // time enough to fill the disk
  Federation federation(Path("federation"), settings_);

  // Nothing there yet: nothing of a federation is left half-made.
  std::filesystem::create_directories(settings_.aggregator_state);
  disk.Fill();
  EXPECT_FALSE(federation.StartAggregator().ok());
  Refused("fedglm-aggregator", federation.AggregatorFolder() / "aggregator.toml", ExitCode::kFailed, "");
  disk.Free();
  ASSERT_TRUE(Done(federation.StartAggregator()));
  ASSERT_TRUE(Done(federation.AddSite("north", Record(1), "")));
  ASSERT_TRUE(Done(federation.StartNode("north")));
  ASSERT_TRUE(WaitUntil([&] { return federation.InstalledRound("north") == 0; }, kEnd)) << federation.AllLogs();

  // While it runs: the site keeps its update and tries again.
  disk.Fill();
  ASSERT_TRUE(WaitUntil([&] { return federation.NodeLog("north").find("trying again") != std::string::npos; }, kEnd))
      << federation.AllLogs();
  EXPECT_TRUE(federation.aggregator().Running());
  EXPECT_TRUE(federation.node("north").Running());
  federation.node("north").Terminate(kEnd);
  federation.aggregator().Terminate(kEnd);

  // A start on the full disk: it cannot write what it must.
  const std::map<std::string, std::string> before = DigestsBelow(settings_.aggregator_state);
  disk.Fill();
  Refused("fedglm-aggregator", federation.AggregatorFolder() / "aggregator.toml", ExitCode::kFailed, "");
  disk.Free();
  EXPECT_EQ(DigestsBelow(settings_.aggregator_state), before);
  ASSERT_TRUE(Done(federation.StartAggregator()));
  ASSERT_TRUE(Done(federation.StartNode("north")));
  EXPECT_TRUE(Done(federation.WaitForRound(1)));
}

}  // namespace
}  // namespace fedglm
