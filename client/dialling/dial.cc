#include "client/dialling/dial.h"

#include <cstdlib>

#include "client/dialling/proxy.h"
#include "proto/grpc_log.h"

namespace fedglm {
namespace {

ProxyChoice ChosenFor(const std::string& address) {
  return ChooseProxy(address, [](const char* name) -> const char* { return std::getenv(name); });
}

void SetIfAny(grpc::ChannelArguments& arguments, const char* name, std::chrono::milliseconds value) {
  if (value.count() > 0) arguments.SetInt(name, static_cast<int>(value.count()));
}

}  // namespace

std::shared_ptr<grpc::Channel> Dial(const std::string& address, const Trust& trust, const Reconnect& reconnect,
                                    int most_message_bytes) {
  SilenceGrpc();
  grpc::SslCredentialsOptions tls;
  tls.pem_root_certs = trust.authorities.text();
  tls.pem_private_key = trust.key.secret_text();
  tls.pem_cert_chain = trust.certificate.text();
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 20000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10000);
  SetIfAny(arguments, GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, reconnect.first);
  SetIfAny(arguments, GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, reconnect.longest);
  SetIfAny(arguments, GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, reconnect.attempt);
  if (most_message_bytes > 0) arguments.SetMaxReceiveMessageSize(most_message_bytes);
  // gRPC reads variables of lower case by itself: what was chosen here is what counts.
  const ProxyChoice proxy = ChosenFor(address);
  if (proxy.url.empty()) {
    arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  } else {
    arguments.SetString(GRPC_ARG_HTTP_PROXY, proxy.url);
  }
  return grpc::CreateCustomChannel(address, grpc::SslCredentials(tls), arguments);
}

std::string ProxyInWords(const std::string& address) { return ChosenFor(address).in_words; }

}  // namespace fedglm
