#include "base/tls.h"

#include <gtest/gtest.h>
#include <openssl/bn.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include <memory>

#include "tests/base/forked_child.h"

namespace fedglm {
namespace {

using std::chrono::hours;
using std::chrono::seconds;
using std::chrono::system_clock;

const system_clock::time_point kNow = system_clock::from_time_t(1800000000);  // 2027-01-15T08:00:00Z

template <typename T>
T Must(absl::StatusOr<T> made) {
  EXPECT_TRUE(made.ok()) << Message(made.status());
  return made.value_or(T());
}

struct Authority {
  TlsKeyPem key = Must(GenerateTlsKey());
  CaCertificatePem certificate;
  explicit Authority(const std::string& name = "federation CA")
      : certificate(Must(MakeCaCertificate(key, name, kNow, hours(24 * 365)))) {}
};

CertificateTerms SiteTerms() {
  CertificateTerms terms;
  terms.common_name = "site-3";
  terms.not_before = kNow;
  terms.not_after = kNow + hours(24);
  return terms;
}

CertificatePem Issue(const Authority& authority, const CertificateTerms& terms,
                     const std::string& requested = "whoever") {
  const std::string request = Must(MakeCertificateRequest(Must(GenerateTlsKey()), requested));
  return Must(IssueCertificate(authority.key, authority.certificate, request, terms));
}

template <auto kFree>
struct Freer {
  template <typename T>
  void operator()(T* object) const {
    kFree(object);
  }
};
using Certificate = std::unique_ptr<X509, Freer<X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>>;
using Bio = std::unique_ptr<BIO, Freer<BIO_free_all>>;

Bio Memory(const std::string& text) { return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))); }
template <typename AnyCertificatePem>
Certificate Read(const AnyCertificatePem& pem) {
  return Certificate(PEM_read_bio_X509(Memory(pem.text()).get(), nullptr, nullptr, nullptr));
}

// What OpenSSL's own path validation says, as a TLS peer would: X509_V_OK or the reason.
int Validate(const CertificatePem& certificate, const CaCertificatePem& ca, system_clock::time_point at,
             const char* purpose) {
  const std::unique_ptr<X509_STORE, Freer<X509_STORE_free>> store(X509_STORE_new());
  const std::unique_ptr<X509_STORE_CTX, Freer<X509_STORE_CTX_free>> context(X509_STORE_CTX_new());
  X509_STORE_add_cert(store.get(), Read(ca).get());
  const Certificate leaf = Read(certificate);
  X509_STORE_CTX_init(context.get(), store.get(), leaf.get(), nullptr);
  X509_STORE_CTX_set_default(context.get(), purpose);
  X509_STORE_CTX_set_time(context.get(), 0, system_clock::to_time_t(at));
  return X509_verify_cert(context.get()) == 1 ? X509_V_OK : X509_STORE_CTX_get_error(context.get());
}

TEST(Certificates, TheCasIsValidForItsUseOnly) {
  const Authority authority;
  CertificateTerms server = SiteTerms();
  server.server = true;
  server.dns_names = {"aggregator.example", "127.0.0.1", "::1"};
  const CertificatePem client_certificate = Issue(authority, SiteTerms()),
                       server_certificate = Issue(authority, server);
  const auto at = kNow + hours(1);
  EXPECT_EQ(Validate(client_certificate, authority.certificate, at, "ssl_client"), X509_V_OK);
  EXPECT_EQ(Validate(server_certificate, authority.certificate, at, "ssl_server"), X509_V_OK);
  EXPECT_EQ(Validate(client_certificate, authority.certificate, at, "ssl_server"), X509_V_ERR_INVALID_PURPOSE);
  EXPECT_EQ(Validate(server_certificate, authority.certificate, at, "ssl_client"), X509_V_ERR_INVALID_PURPOSE);

  const Certificate parsed = Read(server_certificate);
  EXPECT_EQ(X509_check_host(parsed.get(), "aggregator.example", 0, 0, nullptr), 1);
  EXPECT_EQ(X509_check_host(parsed.get(), "other.example", 0, 0, nullptr), 0);
  EXPECT_EQ(X509_check_ip_asc(parsed.get(), "127.0.0.1", 0), 1);
  EXPECT_EQ(X509_check_ip_asc(parsed.get(), "::1", 0), 1);
  EXPECT_EQ(X509_check_ip_asc(parsed.get(), "127.0.0.2", 0), 0);
}

TEST(Certificates, AnotherCaOfTheSameNameIsNotBelieved) {
  const Authority ours, theirs;
  EXPECT_NE(Validate(Issue(theirs, SiteTerms()), ours.certificate, kNow + hours(1), "ssl_client"), X509_V_OK);
}

TEST(Certificates, AnIssuedOneIsNoCa) {
  const Authority authority;
  const TlsKeyPem key = Must(GenerateTlsKey());
  const CertificatePem site =
      Must(IssueCertificate(authority.key, authority.certificate, Must(MakeCertificateRequest(key, "x")), SiteTerms()));
  EXPECT_EQ(X509_check_ca(Read(site).get()), 0);
  EXPECT_EQ(X509_check_ca(Read(authority.certificate).get()), 1);
}

TEST(Certificates, AreValidFromBeginToEnd) {
  const Authority authority;
  const CertificatePem site = Issue(authority, SiteTerms());
  const auto valid_at = [&](system_clock::time_point at) {
    return Validate(site, authority.certificate, at, "ssl_client");
  };
  EXPECT_EQ(valid_at(kNow), X509_V_OK);
  EXPECT_EQ(valid_at(kNow + hours(24) - seconds(1)), X509_V_OK);
  EXPECT_EQ(valid_at(kNow + hours(24)), X509_V_ERR_CERT_HAS_EXPIRED);
  EXPECT_NE(valid_at(kNow - seconds(1)), X509_V_OK);
  const absl::StatusOr<CertificateFacts> facts = DescribeCertificate(site);
  ASSERT_TRUE(facts.ok());
  EXPECT_EQ(facts->not_before, kNow);
  EXPECT_EQ(facts->not_after, kNow + hours(24));
}

TEST(Certificates, SubjectIsTheIssuersWordNotTheRequests) {
  const Authority authority;
  const absl::StatusOr<CertificateFacts> facts = DescribeCertificate(Issue(authority, SiteTerms(), "administrator"));
  ASSERT_TRUE(facts.ok());
  EXPECT_EQ(facts->common_name, "site-3");
  EXPECT_EQ(DescribeCertificate(authority.certificate)->common_name, "federation CA");
}

TEST(Certificates, HoldTheKeyOfTheRequest) {
  const Authority authority;
  const TlsKeyPem key = Must(GenerateTlsKey());
  const CertificatePem site =
      Must(IssueCertificate(authority.key, authority.certificate, Must(MakeCertificateRequest(key, "x")), SiteTerms()));
  const Key private_key(PEM_read_bio_PrivateKey(Memory(key.secret_text()).get(), nullptr, nullptr, nullptr));
  ASSERT_NE(private_key, nullptr);
  EXPECT_EQ(X509_check_private_key(Read(site).get(), private_key.get()), 1);
}

TEST(Certificates, BelongToOneKey) {
  const Authority authority;
  const TlsKeyPem key = Must(GenerateTlsKey());
  const CertificatePem certificate =
      Must(IssueCertificate(authority.key, authority.certificate, Must(MakeCertificateRequest(key, "x")), SiteTerms()));
  EXPECT_TRUE(CheckBelongsTo(certificate, key).ok());
  EXPECT_EQ(ExitCodeOf(CheckBelongsTo(certificate, Must(GenerateTlsKey()))), ExitCode::kRefused);
  EXPECT_EQ(ExitCodeOf(CheckBelongsTo(CertificatePem("rubbish"), key)), ExitCode::kBadInputFile);
  EXPECT_EQ(ExitCodeOf(CheckBelongsTo(certificate, TlsKeyPem("rubbish"))), ExitCode::kBadInputFile);
}

TEST(Certificates, SerialsAndDigestsAreTheirOwn) {
  const Authority authority;
  const std::string request = Must(MakeCertificateRequest(Must(GenerateTlsKey()), "x"));
  const auto issue = [&] { return Must(IssueCertificate(authority.key, authority.certificate, request, SiteTerms())); };
  const CertificateFacts first = *DescribeCertificate(issue()), second = *DescribeCertificate(issue());
  EXPECT_NE(first.serial_hex, second.serial_hex);
  EXPECT_GT(first.serial_hex.size(), 20u);
  EXPECT_EQ(first.sha256_hex.size(), 64u);
  EXPECT_NE(first.sha256_hex, second.sha256_hex);
}

// Every bit of the request's body is under its signature.
TEST(Certificates, ATamperedRequestIsRefused) {
  const Authority authority;
  const std::string pem = Must(MakeCertificateRequest(Must(GenerateTlsKey()), "site"));
  const std::unique_ptr<X509_REQ, Freer<X509_REQ_free>> request(
      PEM_read_bio_X509_REQ(Memory(pem).get(), nullptr, nullptr, nullptr));
  ASSERT_NE(request, nullptr);
  unsigned char* der = nullptr;
  const int size = i2d_X509_REQ(request.get(), &der);
  ASSERT_GT(size, 100);
  const std::string bytes(reinterpret_cast<char*>(der), static_cast<size_t>(size));
  OPENSSL_free(der);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    std::string tampered = bytes;
    tampered[i] = static_cast<char>(tampered[i] ^ 0x10);
    const Bio bio(BIO_new(BIO_s_mem()));
    PEM_write_bio(bio.get(), "CERTIFICATE REQUEST", "", reinterpret_cast<const unsigned char*>(tampered.data()), size);
    char* text = nullptr;
    const long text_size = BIO_get_mem_data(bio.get(), &text);
    const auto issued = IssueCertificate(authority.key, authority.certificate,
                                         std::string_view(text, static_cast<size_t>(text_size)), SiteTerms());
    ASSERT_FALSE(issued.ok()) << "byte " << i;
    const ExitCode code = ExitCodeOf(issued.status());
    EXPECT_TRUE(code == ExitCode::kRefused || code == ExitCode::kBadInputFile) << Message(issued.status());
  }
}

TEST(Certificates, ANameThatIsNoneIsNotPutIntoOne) {
  const Authority authority;
  const std::string request = Must(MakeCertificateRequest(Must(GenerateTlsKey()), "x"));
  for (const char* name : {"", "a,DNS:evil.example", "a b", "a\nb", "ä"}) {
    CertificateTerms terms = SiteTerms();
    terms.dns_names = {name};
    const auto issued = IssueCertificate(authority.key, authority.certificate, request, terms);
    EXPECT_EQ(ExitCodeOf(issued.status()), ExitCode::kConfiguration) << name;
  }
}

TEST(Certificates, WhatIsNoPemIsABadFile) {
  const Authority authority;
  const std::string request = Must(MakeCertificateRequest(Must(GenerateTlsKey()), "x"));
  for (const std::string& bad : {std::string(), std::string("nonsense"), authority.key.secret_text().substr(0, 100),
                                 std::string("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")}) {
    const absl::Status statuses[] = {
        DescribeCertificate(CertificatePem(bad)).status(),
        PublicKeyOf(SigningKeyPem(bad)).status(),
        Sign(SigningKeyPem(bad), "x").status(),
        VerifySignature(PublicKeyPem(bad), "x", "y"),
        MakeCaCertificate(TlsKeyPem(bad), "x", kNow, hours(1)).status(),
        MakeCertificateRequest(TlsKeyPem(bad), "x").status(),
        IssueCertificate(authority.key, authority.certificate, bad, SiteTerms()).status(),
        IssueCertificate(authority.key, CaCertificatePem(bad), request, SiteTerms()).status(),
        IssueCertificate(TlsKeyPem(bad), authority.certificate, request, SiteTerms()).status(),
    };
    for (const absl::Status& status : statuses) {
      EXPECT_EQ(ExitCodeOf(status), ExitCode::kBadInputFile) << Message(status);
    }
  }
  EXPECT_EQ(ExitCodeOf(DescribeCertificate(CertificatePem()).status()), ExitCode::kBadInputFile);
}

// OpenSSL's default is to ask for the password at the terminal, or on stdin where there is none: a daemon would hang,
// and a site could make the aggregator hang with its request.
TEST(Certificates, AnEncryptedPemBlockIsRefusedWithoutAskingForAPassword) {
  const Authority authority;
  const std::string request = Must(MakeCertificateRequest(Must(GenerateTlsKey()), "x"));
  std::string encrypted = request;
  encrypted.insert(encrypted.find('\n') + 1,
                   "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00112233445566778899AABBCCDDEEFF\n\n");
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  ASSERT_EQ(write(ends[1], "secret\n", 7), 7);
  const int child = RunInChild([&] {
    setsid();  // no terminal
    dup2(ends[0], STDIN_FILENO);
    const auto issued = IssueCertificate(authority.key, authority.certificate, encrypted, SiteTerms());
    return ExitCodeOf(issued.status()) == ExitCode::kBadInputFile ? 0 : 1;
  });
  EXPECT_EQ(child, 0);
  char text[16] = {};
  close(ends[1]);
  EXPECT_EQ(read(ends[0], text, sizeof(text)), 7) << "the password was read from stdin";
  close(ends[0]);
}

TEST(Signature, IsVerifiedWithThePublicKey) {
  const SigningKeyPem key = Must(GenerateSigningKey());
  const PublicKeyPem public_key = Must(PublicKeyOf(key));
  for (const std::string& bytes : {std::string(), std::string("provenance"), std::string(100000, '\0')}) {
    const std::string signature = Must(Sign(key, bytes));
    EXPECT_EQ(signature.size(), 64u);
    EXPECT_TRUE(VerifySignature(public_key, bytes, signature).ok());
    EXPECT_EQ(Must(Sign(key, bytes)), signature) << "Ed25519 is deterministic";
  }
}

TEST(Signature, NoFlippedBitPasses) {
  const SigningKeyPem key = Must(GenerateSigningKey());
  const PublicKeyPem public_key = Must(PublicKeyOf(key));
  const std::string bytes = "round 7", signature = Must(Sign(key, bytes));
  for (size_t bit = 0; bit < 8 * signature.size(); ++bit) {
    std::string flipped = signature;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_EQ(ExitCodeOf(VerifySignature(public_key, bytes, flipped)), ExitCode::kRefused) << bit;
  }
  for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    std::string flipped = bytes;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_FALSE(VerifySignature(public_key, flipped, signature).ok()) << bit;
  }
  EXPECT_FALSE(VerifySignature(public_key, bytes, "").ok());
  EXPECT_FALSE(VerifySignature(public_key, bytes, signature.substr(0, 63)).ok());
  EXPECT_FALSE(VerifySignature(public_key, bytes, signature + "x").ok());
  const PublicKeyPem other_key = Must(PublicKeyOf(Must(GenerateSigningKey())));
  EXPECT_EQ(ExitCodeOf(VerifySignature(other_key, bytes, signature)), ExitCode::kRefused);
}

}  // namespace
}  // namespace fedglm
