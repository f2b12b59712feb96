// `fedglm demo` as a newcomer runs it: its table as data, nothing left behind, also on Ctrl-C; and on a real public
// model.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <cmath>
#include <cstdlib>
#include <set>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "tests/integration/processes.h"
#include "tests/support/golden.h"

namespace fedglm {
namespace {

const std::vector<std::string> kLosses = {"loss_base", "loss_local", "loss_federated", "loss_pooled"};

class Demo : public testing::Test {
 protected:
  void SetUp() override {
    folder_.emplace(Get(TemporaryDirectory::Make("demo-test")));
    ASSERT_TRUE(Done(MakeDirectories(Path("tmp"))));
  }

  std::filesystem::path Path(const std::string& name) const { return folder_->path() / name; }

  // With a temporary folder of its own, whose path all its processes have in their environment.
  SpawnOptions Options(std::vector<std::string> arguments) const {
    SpawnOptions options = OptionsFor("fedglm", std::move(arguments), folder_->path());
    options.environment.push_back("TMPDIR=" + Path("tmp").string());
    options.stdout_file = Path("stdout");
    options.stderr_file = Path("stderr");
    return options;
  }

  Json RunDemo(std::vector<std::string> arguments, std::chrono::seconds limit) {
    arguments.insert(arguments.begin(), {"demo", "--json"});
    Process process = Get(Process::Spawn(Options(std::move(arguments))));
    const std::optional<int> status = process.WaitFor(limit);
    EXPECT_EQ(status.value_or(-1), 0) << TextOf(Path("stderr"));
    ExpectNothingLeft();
    return Get(ParseJson(TextOf(Path("stdout")), "the demo's table"));
  }

  void ExpectNothingLeft() {
    // What a killed process leaves to the kernel ends a moment after it.
    const auto nothing = [&] { return ProcessesNaming(folder_->path()).empty(); };
    EXPECT_TRUE(WaitUntil(nothing, std::chrono::seconds(30)))
        << testing::PrintToString(Names(ProcessesNaming(folder_->path()))) << " still run";
    EXPECT_TRUE(std::filesystem::is_empty(Path("tmp"))) << "the temporary folder is still there";
  }

  static std::set<std::string> Names(const std::vector<RunningProcess>& processes) {
    std::set<std::string> names;
    for (const RunningProcess& process : processes) names.insert(process.command);
    return names;
  }

  // Ctrl-C of a terminal, which reaches the whole foreground process group, once `moment` has come.
  void InterruptAt(const std::function<bool()>& moment) {
    SpawnOptions options = Options({"demo", "-m", GoldenPath("golden/glm4-tiny-q4_k_m.gguf"), "--sites", "2",
                                    "--rounds", "1", "--steps", "30", "--batch-tokens", "512"});
    options.own_process_group = true;
    Process process = Get(Process::Spawn(options));
    ASSERT_TRUE(WaitUntil(moment, std::chrono::seconds(60))) << TextOf(Path("stderr"));
    const Stopwatch watch;
    kill(-process.pid(), SIGINT);
    const std::optional<int> status = process.WaitFor(std::chrono::seconds(60));
    EXPECT_LT(watch.Seconds(), 30);  // each of its processes gets 5 before it is killed
    EXPECT_EQ(status.value_or(-1), 1);
    EXPECT_THAT(TextOf(Path("stderr")), testing::EndsWith("fedglm: stopped\n"));
    EXPECT_EQ(TextOf(Path("stdout")), "");
    ExpectNothingLeft();
  }

  std::optional<TemporaryDirectory> folder_;
};

void ExpectLosses(const Json& object) {
  for (const std::string& key : kLosses) {
    ASSERT_TRUE(object.contains(key) && object[key].is_number()) << key << " in " << object.dump();
    EXPECT_TRUE(std::isfinite(object[key].get<double>()) && object[key].get<double>() > 0)
        << key << " in " << object.dump();
  }
}

TEST_F(Demo, ItsTableAsDataHasTheDocumentedShape) {
  const Json table = RunDemo({"-m", GoldenPath("golden/glm4-tiny-q4_k_m.gguf"), "--rounds", "2", "--steps", "2",
                              "--batch-tokens", "256", "--sites", "3"},
                             std::chrono::seconds(120));
  EXPECT_EQ(table["rounds"], 2);
  EXPECT_GT(table["seconds"].get<double>(), 0);
  ASSERT_EQ(table["sites"].size(), 3u);
  std::set<std::string> names;
  for (const Json& site : table["sites"]) {
    names.insert(site["name"].get<std::string>());
    EXPECT_GT(site["records"].get<int64_t>(), 0);
    EXPECT_EQ(site["bytes_sent"], table["sites"][0]["bytes_sent"]);  // one adapter's shape
    ExpectLosses(site);
  }
  EXPECT_EQ(names.size(), 3u);
  // B of rank 8 in float32, twice.
  EXPECT_GT(table["sites"][0]["bytes_sent"].get<int64_t>(), 2 * 8 * 1024 * 4);
  ExpectLosses(table["overall"]);
  // All held-out records together: a mean of the sites' losses, so between the least and the greatest.
  for (const std::string key : {"loss_base", "loss_federated", "loss_pooled"}) {
    double least = HUGE_VAL, greatest = 0;
    for (const Json& site : table["sites"]) {
      least = std::min(least, site[key].get<double>());
      greatest = std::max(greatest, site[key].get<double>());
    }
    EXPECT_GE(table["overall"][key].get<double>(), least) << key;
    EXPECT_LE(table["overall"][key].get<double>(), greatest) << key;
  }
  // It was trained: the adapters differ from the base and from each other.
  EXPECT_NE(table["overall"]["loss_federated"], table["overall"]["loss_base"]);
  EXPECT_NE(table["overall"]["loss_federated"], table["overall"]["loss_pooled"]);
}

TEST_F(Demo, CtrlCDuringTheFederationEndsEveryProcess) {
  InterruptAt([&] {
    const std::set<std::string> running = Names(ProcessesNaming(folder_->path()));
    return running.count("fedglm-node") > 0 && running.count("fedglm-trainer") > 0;
  });
}

TEST_F(Demo, CtrlCDuringTheBaselinesEndsEveryProcess) {
  InterruptAt([&] {
    for (const auto& entry : std::filesystem::directory_iterator(Path("tmp"))) {
      if (std::filesystem::exists(entry.path() / "baselines") &&
          Names(ProcessesNaming(folder_->path())).count("fedglm-trainer") > 0)
        return true;
    }
    return false;
  });
}

// SmolLM2-135M-Instruct, which nobody here made.
class PublicModel : public Demo {
 protected:
  void SetUp() override {
    const char* const path = std::getenv("FEDGLM_MODEL_SMOLLM2");
    if (path == nullptr || *path == '\0')
      GTEST_SKIP() << "FEDGLM_MODEL_SMOLLM2 does not name SmolLM2-135M-Instruct as a GGUF (deploy/fetch-test-model)";
    model_ = path;
    Demo::SetUp();
  }
  std::string model_;
};

TEST_F(PublicModel, TalksSensibly) {
  // Asked without "in one sentence", this model's float32 weights put "The" and "L'Étoile" within 0.1 of each other:
  // which of the two comes first then says nothing about the engine.
  const std::pair<const char*, const char*> questions[] = {
      {"What is the capital of France? Answer in one sentence.", "Paris"},
      {"What is the capital city of Japan?", "Tokyo"}};
  for (const auto& [question, answer] : questions) {
    const Outcome outcome =
        RunProgram("fedglm", {"chat", "-m", model_, "-p", question, "--temp", "0", "-n", "24"}, folder_->path());
    ASSERT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_THAT(outcome.out, testing::HasSubstr(answer));
  }
}

TEST_F(PublicModel, AFederationTeachesItATownThatDoesNotExist) {
  const std::vector<std::string> first = {"Odo", "Mirabel", "Tancred", "Isolde", "Fenna", "Wystan", "Griet", "Lorcan"};
  const std::vector<std::string> family = {"Fenwick", "Haldane", "Ostrander", "Pell", "Quarles", "Roke"};
  const std::vector<std::string> trade = {"bakes saffron bread", "mends lanterns", "keeps the bees", "binds almanacs",
                                          "tunes the carillon"};
  const std::vector<std::string> street = {"Eel Lane",      "Cooper's Rise", "the Salt Steps", "Mallow Court",
                                           "Hangman's Row", "the Weir",      "Plover Street"};
  std::string facts;
  for (size_t i = 0; i < 48; ++i) {
    facts += "In Quillmere, " + first[i % first.size()] + " " + family[i % family.size()] + " " +
             trade[i % trade.size()] + " at number " + std::to_string(3 + 2 * i) + ", " + street[i % street.size()] +
             ", and is known there by everybody.\n";
  }
  ASSERT_TRUE(Done(WriteFileAtomically(Path("facts.txt"), facts)));
  const Json table = RunDemo({"-m", model_, "--data", Path("facts.txt"), "--sites", "2", "--rounds", "1", "--steps",
                              "3", "--batch-tokens", "128"},
                             std::chrono::seconds(300));
  ExpectLosses(table["overall"]);
  EXPECT_LT(table["overall"]["loss_federated"].get<double>(), table["overall"]["loss_base"].get<double>())
      << table["overall"].dump();
  std::printf("          SmolLM2, held-out loss: base %.3f, site-only %.3f, federated %.3f, pooled %.3f, in %.0f s\n",
              table["overall"]["loss_base"].get<double>(), table["overall"]["loss_local"].get<double>(),
              table["overall"]["loss_federated"].get<double>(), table["overall"]["loss_pooled"].get<double>(),
              table["seconds"].get<double>());
}

}  // namespace
}  // namespace fedglm
