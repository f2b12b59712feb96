// For the tests of client/: certificates of a CA of one's own, a site's identity, and signed adapters.
#pragma once

#include <chrono>
#include <string>

#include "adapter/adapter.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/tls.h"
#include "client/identity.h"
#include "tests/aggregator/rounds/small_federation.h"

namespace fedglm {

// A certificate authority that exists only in this test.
struct TestAuthority {
  TlsKeyPem key = Get(GenerateTlsKey());
  CaCertificatePem certificate =
      Get(MakeCaCertificate(key, "test CA", std::chrono::system_clock::now(), std::chrono::hours(24)));

  CertificatePem Issue(const TlsKeyPem& site_key, const std::string& name,
                       std::chrono::system_clock::time_point not_after, bool server = false) const {
    CertificateTerms terms;
    terms.common_name = name;
    if (server) terms.dns_names = {"localhost", "127.0.0.1"};
    terms.server = server;
    terms.not_before = not_after - std::chrono::hours(48);
    terms.not_after = not_after;
    return Get(IssueCertificate(key, certificate, Get(MakeCertificateRequest(site_key, name)), terms));
  }
};

inline std::chrono::system_clock::time_point InHours(int hours) {
  return std::chrono::system_clock::now() + std::chrono::hours(hours);
}

// A member "berlin" of a federation "test" whose aggregator signs with `signing_key`.
inline SiteIdentity MakeIdentity(const TestAuthority& authority, const SigningKeyPem& signing_key,
                                 std::chrono::system_clock::time_point not_after = InHours(24)) {
  SiteIdentity identity;
  identity.site_id = "berlin";
  identity.federation = "test";
  identity.federation_address = "127.0.0.1:1";
  identity.key_pem = Get(GenerateTlsKey());
  identity.certificate_pem = authority.Issue(identity.key_pem, identity.site_id, not_after);
  identity.ca_pem = authority.certificate;
  identity.signing_public_pem = Get(PublicKeyOf(signing_key));
  return identity;
}

// As the aggregator of "test" publishes it.
inline Adapter SignedAdapter(Adapter adapter, const SigningKeyPem& signing_key, int64_t round,
                             const std::string& base_sha256) {
  Provenance provenance;
  provenance.base_sha256 = base_sha256;
  provenance.federation = "test";
  provenance.round = round;
  provenance.mode = "freeze-a";
  provenance.weights_sha256 = WeightsSha256(adapter);
  provenance.signature = Base64UrlEncode(Get(Sign(signing_key, SignedBytes(adapter.config, provenance))));
  adapter.provenance = provenance;
  return adapter;
}

}  // namespace fedglm
