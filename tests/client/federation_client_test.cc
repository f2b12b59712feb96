// Transfers that break, and an aggregator that means harm.
#include "client/federation_client.h"

#include <gmock/gmock.h>
#include <sys/socket.h>
#include <unistd.h>

#include <numeric>
#include <thread>

#include "client/rules/setback.h"
#include "tests/client/scripted_aggregator.h"
#include "tests/support/loopback_listener.h"
#include "tests/support/wait_until.h"

namespace fedglm {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr size_t kMiB = 1 << 20;

class FederationClientTest : public testing::Test {
 protected:
  // No two parts of it are alike.
  static std::string SomeBytes(size_t count) {
    std::string bytes(count, '\0');
    std::mt19937 random(5);
    for (char& byte : bytes) byte = static_cast<char>(random());
    return bytes;
  }
  std::vector<std::string> Files() const {
    std::vector<std::string> names;
    std::error_code none;
    for (const auto& file : std::filesystem::directory_iterator(folder_, none))
      names.push_back(file.path().filename().string());
    return names;
  }
  std::filesystem::path Part(const std::string& sha256) const { return folder_ / (sha256 + ".part"); }
  static OutboxEntry EntryFor(const std::string& payload) {
    OutboxEntry entry;
    entry.update_id = "ab12";
    entry.round = 4;
    entry.base_sha256 = kBaseSha256;
    entry.adapter_sha256 = std::string(64, 'a');
    entry.mode = "freeze-a";
    entry.examples = 12;
    entry.training_loss = 2.5;
    entry.sha256 = Sha256Hex(payload);
    entry.bytes = payload.size();
    return entry;
  }

  absl::StatusOr<v1::UploadReceipt> Upload(const OutboxEntry& entry, const std::string& payload) {
    FEDGLM_ASSIGN_OR_RETURN(const uint64_t received, client_.ReceivedBytes(entry.update_id));
    return client_.Upload(entry, payload, received);
  }

  const TemporaryDirectory root_ = MakeFolder();
  const std::filesystem::path folder_ = root_.path() / "artifacts";
  ScriptedAggregator aggregator_;
  FederationClient client_{aggregator_.identity, folder_};
};

TEST_F(FederationClientTest, ADownloadGoesOnWhereItsPartEnds) {
  const std::string bytes = SomeBytes(3 * kMiB + 17);
  const std::string sha256 = aggregator_.Publish(bytes);
  ASSERT_TRUE(MakeDirectories(folder_).ok());
  ASSERT_TRUE(WriteFileAtomically(Part(sha256), bytes.substr(0, kMiB + 5)).ok());
  EXPECT_EQ(Get(client_.Download(aggregator_.Reference(sha256, bytes.size()))), bytes);
  EXPECT_THAT(aggregator_.offsets, ElementsAre(kMiB + 5));
  EXPECT_THAT(Files(), ElementsAre(sha256));
  EXPECT_EQ(Get(client_.Download(aggregator_.Reference(sha256, bytes.size()))), bytes);
  EXPECT_EQ(aggregator_.offsets.size(), 1u) << "what is there is not fetched again";
}

TEST_F(FederationClientTest, ABrokenDownloadIsUnreachableAndItsBytesAreKept) {
  const std::string bytes = SomeBytes(3 * kMiB);
  const v1::ArtifactReference reference = aggregator_.Reference(aggregator_.Publish(bytes), bytes.size());
  aggregator_.break_download_after = 2 * kMiB;
  EXPECT_EQ(ExitCodeOf(client_.Download(reference).status()), ExitCode::kUnreachable);
  EXPECT_EQ(Get(client_.Download(reference)), bytes);
  ASSERT_EQ(aggregator_.offsets.size(), 2u);
  EXPECT_GT(aggregator_.offsets[1], 0u);
}

TEST_F(FederationClientTest, BytesOfAnotherDigestAreThrownAway) {
  const std::string bytes = SomeBytes(1000), sha256 = Sha256Hex(bytes);
  std::string other = bytes;
  other[999] = static_cast<char>(other[999] ^ 1);
  aggregator_.artifacts[sha256] = other;
  // Not Unreachable, which is tried again at once: the aggregator's disk may have damaged it for good.
  EXPECT_EQ(ExitCodeOf(client_.Download(aggregator_.Reference(sha256, bytes.size())).status()), ExitCode::kFailed);
  EXPECT_THAT(Files(), IsEmpty());
  aggregator_.artifacts[sha256] = bytes;
  EXPECT_EQ(Get(client_.Download(aggregator_.Reference(sha256, bytes.size()))), bytes);
}

// The machine lost its power: what lies in the files is not what was written.
TEST_F(FederationClientTest, WhatAPowerCutSpoiledIsFetchedAgain) {
  const std::string bytes = SomeBytes(5000), sha256 = aggregator_.Publish(bytes);
  ASSERT_TRUE(MakeDirectories(folder_).ok());
  ASSERT_TRUE(WriteFileAtomically(Part(sha256), std::string(5000, '\0')).ok());
  EXPECT_FALSE(client_.Download(aggregator_.Reference(sha256, 5000)).ok());
  EXPECT_EQ(Get(client_.Download(aggregator_.Reference(sha256, 5000))), bytes);
  ASSERT_TRUE(WriteFileAtomically(folder_ / sha256, std::string(5000, '\0')).ok());
  EXPECT_EQ(Get(client_.Download(aggregator_.Reference(sha256, 5000))), bytes);
}

TEST_F(FederationClientTest, MoreBytesThanWereAnnouncedAreNotStored) {
  const std::string bytes = SomeBytes(4 * kMiB), sha256 = aggregator_.Publish(bytes);
  const absl::Status status = client_.Download(aggregator_.Reference(sha256, kMiB / 2)).status();
  EXPECT_THAT(Message(status), HasSubstr("more bytes"));
  EXPECT_THAT(Files(), IsEmpty());
}

TEST_F(FederationClientTest, AnArtifactThatCouldFillTheDiskOrIsAPathIsNotAskedFor) {
  for (const v1::ArtifactReference& reference :
       {aggregator_.Reference(std::string(64, 'a'), uint64_t{1} << 40),
        aggregator_.Reference(std::string(64, 'a'), UINT64_MAX), aggregator_.Reference(std::string(64, 'a'), 0),
        aggregator_.Reference("../../etc/passwd", 10), aggregator_.Reference("", 10),
        aggregator_.Reference(std::string(64, 'A'), 10)}) {
    EXPECT_EQ(ExitCodeOf(client_.Download(reference).status()), ExitCode::kFailed) << reference.ShortDebugString();
  }
  EXPECT_THAT(aggregator_.offsets, IsEmpty());
  EXPECT_THAT(Files(), IsEmpty());
}

TEST_F(FederationClientTest, OtherDownloadsAreForgotten) {
  const std::string kept = aggregator_.Publish("kept"), old = aggregator_.Publish("old");
  ASSERT_TRUE(client_.Download(aggregator_.Reference(kept, 4)).ok());
  ASSERT_TRUE(client_.Download(aggregator_.Reference(old, 3)).ok());
  ASSERT_TRUE(WriteFileAtomically(Part(std::string(64, 'c')), "half").ok());
  client_.ForgetArtifactsBut(kept);
  EXPECT_THAT(Files(), ElementsAre(kept));
}

TEST_F(FederationClientTest, AnUploadGoesOnWhereTheAggregatorSaysThatItStopped) {
  const std::string payload = SomeBytes(4 * kMiB + 3);
  const OutboxEntry entry = EntryFor(payload);
  aggregator_.receipt.set_accepted(true);
  aggregator_.break_upload_after = 2;
  EXPECT_EQ(ExitCodeOf(Upload(entry, payload).status()), ExitCode::kUnreachable);
  ASSERT_EQ(aggregator_.received.size(), 2 * kMiB);

  EXPECT_TRUE(Get(Upload(entry, payload)).accepted());
  EXPECT_EQ(aggregator_.received, payload);
  ASSERT_EQ(aggregator_.headers.size(), 2u);
  const v1::UploadHeader& header = aggregator_.headers[1];
  EXPECT_EQ(header.offset(), 2 * kMiB);
  EXPECT_EQ(header.update_id(), "ab12");
  EXPECT_EQ(header.round(), 4);
  EXPECT_EQ(header.base_sha256(), kBaseSha256);
  EXPECT_EQ(header.mode(), "freeze-a");
  EXPECT_EQ(header.examples(), 12);
  EXPECT_EQ(header.bytes(), payload.size());
  EXPECT_EQ(header.sha256(), Sha256Hex(payload));
  EXPECT_EQ(header.training_loss(), 2.5);
}

TEST_F(FederationClientTest, AnAggregatorThatHasMoreThanThereIsGetsAllOfIt) {
  const std::string payload = SomeBytes(1000);
  aggregator_.claimed_received = UINT64_MAX - 1;
  ASSERT_TRUE(Upload(EntryFor(payload), payload).ok());
  EXPECT_EQ(aggregator_.headers[0].offset(), 0u);
  EXPECT_EQ(aggregator_.received, payload);
}

TEST_F(FederationClientTest, CancelEndsALongPollAtOnceAndAllThatFollows) {
  std::atomic<bool> polling{false};
  aggregator_.next_task = [&](grpc::ServerContext* context, v1::Task*) {
    polling = true;
    while (!context->IsCancelled()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return grpc::Status::CANCELLED;
  };
  absl::Status ended;
  std::thread poll([&] {
    ended = client_.NextTask({{0, ""}, {}, kBaseSha256, 10}, std::chrono::seconds(60)).status();
  });
  EXPECT_TRUE(WaitUntil([&] { return polling.load(); }));
  const Stopwatch watch;
  client_.Cancel();
  poll.join();
  EXPECT_LT(watch.Seconds(), 20);  // of the 60 that it would wait
  EXPECT_EQ(ended.code(), absl::StatusCode::kCancelled) << Message(ended);
  EXPECT_EQ(client_.NextTask({{0, ""}, {}, kBaseSha256, 10}, std::chrono::seconds(60)).status().code(),
            absl::StatusCode::kCancelled);
}

TEST_F(FederationClientTest, ARefusalAndAMissingAggregatorAreToldApart) {
  aggregator_.next_task = [](grpc::ServerContext*, v1::Task*) {
    return grpc::Status(grpc::StatusCode::PERMISSION_DENIED, "revoked");
  };
  const absl::Status refused = client_.NextTask({{0, ""}, {}, kBaseSha256, 10}, std::chrono::seconds(1)).status();
  EXPECT_EQ(ExitCodeOf(refused), ExitCode::kRefused);
  EXPECT_THAT(Message(refused), HasSubstr("revoked"));

  SiteIdentity nowhere = aggregator_.identity;
  nowhere.federation_address = "127.0.0.1:1";
  FederationClient lost(nowhere, folder_);
  EXPECT_EQ(ExitCodeOf(lost.NextTask({{0, ""}, {}, kBaseSha256, 10}, std::chrono::seconds(1)).status()),
            ExitCode::kUnreachable);
}

TEST_F(FederationClientTest, AnAggregatorOfAForeignAuthorityIsRefused) {
  SiteIdentity trusting_another = aggregator_.identity;
  trusting_another.ca_pem = TestAuthority().certificate;
  FederationClient client(trusting_another, folder_);
  const absl::Status status = client.NextTask({{0, ""}, {}, kBaseSha256, 10}, std::chrono::seconds(1)).status();
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kRefused) << Message(status);
}

// The aggregator only hangs up on it; a node that runs for a year must not take that for an aggregator that is away.
TEST_F(FederationClientTest, ASiteWhoseCertificateExpiredMeanwhileIsRefused) {
  SiteIdentity expired = aggregator_.identity;
  expired.certificate_pem = aggregator_.authority.Issue(expired.key_pem, "berlin", InHours(-1));
  FederationClient client(expired, folder_);
  const absl::Status status = client.NextTask({{0, ""}, {}, kBaseSha256, 10}, std::chrono::seconds(1)).status();
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kRefused) << Message(status);
  EXPECT_THAT(Message(status), HasSubstr("expired on"));
}

// One that the aggregator's authority did not issue is never let in; it cannot be told from an aggregator that hangs
// up.
TEST_F(FederationClientTest, ASiteWithAForeignCertificateGetsNoAnswer) {
  aggregator_.next_task = [](grpc::ServerContext*, v1::Task*) { return grpc::Status::OK; };
  EXPECT_TRUE(client_.NextTask({{0, ""}, {}, kBaseSha256, 10}, std::chrono::seconds(1)).ok());
  SiteIdentity foreign = aggregator_.identity;
  foreign.certificate_pem = TestAuthority().Issue(foreign.key_pem, "berlin", InHours(24));
  FederationClient client(foreign, folder_);
  EXPECT_EQ(ExitCodeOf(client.NextTask({{0, ""}, {}, kBaseSha256, 10}, std::chrono::seconds(1)).status()),
            ExitCode::kUnreachable);
}

// As an aggregator that is being started again, or a load balancer without one: no reason to leave the federation.
TEST_F(FederationClientTest, APeerThatHangsUpDuringTheHandshakeIsOnlyUnreachable) {
  const LoopbackListener listener;
  std::thread hang_up([&] {
    while (true) {
      const int peer = accept(listener.socket(), nullptr, nullptr);
      if (peer < 0) break;
      char hello[16];
      [[maybe_unused]] const ssize_t got = read(peer, hello, sizeof(hello));
      close(peer);
    }
  });
  SiteIdentity identity = aggregator_.identity;
  identity.federation_address = listener.host_and_port();
  FederationClient client(identity, folder_);
  const absl::Status status = client.NextTask({{0, ""}, {}, kBaseSha256, 10}, std::chrono::seconds(1)).status();
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kUnreachable) << Message(status);
  shutdown(listener.socket(), SHUT_RDWR);
  hang_up.join();
}

// A server with some certificate, whose answers are of no matter here.
class OtherAggregator : public v1::Federation::Service {
 public:
  OtherAggregator(const std::string& address, const TestAuthority& authority, const std::string& host,
                  std::chrono::system_clock::time_point not_after) {
    const TlsKeyPem key = Get(GenerateTlsKey());
    CertificateTerms terms;
    terms.common_name = host;
    terms.dns_names = {host};
    terms.server = true;
    terms.not_before = not_after - std::chrono::hours(48);
    terms.not_after = not_after;
    grpc::SslServerCredentialsOptions tls(GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE);
    tls.pem_key_cert_pairs = {{key.secret_text(), Get(IssueCertificate(authority.key, authority.certificate,
                                                                       Get(MakeCertificateRequest(key, host)), terms))
                                                      .text()}};
    grpc::ServerBuilder builder;
    builder.AddListeningPort(address, grpc::SslServerCredentials(tls));
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  ~OtherAggregator() override { server_->Shutdown(std::chrono::system_clock::now()); }
  grpc::Status NextTask(grpc::ServerContext*, const v1::NextTaskRequest*, v1::Task*) override {
    return grpc::Status::OK;
  }

 private:
  std::unique_ptr<grpc::Server> server_;
};

// The same client goes on as soon as the right one is there again: nothing of it is for good.
TEST_F(FederationClientTest, HandshakesThatFailAreSaidAndTheClientGoesOnWhenTheyAreMended) {
  const TestAuthority foreign;
  const struct {
    const char* what;
    const TestAuthority* authority;
    const char* host;
    int hours;
  } cases[] = {{"an unknown CA", &foreign, "127.0.0.1", 24},
               {"an expired certificate", &aggregator_.authority, "127.0.0.1", -1},
               {"a certificate that is not valid yet", &aggregator_.authority, "127.0.0.1", 72},
               {"another host's certificate", &aggregator_.authority, "elsewhere.example", 24}};
  for (const auto& [what, authority, host, hours] : cases) {
    SiteIdentity identity = aggregator_.identity;
    identity.federation_address = LoopbackListener().host_and_port();
    FederationClient client(identity, folder_);
    const auto asks = [&] {
      client.AwaitConnection(std::chrono::milliseconds(1000));
      return client.NextTask({{0, ""}, {}, kBaseSha256, 10}, std::chrono::seconds(1)).status();
    };
    {
      const OtherAggregator other(identity.federation_address, *authority, host, InHours(hours));
      const absl::Status status = asks();
      EXPECT_EQ(ExitCodeOf(status), ExitCode::kRefused) << what << ": " << Message(status);
      EXPECT_THAT(Message(status), HasSubstr("the TLS handshake failed: a certificate is foreign, expired, or for"));
      EXPECT_EQ(RuleOf(SetbackOf(status)).longest, std::chrono::seconds(60)) << "it is tried again, ever less often";
    }
    const OtherAggregator mended(identity.federation_address, aggregator_.authority, "127.0.0.1", InHours(24));
    EXPECT_TRUE(WaitUntil([&] { return asks().ok(); })) << what;
  }
}

TEST_F(FederationClientTest, AnAnswerInPlainTextIsSaid) {
  const LoopbackListener listener;
  std::thread answers([&] {
    while (true) {
      const int peer = accept(listener.socket(), nullptr, nullptr);
      if (peer < 0) break;
      const std::string page = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";
      [[maybe_unused]] const ssize_t sent = send(peer, page.data(), page.size(), MSG_NOSIGNAL);
      char hello[1024];
      [[maybe_unused]] const ssize_t got = read(peer, hello, sizeof(hello));
      close(peer);
    }
  });
  SiteIdentity identity = aggregator_.identity;
  identity.federation_address = listener.host_and_port();
  FederationClient client(identity, folder_);
  const absl::Status status = client.NextTask({{0, ""}, {}, kBaseSha256, 10}, std::chrono::seconds(1)).status();
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kRefused) << Message(status);
  EXPECT_THAT(Message(status), HasSubstr("does not speak TLS"));
  shutdown(listener.socket(), SHUT_RDWR);
  answers.join();
}

}  // namespace
}  // namespace fedglm
