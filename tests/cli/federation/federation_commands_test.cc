// What an operator sees and keeps: the commands of `fedglm federation` beside a running aggregator.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "base/process.h"
#include "base/sqlite.h"
#include "tests/aggregator/federation_of_two.h"
#include "tests/support/source_tree.h"
#include "tests/support/wait_until.h"

namespace fedglm {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class FederationCommands : public FederationOfTwo {
 protected:
  std::string Path(const std::string& name) const { return (folder_.path() / name).string(); }
  SpawnOptions Options(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), {ProgramPath("fedglm"), "federation"});
    for (const std::string& word : {std::string("--admin"), (options_.state_dir / "admin").string()}) {
      arguments.push_back(word);
    }
    SpawnOptions options;
    options.arguments = std::move(arguments);
    options.stderr_file = Path("stderr");
    return options;
  }
  // The exit status; what it says is in out_ and err_.
  int Run(std::vector<std::string> arguments) {
    std::filesystem::remove(Path("stdout"));  // it is added to
    std::filesystem::remove(Path("stderr"));
    SpawnOptions options = Options(std::move(arguments));
    options.stdout_file = Path("stdout");
    Process process = Get(Process::Spawn(options));
    const int status = process.WaitFor(std::chrono::seconds(60)).value_or(-1);
    out_ = Get(ReadFile(Path("stdout")));
    err_ = Get(ReadFile(Path("stderr")));
    return status;
  }
  Json RunJson(std::vector<std::string> arguments) {
    arguments.push_back("--json");
    EXPECT_EQ(Run(std::move(arguments)), 0) << err_;
    return Get(ParseJson(out_, "stdout"));
  }
  absl::Status Tamper(const std::string& sql) {
    return Get(Database::Open(options_.state_dir / "state.sqlite"))->ExecuteScript(sql);
  }
  std::string out_, err_;
};

TEST_F(FederationCommands, LossesAreShownBySiteAndRound) {
  ASSERT_NO_FATAL_FAILURE(MakeRound(1));
  Report(1, 1, 1.25, 40);
  const Json json = RunJson({"losses"});
  ASSERT_EQ(json["losses"].size(), 2u) << DumpJson(json);
  EXPECT_EQ(json["version"], 1);
  EXPECT_EQ(json["losses"][0]["site_id"], "a");
  EXPECT_EQ(json["losses"][0]["training_loss"], 2.0);
  EXPECT_EQ(json["losses"][0]["examples"], 5);
  EXPECT_TRUE(json["losses"][0]["evaluation_loss"].is_null());
  EXPECT_EQ(json["losses"][1]["evaluation_loss"], 1.25);
  EXPECT_EQ(json["losses"][1]["tokens"], 40);
  ASSERT_EQ(Run({"losses", "--round", "1"}), 0) << err_;
  EXPECT_THAT(out_, AllOf(HasSubstr("train loss"), HasSubstr("2.0000"), HasSubstr("1.2500")));
  EXPECT_EQ(RunJson({"losses", "--round", "2"})["losses"].size(), 0u);
}

TEST_F(FederationCommands, TheBestRoundIsNamedBesideTheLatest) {
  ASSERT_EQ(Run({"best"}), 0);
  EXPECT_THAT(out_, HasSubstr("no round is done yet"));
  ASSERT_NO_FATAL_FAILURE(MakeRound(1));
  ASSERT_EQ(Run({"best"}), 0);
  EXPECT_THAT(out_, HasSubstr("no site has reported a held-out loss yet"));
  Report(0, 1, 1.0, 40);
  Report(1, 1, 1.5, 40);
  ASSERT_NO_FATAL_FAILURE(MakeRound(2));
  Report(0, 2, 3.0, 40);
  ASSERT_EQ(Run({"best"}), 0);
  EXPECT_THAT(out_, AllOf(HasSubstr("best     round 1, held-out loss 1.2500 (mean of 2 sites' reports)"),
                          HasSubstr("latest   round 2, held-out loss 3.0000 (mean of 1 sites' reports)"),
                          HasSubstr("fedglm federation rollback 1 --admin ")));
  const Json json = RunJson({"best"});
  EXPECT_EQ(json["best"]["round"], 1);
  EXPECT_EQ(json["best"]["evaluations"], 2);
  EXPECT_EQ(json["latest"]["round"], 2);
}

TEST_F(FederationCommands, AnAdapterIsExportedAsAFolder) {
  ASSERT_NO_FATAL_FAILURE(MakeRound(1));
  ASSERT_EQ(Run({"export", "0", Path("kept")}), 0) << err_;
  EXPECT_THAT(err_, HasSubstr("its signature is good"));
  EXPECT_EQ(Get(LoadAdapter(Path("kept"))).modules, SmallAdapter().modules);
  ASSERT_TRUE(MakeDirectories(Path("empty")).ok());
  const Json json = RunJson({"export", "latest", Path("empty")});
  EXPECT_EQ(json["round"], 1);
  EXPECT_EQ(json["signature_checked"], true);
  const Adapter latest = Get(LoadAdapter(Path("empty")));
  EXPECT_EQ(latest.provenance->round, 1);
  EXPECT_EQ(latest.provenance->federation, "test");

  EXPECT_EQ(Run({"export", "1", Path("kept")}), 1) << "an adapter is there";
  EXPECT_THAT(err_, HasSubstr("is there already"));
  EXPECT_EQ(Get(LoadAdapter(Path("kept"))).provenance->round, 0);
  EXPECT_EQ(Run({"export", "7", Path("other")}), 4);
  EXPECT_THAT(err_, HasSubstr("there is no round 7 that is done"));
  EXPECT_EQ(Run({"export", "newest", Path("other")}), 2);
  EXPECT_EQ(Run({"export", "-1", Path("other")}), 2);
  EXPECT_FALSE(std::filesystem::exists(Path("other")));
}

TEST_F(FederationCommands, AnAdapterThatIsNotWhatItShouldBeIsNotWritten) {
  const PublicKeyPem other = Get(PublicKeyOf(Get(GenerateSigningKey())));
  ASSERT_TRUE(WriteFileAtomically(Path("other.pem"), other.text()).ok());
  EXPECT_EQ(Run({"export", "0", Path("out"), "--signing-key", Path("other.pem")}), 4);
  EXPECT_THAT(err_, HasSubstr("signature is not the aggregator's"));
  // Bytes that the disk has lost.
  const auto artifact = std::filesystem::directory_iterator(options_.state_dir / "artifacts")->path();
  std::string bytes = Get(ReadFile(artifact));
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  ASSERT_TRUE(WriteFileAtomically(artifact, bytes).ok());
  EXPECT_EQ(Run({"export", "0", Path("out")}), 4);
  EXPECT_THAT(err_, HasSubstr("are not those of its digest"));
  EXPECT_FALSE(std::filesystem::exists(Path("out")));
}

TEST_F(FederationCommands, AWholeAuditLogIsVerified) {
  ASSERT_EQ(Run({"audit", "--verify"}), 0) << err_;
  EXPECT_THAT(out_, HasSubstr("chain whole, no checkpoint yet"));
  for (int i = 0; i < 100; ++i) Get(server_->CreateToken("x", std::chrono::seconds(60)));
  ASSERT_EQ(Run({"audit", "--verify"}), 0) << err_;
  EXPECT_THAT(
      out_, AllOf(HasSubstr(" entries, chain whole, last checkpoint at entry 100 of 20"), HasSubstr("keep elsewhere")));
  const Json json = RunJson({"audit", "--verify"});
  EXPECT_GE(json["entries"], 100);
  EXPECT_EQ(json["last_checkpoint"]["id"], 100);
  const std::string kept = DumpJson(json["last"]["id"]) + ":" + json["last"]["hash"].get<std::string>();
  Get(server_->CreateToken("x", std::chrono::seconds(60)));
  EXPECT_EQ(Run({"audit", "--verify", "--expect", kept}), 0) << err_;
  EXPECT_EQ(Run({"audit", "--verify", "--expect", "3:" + std::string(64, 'a')}), 4);
  EXPECT_THAT(err_, HasSubstr("entry 3 is another one than was expected"));
  EXPECT_EQ(Run({"audit", "--verify", "--expect", "100000:" + std::string(64, 'a')}), 4);
  EXPECT_EQ(Run({"audit", "--verify", "--expect", "3"}), 2);
  EXPECT_EQ(Run({"audit", "--expect", "3:" + std::string(64, 'a')}), 2) << "needs --verify";
}

TEST_F(FederationCommands, AnAuditLogThatSomebodyChangedIsFound) {
  for (int i = 0; i < 100; ++i) Get(server_->CreateToken("x", std::chrono::seconds(60)));
  EXPECT_EQ(Run({"audit", "--verify", "--signing-key", Path("none.pem")}), 2);
  const PublicKeyPem other = Get(PublicKeyOf(Get(GenerateSigningKey())));
  ASSERT_TRUE(WriteFileAtomically(Path("other.pem"), other.text()).ok());
  EXPECT_EQ(Run({"audit", "--verify", "--signing-key", Path("other.pem")}), 4);
  EXPECT_THAT(err_, HasSubstr("entry 100 has a checkpoint that this key did not sign"));
  ASSERT_TRUE(Tamper("UPDATE audit SET actor = 'nobody' WHERE id = 7").ok());
  EXPECT_EQ(Run({"audit", "--verify", "--json"}), 4);
  EXPECT_THAT(err_, StartsWith("fedglm: audit log: entry 7 does not fit"));
  EXPECT_EQ(out_, "");
  ASSERT_TRUE(Tamper("DELETE FROM audit WHERE id = 7").ok());
  EXPECT_EQ(Run({"audit", "--verify"}), 4);
  EXPECT_THAT(err_, HasSubstr("entry 7 is missing"));
  ASSERT_TRUE(Tamper("DELETE FROM audit WHERE id >= 7").ok());
  EXPECT_EQ(Run({"audit", "--verify"}), 4);
  EXPECT_THAT(err_, HasSubstr("it ends at entry 6, and there is a checkpoint of entry 100"));
}

TEST_F(FederationCommands, WatchSaysWhatChangesAndWaitsForAnAggregatorThatIsAway) {
  options_.listen = server_->federation_address();
  options_.enrolment_listen = server_->enrolment_address();
  SpawnOptions options = Options({"watch", "--json"});
  options.pipe_stdout = true;
  Process watch = Get(Process::Spawn(options));
  const auto next = [&] {
    const std::optional<std::string> line = Get(watch.ReadLineFor(std::chrono::seconds(60)));
    return Get(ParseJson(line.value_or("{}"), "stdout"));
  };
  EXPECT_EQ(next()["state"], "waiting");
  ASSERT_NO_FATAL_FAILURE(BeginRound(1));
  Json line = next();
  EXPECT_EQ(line["state"], "training");
  EXPECT_EQ(line["missing"].size(), 2u);
  const Json before = line["adapter_sha256"];
  ASSERT_NO_FATAL_FAILURE(Send(0));
  line = next();
  EXPECT_EQ(line["updates_received"], 1);
  EXPECT_EQ(line["missing"], Json::array({"b"}));

  server_.reset();
  const auto said = [&](const std::string& words) {
    return Get(ReadFile(Path("stderr"))).find(words) != std::string::npos;
  };
  EXPECT_TRUE(WaitUntil([&] { return said("; trying again"); }));
  Start();
  EXPECT_TRUE(WaitUntil([&] { return said("the aggregator answers again"); }));
  ASSERT_NO_FATAL_FAILURE(Send(1));
  while (line["adapter_sha256"] == before) line = next();  // the round may have been seen before it was closed
  watch.Signal(SIGINT);
  EXPECT_EQ(watch.WaitFor(std::chrono::seconds(60)).value_or(-1), 0);
  const std::string err = Get(ReadFile(Path("stderr")));
  EXPECT_EQ(err.find("trying again"), err.rfind("trying again")) << "said once: " << err;
}

TEST_F(FederationCommands, WatchEndsAfterItsSecondsAndAtARefusal) {
  EXPECT_EQ(Run({"watch", "--seconds", "1"}), 0) << err_;
  EXPECT_THAT(out_, AllOf(HasSubstr("round 0 of 2"), HasSubstr("waiting"), HasSubstr("missing -")));
  const Identity site = Enrolled("berlin");
  ASSERT_TRUE(MakeDirectories(Path("site")).ok());
  ASSERT_TRUE(WriteFileAtomically(Path("site/ca.pem"), site.ca.text()).ok());
  ASSERT_TRUE(WriteFileAtomically(Path("site/key.pem"), site.key.secret_text()).ok());
  ASSERT_TRUE(WriteFileAtomically(Path("site/cert.pem"), site.certificate.text()).ok());
  SpawnOptions options;
  options.arguments = {ProgramPath("fedglm"),        "federation", "watch", "--admin", Path("site"), "--address",
                       server_->federation_address()};
  options.stderr_file = Path("stderr-of-site");
  Process process = Get(Process::Spawn(options));
  EXPECT_EQ(process.WaitFor(std::chrono::seconds(60)).value_or(-1), 4);
}

}  // namespace
}  // namespace fedglm
