#include "aggregator/server_credentials.h"

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>

#include <cstdlib>

namespace fedglm {
namespace {

// gRPC's C++ credentials are made from one certificate. Its C ones ask for it with each handshake, on whatever thread
// took the connection: what they are told is made here.
class AskingCredentials : public grpc::ServerCredentials {
 public:
  AskingCredentials(ServerCertificate& certificate, const CaCertificatePem& authority, ClientCertificates clients)
      : certificate_(certificate), authority_(authority), clients_(clients) {}

  // Nobody here sends metadata that would have to be looked at.
  void SetAuthMetadataProcessor(const std::shared_ptr<grpc::AuthMetadataProcessor>&) override {}

 private:
  int AddPortToServer(const std::string& address, grpc_server* server) override {
    told_ = 0;
    grpc_server_credentials* const credentials =
        grpc_ssl_server_credentials_create_with_options(grpc_ssl_server_credentials_create_options_using_config_fetcher(
            clients_ == ClientCertificates::kRequired ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                                                      : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE,
            &AskingCredentials::Tell, this));
    const int port = grpc_server_add_http2_port(server, address.c_str(), credentials);
    grpc_server_credentials_release(credentials);
    return port;
  }

  // Of one port: gRPC calls it under a lock of its own.
  static grpc_ssl_certificate_config_reload_status Tell(void* self, grpc_ssl_server_certificate_config** config) {
    return static_cast<AskingCredentials*>(self)->Tell(config);
  }
  grpc_ssl_certificate_config_reload_status Tell(grpc_ssl_server_certificate_config** config) {
    const absl::StatusOr<std::shared_ptr<const ServerCertificate::Shown>> shown = certificate_.ForHandshake();
    if (!shown.ok()) return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_FAIL;
    if ((*shown)->version == told_) return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
    const grpc_ssl_pem_key_cert_pair pair = {(*shown)->identity.key_pem.secret_text().c_str(),
                                             (*shown)->identity.certificate_pem.text().c_str()};
    *config = grpc_ssl_server_certificate_config_create(authority_.text().c_str(), &pair, 1);
    told_ = (*shown)->version;
    return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
  }

  ServerCertificate& certificate_;
  const CaCertificatePem authority_;
  const ClientCertificates clients_;
  int64_t told_ = 0;
};

}  // namespace

// This gRPC takes no minimum version, but the suites of TLS 1.2 can be chosen, apart from those of 1.3: with one that
// needs a pre-shared key, which nobody has, no handshake of 1.2 succeeds.
void RequireTls13() { setenv("GRPC_SSL_CIPHER_SUITES", "PSK-AES256-GCM-SHA384", 1); }

std::shared_ptr<grpc::ServerCredentials> MakeServerCredentials(ServerCertificate& certificate,
                                                               const CaCertificatePem& authority,
                                                               ClientCertificates clients) {
  return std::make_shared<AskingCredentials>(certificate, authority, clients);
}

}  // namespace fedglm
