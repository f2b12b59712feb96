// Keys, limits and TLS as a client meets them.
#include <gmock/gmock.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/tls.h"
#include "inference/api/api_keys.h"
#include "tests/inference/api/server_fixture.h"

namespace fedglm {
namespace {

constexpr const char* kChat = "/v1/chat/completions";

class GuardedServerTest : public ServerFixture {
 protected:
  void ServeWithKeys() {
    Serve({.api_keys = file_});
    client_->set_bearer_token_auth(key_);
  }
  std::string MakeKey(const std::string& name, const KeyLimits& limits) { return *AddApiKey(file_, name, limits); }

  const TemporaryDirectory folder_ = *TemporaryDirectory::Make("keys");
  const std::filesystem::path file_ = folder_.path() / "keys";
  std::string key_;
};

TEST_F(GuardedServerTest, WithoutAKeyThereIsHealthAndNothingElse) {
  if (engine_ == nullptr) return;
  key_ = MakeKey("ward-7", {});
  ServeWithKeys();
  EXPECT_EQ(Post(kChat, Question())->status, 200);
  httplib::Client stranger("127.0.0.1", server_->port());
  EXPECT_EQ(stranger.Get("/health")->status, 200);
  for (const char* path : {"/metrics", "/v1/models", "/v1/models/tiny"}) {
    EXPECT_EQ(stranger.Get(path)->status, 401) << path;
  }
  const int64_t tokens = engine_->Statistics().prompt_tokens;
  stranger.set_keep_alive(true);
  for (const char* path : {kChat, "/v1/completions", "/v1/embeddings", "/tokenize", "/detokenize"}) {
    const auto refused = stranger.Post(path, DumpJson(Question()), "application/json");
    ASSERT_TRUE(refused) << path;
    EXPECT_EQ(refused->status, 401) << path;
    EXPECT_EQ((*ParseJson(refused->body, "error"))["error"]["code"], "invalid_api_key");
  }
  stranger.set_bearer_token_auth("fedglm-000000000000-x");
  EXPECT_EQ(stranger.Get("/v1/models")->status, 401);
  EXPECT_EQ(engine_->Statistics().prompt_tokens, tokens) << "a stranger must not reach the engine";
  EXPECT_THAT(client_->Get("/metrics")->body, testing::HasSubstr("fedglm_refusals_total{reason=\"authentication\"}"));
}

TEST_F(GuardedServerTest, TooManyRequestsAMinuteAre429AtOnce) {
  if (engine_ == nullptr) return;
  key_ = MakeKey("ward-7", {.requests_per_minute = 2});
  ServeWithKeys();
  const auto first = Post(kChat, Question());
  EXPECT_EQ(first->status, 200);
  EXPECT_EQ(first->get_header_value("x-ratelimit-limit-requests"), "2");
  EXPECT_EQ(first->get_header_value("x-ratelimit-remaining-requests"), "1");
  EXPECT_EQ(Post(kChat, Question())->status, 200);
  const Stopwatch watch;
  const auto refused = Post(kChat, Question());
  EXPECT_LT(watch.Seconds(), 15);  // of the 30 after which there would be room
  EXPECT_EQ(refused->status, 429);
  EXPECT_GE(std::stoi(refused->get_header_value("Retry-After")), 20);
  EXPECT_EQ((*ParseJson(refused->body, "error"))["error"]["code"], "rate_limit_exceeded");
  EXPECT_EQ((*ParseJson(refused->body, "error"))["error"]["type"], "requests");
}

TEST_F(GuardedServerTest, TokensOfPromptsAndAnswersAreCounted) {
  if (engine_ == nullptr) return;
  key_ = MakeKey("ward-7", {.tokens_per_minute = 60});
  ServeWithKeys();
  const auto answered = Post(kChat, Endless({{"max_tokens", 55}}));
  EXPECT_EQ(answered->status, 200);
  const auto refused = Post(kChat, Question());
  EXPECT_EQ(refused->status, 429);
  EXPECT_EQ((*ParseJson(refused->body, "error"))["error"]["type"], "tokens");
  EXPECT_EQ(refused->get_header_value("x-ratelimit-limit-tokens"), "60");
}

TEST_F(GuardedServerTest, AKeyHasSoManyRequestsAtOnce) {
  if (engine_ == nullptr) return;
  key_ = MakeKey("ward-7", {.parallel = 1});
  ServeWithKeys();
  httplib::Client second("127.0.0.1", server_->port());
  second.set_bearer_token_auth(key_);
  int status_meanwhile = 0;
  httplib::Request request;
  request.method = "POST";
  request.path = kChat;
  request.body = DumpJson(Endless({{"stream", true}, {"n", 8}}));
  request.set_header("Content-Type", "application/json");
  request.content_receiver = [&](const char*, size_t, uint64_t, uint64_t) {
    // The rest is more than the connection holds: the answer cannot be over yet.
    if (status_meanwhile == 0) status_meanwhile = second.Get("/v1/models")->status;
    return true;
  };
  ASSERT_TRUE(client_->send(request));
  EXPECT_EQ(status_meanwhile, 429);
  EXPECT_EQ(second.Get("/v1/models")->status, 200);
}

TEST_F(GuardedServerTest, TlsFromVersion12On) {
  if (engine_ == nullptr) return;
  const auto now = Clock::System().Now();
  const TlsKeyPem ca_key = *GenerateTlsKey(), key = *GenerateTlsKey();
  const CaCertificatePem ca = *MakeCaCertificate(ca_key, "test", now, std::chrono::hours(1));
  CertificateTerms terms;
  terms.common_name = "localhost";
  terms.dns_names = {"localhost", "127.0.0.1"};
  terms.server = true;
  terms.not_before = now - std::chrono::minutes(1);
  terms.not_after = now + std::chrono::hours(1);
  const CertificatePem certificate = *IssueCertificate(ca_key, ca, *MakeCertificateRequest(key, "localhost"), terms);
  const auto write = [&](const char* name, const std::string& pem) {
    EXPECT_TRUE(WriteFileAtomically(folder_.path() / name, pem, 0600).ok());
    return folder_.path() / name;
  };
  const std::filesystem::path ca_file = write("ca.pem", ca.text());
  ApiOptions options;
  options.tls_certificate = write("certificate.pem", certificate.text());
  options.tls_key = write("key.pem", key.secret_text());
  Serve(options);
  httplib::SSLClient client("127.0.0.1", server_->port());
  client.set_ca_cert_path(ca_file);
  client.enable_server_certificate_verification(true);
  const auto answer = client.Post(kChat, DumpJson(Question()), "application/json");
  ASSERT_TRUE(answer) << httplib::to_string(answer.error());
  EXPECT_EQ(answer->status, 200);
  httplib::SSLClient old("127.0.0.1", server_->port());
  old.set_ca_cert_path(ca_file);
  SSL_CTX_set_max_proto_version(old.ssl_context(), TLS1_1_VERSION);
  EXPECT_FALSE(old.Get("/health"));
  httplib::Client plain("127.0.0.1", server_->port());
  EXPECT_FALSE(plain.Get("/health"));
  options.tls_key = ca_file;  // no key
  EXPECT_EQ(ExitCodeOf(ApiServer::Start(*engine_, options).status()), ExitCode::kConfiguration);
}

}  // namespace
}  // namespace fedglm
