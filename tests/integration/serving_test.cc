// A bad day of a federation, and a site whose users do not notice: while one fault after another befalls the network,
// the aggregator, the trainer, the records and the disk, a stream of requests against the node's API sees no failure.
// After each fault the site takes part again, without anybody having started it again.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/mount.h>

#include <atomic>
#include <fstream>
#include <functional>
#include <thread>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/tls.h"
#include "tests/integration/federation.h"
#include "tests/integration/processes.h"
#include "tests/integration/relay.h"
#include "tests/support/golden.h"
#include "tests/support/http.h"

namespace fedglm {
namespace {

constexpr auto kMoment = std::chrono::seconds(60);
constexpr auto kAWhile = std::chrono::milliseconds(1500);  // as long as a fault lasts
constexpr char kSite[] = "clinic";

// The users of a site: one request after the other, some ten a second.
class Users {
 public:
  explicit Users(int port) : port_(port), thread_([this] { Run(); }) {}
  ~Users() { Leave(); }

  void Leave() {
    left_ = true;
    if (thread_.joinable()) thread_.join();
  }
  int requests() const { return requests_; }
  int failures() const { return failures_; }

 private:
  void Run() {
    while (!left_) {
      const bool asks = requests_ % 2 == 0;
      const int status = asks ? HttpStatus(port_, "/v1/completions", R"({"prompt":"a","max_tokens":2})")
                              : HttpStatus(port_, "/v1/models");
      failures_ += status == 200 ? 0 : 1;
      ++requests_;
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
  }

  const int port_;
  std::atomic<bool> left_{false};
  std::atomic<int> requests_{0}, failures_{0};
  std::thread thread_;
};

// In the aggregator's place: what answers there is no gRPC, or nothing at all.
class Portal {
 public:
  Portal(const std::string& port, std::string answer) : answer_(std::move(answer)) {
    const int reuse = 1;
    setsockopt(socket_, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof(reuse));
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(std::stoi(port)));
    inet_pton(AF_INET, "127.0.0.2", &address.sin_addr);
    EXPECT_EQ(bind(socket_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(listen(socket_, 64), 0);
    thread_ = std::thread([this] { Run(); });
  }
  ~Portal() {
    closed_ = true;
    thread_.join();
    for (const int connection : connections_) close(connection);
    close(socket_);
  }

 private:
  void Run() {
    while (!closed_) {
      pollfd wait = {socket_, POLLIN, 0};
      if (poll(&wait, 1, 20) <= 0) continue;
      const int connection = accept(socket_, nullptr, nullptr);
      if (connection < 0) continue;
      connections_.push_back(connection);
      (void)send(connection, answer_.data(), answer_.size(), MSG_NOSIGNAL);
      if (!answer_.empty()) shutdown(connection, SHUT_RDWR);
    }
  }

  const std::string answer_;
  const int socket_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  std::atomic<bool> closed_{false};
  std::vector<int> connections_;
  std::thread thread_;
};

class Serving : public testing::Test {
 protected:
  void SetUp() override {
    settings_.model = GoldenPath("golden/glm4-tiny-q4_k_m.gguf");
    settings_.initial_adapter = folder_.path() / "initial";
    settings_.rounds = 100000;
    settings_.min_sites = 1;
    settings_.training = "steps = 1\nbatch_tokens = 64\nsequence_length = 64\n";
    settings_.advertise = "127.0.0.2";
    settings_.site_lines = "[adapter]\nmax_regression = 1e12\n";
    ASSERT_EQ(RunProgram("fedglm", {"adapter", "init", "-m", settings_.model, "--out", settings_.initial_adapter},
                         folder_.path())
                  .status,
              0);
    federation_.emplace(folder_.path() / "federation", settings_);
    ASSERT_TRUE(Done(federation_->StartAggregator()));
    Connect();
    enrolment_ = Get(Relay::Start(federation_->enrolment_port(), nullptr));
    ASSERT_TRUE(Done(federation_->AddSite(kSite, Records(20), Records(2))));
    PrepareSite();
    ASSERT_TRUE(Done(federation_->StartNode(kSite)));
    ASSERT_TRUE(TakesPart()) << federation_->AllLogs();
    const Json addresses = Get(ParseJson(TextOf(federation_->SiteState(kSite) / "addresses.json"), "addresses"));
    const std::string serve = Get(RequireString(addresses, "serve"));
    users_.emplace(std::stoi(serve.substr(serve.rfind(':') + 1)));
  }
  void TearDown() override {
    users_.reset();
    relay_.reset();
    federation_.reset();
  }
  virtual void PrepareSite() {}

  static std::string Records(int count) {
    std::string lines;
    for (int i = 0; i < count; ++i) lines += RecordLine("number " + std::to_string(i), std::to_string(7 * i));
    return lines;
  }
  void Connect(std::shared_ptr<const RelayKeys> keys = nullptr) {
    relay_.reset();
    relay_ = Get(Relay::Start(federation_->federation_port(), std::move(keys)));
  }
  // An adapter is installed that was not there before.
  bool TakesPart() {
    const auto installed = [&] { return TextOf(federation_->SiteState(kSite) / "installed.json"); };
    const std::string before = installed();
    return WaitUntil([&] { return installed() != before && federation_->InstalledRound(kSite) > 0; }, kMoment);
  }
  // The fault lasts a while, or until the node says this.
  void Befalls(const std::string& name, const std::function<void()>& begins, const std::function<void()>& ends,
               const std::string& says = "") {
    const int requests = users_->requests(), failures = users_->failures();
    const size_t log = federation_->NodeLog(kSite).size();
    begins();
    if (says.empty()) {
      std::this_thread::sleep_for(kAWhile);
    } else {
      EXPECT_TRUE(WaitUntil([&] { return federation_->NodeLog(kSite).find(says, log) != std::string::npos; }, kMoment))
          << name << ": the log does not say '" << says << "':\n"
          << federation_->NodeLog(kSite).substr(log);
    }
    ends();
    EXPECT_TRUE(TakesPart()) << name << ": it does not take part again:\n"
                             << federation_->NodeLog(kSite).substr(log) << federation_->AggregatorLog();
    EXPECT_TRUE(federation_->node(kSite).Running()) << name;
    EXPECT_GT(users_->requests(), requests) << name;
    EXPECT_EQ(users_->failures(), failures) << name << ": its users were not answered";
    ++faults_;
  }
  std::filesystem::path SiteFile(const std::string& name) const { return federation_->SiteFolder(kSite) / name; }
  // Another text in a file's place, until the end of the fault.
  void BefallsFile(const std::string& name, const std::filesystem::path& path, const std::string& text,
                   const std::string& says = "") {
    const std::string good = TextOf(path);
    Befalls(
        name, [&] { ASSERT_TRUE(Done(WriteFileAtomically(path, text))); },
        [&] { ASSERT_TRUE(Done(WriteFileAtomically(path, good))); }, says);
  }
  // A signal to the node's process of this program, once there is one.
  void SignalTo(const std::string& program, int signal_number) {
    const auto found = [&] {
      pid_t farthest = 0;  // from the node: of two with one name the supervisor, not its keeper
      for (const RunningProcess& process : DescendantsOf(federation_->node(kSite).pid())) {
        if (program.rfind(process.command, 0) == 0) farthest = process.pid;  // the kernel keeps 15 letters of a name
      }
      return farthest != 0 && kill(farthest, signal_number) == 0;
    };
    EXPECT_TRUE(WaitUntil(found, kMoment)) << program;
  }
  Outcome Administer(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "federation");
    for (const std::string& more : {std::string("--admin"), (federation_->AggregatorState() / "admin").string(),
                                    std::string("--address"), "127.0.0.1:" + federation_->federation_port()}) {
      arguments.push_back(more);
    }
    return RunProgram("fedglm", arguments, folder_.path());
  }

  TemporaryDirectory folder_ = Get(TemporaryDirectory::Make("serving"));
  FederationSettings settings_;
  std::optional<Federation> federation_;
  std::unique_ptr<Relay> relay_, enrolment_;
  std::optional<Users> users_;
  int faults_ = 0;
};

TEST_F(Serving, GoesOnWhateverTheNetworkDoes) {
  const auto nothing = [] {};
  const auto connect = [&] { Connect(); };
  Befalls(
      "the connection is refused", [&] { relay_.reset(); }, connect);
  Befalls(
      "connections break again and again",
      [&] {
        for (int i = 0; i < 10; ++i) {
          Connect();
          std::this_thread::sleep_for(std::chrono::milliseconds(100));
        }
      },
      nothing);
  std::optional<Portal> portal;
  const auto instead = [&](const char* answer) {
    return [&, answer] {
      relay_.reset();
      portal.emplace(federation_->federation_port(), answer);
    };
  };
  const auto remove_portal = [&] {
    portal.reset();
    Connect();
  };
  Befalls("a captive portal answers", instead("HTTP/1.1 302 Found\r\nLocation: http://portal/\r\n\r\n"), remove_portal,
          "; trying again");
  Befalls("nobody answers on an open connection", instead(""), remove_portal);
  Befalls(
      "TLS inspection shows a foreign certificate",
      [&] {
        const auto now = Clock::System().Now();
        auto keys = std::make_shared<RelayKeys>();
        const TlsKeyPem ca_key = Get(GenerateTlsKey());
        keys->ca_pem = Get(MakeCaCertificate(ca_key, "proxy", now, std::chrono::hours(24)));
        keys->server.key_pem = Get(GenerateTlsKey());
        CertificateTerms terms;
        terms.common_name = "aggregator";
        terms.dns_names = {"127.0.0.2"};
        terms.server = true;
        terms.not_before = now - std::chrono::hours(1);
        terms.not_after = now + std::chrono::hours(1);
        keys->server.certificate_pem = Get(IssueCertificate(
            ca_key, keys->ca_pem, Get(MakeCertificateRequest(keys->server.key_pem, "aggregator")), terms));
        Connect(keys);
      },
      connect, "TLS handshake failed");
  EXPECT_EQ(faults_, 5);
}

TEST_F(Serving, GoesOnWhateverTheAggregatorDoes) {
  const auto nothing = [] {};
  Process& aggregator = federation_->aggregator();
  Befalls(
      "the aggregator hangs", [&] { aggregator.Signal(SIGSTOP); }, [&] { aggregator.Signal(SIGCONT); });
  Befalls(
      "SIGHUP, as when a terminal is closed",
      [&] {
        aggregator.Signal(SIGHUP);
        federation_->node(kSite).Signal(SIGHUP);
      },
      nothing, "SIGHUP: the token file");
  EXPECT_NE(federation_->AggregatorLog().find("SIGHUP: the aggregator keeps running"), std::string::npos);
  const auto restart = [&] { ASSERT_TRUE(Done(federation_->StartAggregator())); };
  const auto kill_aggregator = [&] {
    aggregator.Signal(SIGKILL);
    aggregator.Wait();
  };
  Befalls("the aggregator is killed", kill_aggregator, restart);
  const std::filesystem::path state = federation_->AggregatorState(), copy = folder_.path() / "copy";
  kill_aggregator();
  std::filesystem::copy(state, copy, std::filesystem::copy_options::recursive);
  restart();
  ASSERT_TRUE(TakesPart());
  Befalls(
      "the aggregator is put back from a copy",
      [&] {
        kill_aggregator();
        std::filesystem::remove_all(state);
        std::filesystem::rename(copy, state);
        restart();
      },
      nothing, "its adapter now answers");
  Befalls(
      "the adapter is rolled back",
      [&] {
        EXPECT_EQ(Administer({"rollback", "0"}).status, 0);
      },
      nothing, "its adapter now answers");
  EXPECT_EQ(faults_, 5);
  // The last: it does not come back from this by itself.
  const int failures = users_->failures();
  EXPECT_EQ(Administer({"revoke", kSite}).status, 0);
  EXPECT_TRUE(WaitUntil([&] { return federation_->NodeLog(kSite).find("was revoked") != std::string::npos; }, kMoment));
  std::this_thread::sleep_for(kAWhile);
  EXPECT_TRUE(federation_->node(kSite).Running());
  EXPECT_EQ(users_->failures(), failures) << "the site was revoked: its users were not answered";
}

TEST_F(Serving, GoesOnWhateverTheRecordsAndTheTrainerDo) {
  const std::filesystem::path train = SiteFile("records/train.jsonl"), held_out = SiteFile("records/held-out.jsonl");
  BefallsFile("a bad line in an export", train, Records(5) + "Mustermann, Max\n", "train.jsonl:6");
  BefallsFile("an export that is empty", train, "", "train.jsonl");
  BefallsFile("an export that is no text", train, std::string("\0\xff\xfe{", 4), "train.jsonl:1");
  const std::string good = TextOf(train);
  Befalls(
      "the export is gone", [&] { std::filesystem::remove(train); },
      [&] { ASSERT_TRUE(Done(WriteFileAtomically(train, good))); }, "train.jsonl");
  Befalls(
      "the export is a folder",
      [&] {
        std::filesystem::remove(train);
        std::filesystem::create_directory(train);
      },
      [&] {
        std::filesystem::remove(train);
        ASSERT_TRUE(Done(WriteFileAtomically(train, good)));
      },
      "train.jsonl");
  BefallsFile("bad held-out records", held_out, "Mustermann, Max\n", "held-out.jsonl:1");
  const std::string look = TextOf(held_out);
  Befalls(
      "the held-out records are gone", [&] { std::filesystem::remove(held_out); },
      [&] { ASSERT_TRUE(Done(WriteFileAtomically(held_out, look))); }, "held-out.jsonl");
  EXPECT_THAT(federation_->NodeLog(kSite), testing::Not(testing::HasSubstr("Mustermann")));
  const auto nothing = [] {};
  Befalls(
      "the trainer is killed", [&] { SignalTo("fedglm-trainer", SIGKILL); }, nothing);
  Befalls(
      "the trainer hangs for a while", [&] { SignalTo("fedglm-trainer", SIGSTOP); },
      [&] {
        for (const RunningProcess& process : DescendantsOf(federation_->node(kSite).pid())) {
          if (process.command == "fedglm-trainer") kill(process.pid, SIGCONT);
        }
      });
  Befalls(
      "the evaluator is killed", [&] { SignalTo("fedglm-evaluator", SIGKILL); }, nothing);
  Befalls(
      "the supervisor is killed", [&] { SignalTo("fedglm-node", SIGKILL); }, nothing);
  EXPECT_EQ(faults_, 11);
}

// Files of the node's own that are damaged while it runs.
TEST_F(Serving, GoesOnWhateverBecomesOfItsState) {
  const std::filesystem::path state = federation_->SiteState(kSite);
  const auto nothing = [] {};
  const auto write = [&](const char* name, const std::string& text) {
    return [=] { ASSERT_TRUE(Done(WriteFileAtomically(state / name, text))); };
  };
  Befalls("progress.json is damaged", write("progress.json", "{"), nothing);
  Befalls("installed.json is damaged", write("installed.json", "{"), nothing);
  Befalls("an update in the outbox is damaged", write("outbox/ab12.json", "{"), nothing, "this update is not sent");
  Befalls(
      "the adapter's folder is gone", [&] { std::filesystem::remove_all(state / "adapter"); }, nothing);
  Befalls(
      "the downloads are gone", [&] { std::filesystem::remove_all(state / "artifacts"); }, nothing);
  Befalls(
      "the work folder is a file",
      [&] {
        std::filesystem::remove_all(state / "work");
        ASSERT_TRUE(Done(WriteFileAtomically(state / "work", "x")));
      },
      [&] { std::filesystem::remove(state / "work"); });
  EXPECT_EQ(faults_, 6);
}

// The state folder on a disk of its own, of a few megabytes.
class ServingOnASmallDisk : public Serving {
 protected:
  void PrepareSite() override {
    const std::filesystem::path state = federation_->SiteState(kSite);
    std::filesystem::create_directories(state);
    mounted_ = mount("tmpfs", state.c_str(), "tmpfs", 0, "size=16m,mode=700") == 0;
  }
  void TearDown() override {
    users_.reset();
    const std::filesystem::path state = federation_->SiteState(kSite);
    federation_->Stop();
    if (mounted_) umount2(state.c_str(), MNT_DETACH);
    Serving::TearDown();
  }
  bool mounted_ = false;
};

TEST_F(ServingOnASmallDisk, GoesOnWhenItIsFull) {
  if (!mounted_) GTEST_SKIP() << "this test may mount nothing";
  const std::filesystem::path filler = federation_->SiteState(kSite) / "filler";
  Befalls(
      "the disk is full",
      [&] {
        std::ofstream file(filler, std::ios::binary);
        const std::string block(1 << 16, 'x');
        while (file.write(block.data(), static_cast<std::streamsize>(block.size())) && file.flush()) {
        }
      },
      [&] { std::filesystem::remove(filler); }, "No space left on device");
}

}  // namespace
}  // namespace fedglm
