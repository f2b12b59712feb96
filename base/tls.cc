#include "base/tls.h"

#include <arpa/inet.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>

#include "base/digest.h"

namespace fedglm {
namespace {

template <auto kFree>
struct Freer {
  template <typename T>
  void operator()(T* object) const {
    kFree(object);
  }
};
using Key = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>>;
using KeyContext = std::unique_ptr<EVP_PKEY_CTX, Freer<EVP_PKEY_CTX_free>>;
using DigestContext = std::unique_ptr<EVP_MD_CTX, Freer<EVP_MD_CTX_free>>;
using Certificate = std::unique_ptr<X509, Freer<X509_free>>;
using Request = std::unique_ptr<X509_REQ, Freer<X509_REQ_free>>;
using Bio = std::unique_ptr<BIO, Freer<BIO_free_all>>;
using BigNumber = std::unique_ptr<BIGNUM, Freer<BN_free>>;
using Extension = std::unique_ptr<X509_EXTENSION, Freer<X509_EXTENSION_free>>;

absl::Status OpenSslError(std::string_view doing) {
  char reason[256] = "unknown";
  if (const unsigned long code = ERR_get_error(); code != 0) ERR_error_string_n(code, reason, sizeof(reason));
  ERR_clear_error();
  return FailedError(std::string(doing) + ": " + reason);
}

absl::Status BadPem(std::string_view what) {
  ERR_clear_error();
  return BadFileError("not " + std::string(what) + " in PEM form");
}

// OpenSSL's own answer to an encrypted PEM block, which also a peer's request can be, is to ask at the terminal.
int NoPassword(char*, int, int, void*) { return -1; }

Bio ReadBio(std::string_view pem) { return Bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()))); }

std::string ToText(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return std::string(data, static_cast<size_t>(size));
}

// Writes with one of OpenSSL's PEM_write_bio_ functions.
template <typename Text, typename Write>
absl::StatusOr<Text> WritePem(Write write) {
  const Bio bio(BIO_new(BIO_s_mem()));
  if (bio == nullptr || write(bio.get()) != 1) return OpenSslError("writing PEM");
  return Text(ToText(bio.get()));
}

template <typename KeyPem>
absl::StatusOr<Key> ReadPrivateKey(const KeyPem& pem) {
  Key key(PEM_read_bio_PrivateKey(ReadBio(pem.secret_text()).get(), nullptr, NoPassword, nullptr));
  if (key == nullptr) return BadPem("a private key");
  return key;
}

template <typename AnyCertificatePem>
absl::StatusOr<Certificate> ReadCertificate(const AnyCertificatePem& pem) {
  Certificate certificate(PEM_read_bio_X509(ReadBio(pem.text()).get(), nullptr, NoPassword, nullptr));
  if (certificate == nullptr) return BadPem("a certificate");
  return certificate;
}

template <typename KeyPem>
absl::StatusOr<KeyPem> WritePrivateKey(EVP_PKEY* key) {
  return WritePem<KeyPem>(
      [&](BIO* bio) { return PEM_write_bio_PKCS8PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr); });
}

absl::Status SetTime(ASN1_TIME* field, std::chrono::system_clock::time_point time) {
  return ASN1_TIME_set(field, std::chrono::system_clock::to_time_t(time)) != nullptr ? absl::OkStatus()
                                                                                     : OpenSslError("certificate time");
}

absl::Status SetCommonName(X509_NAME* name, std::string_view common_name) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(common_name.data());
  if (X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, bytes, static_cast<int>(common_name.size()), -1, 0) != 1) {
    return OpenSslError("certificate name");
  }
  return absl::OkStatus();
}

// 128 random bits, positive.
absl::Status SetRandomSerial(X509* certificate) {
  const BigNumber number(BN_new());
  if (number == nullptr || BN_rand(number.get(), 127, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) != 1 ||
      BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) == nullptr) {
    return OpenSslError("certificate serial");
  }
  return absl::OkStatus();
}

absl::Status AddExtension(X509* certificate, X509* issuer, int type, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const Extension extension(X509V3_EXT_conf_nid(nullptr, &context, type, value.c_str()));
  if (extension == nullptr || X509_add_ext(certificate, extension.get(), -1) != 1)
    return OpenSslError("certificate extension");
  return absl::OkStatus();
}

std::chrono::system_clock::time_point ToTimePoint(const ASN1_TIME* time) {
  std::tm fields = {};
  ASN1_TIME_to_tm(time, &fields);
  return std::chrono::system_clock::from_time_t(timegm(&fields));
}

std::string SerialHex(const ASN1_INTEGER* serial) {
  const BigNumber number(ASN1_INTEGER_to_BN(serial, nullptr));
  char* text = number != nullptr ? BN_bn2hex(number.get()) : nullptr;
  std::string hex = text != nullptr ? text : "";
  OPENSSL_free(text);
  return hex;
}

// "DNS:localhost,IP:127.0.0.1"
std::string AlternativeNames(const std::vector<std::string>& names) {
  std::string joined;
  for (const std::string& name : names) {
    unsigned char address[16];
    const bool ip = inet_pton(AF_INET, name.c_str(), address) == 1 || inet_pton(AF_INET6, name.c_str(), address) == 1;
    joined += (joined.empty() ? "" : ",") + std::string(ip ? "IP:" : "DNS:") + name;
  }
  return joined;
}

bool IsPlainName(const std::string& name) {
  for (const char c : name) {
    if (!(std::isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '-' || c == ':' || c == '*' || c == '_'))
      return false;
  }
  return !name.empty();
}

absl::StatusOr<Key> Generate(Key key, std::string_view what) {
  if (key == nullptr) return OpenSslError("making " + std::string(what));
  return key;
}

CertificateFacts FactsOf(const Certificate& certificate) {
  CertificateFacts facts;
  X509_NAME* const subject = X509_get_subject_name(certificate.get());
  if (const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1); at >= 0) {
    unsigned char* text = nullptr;
    const int size = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    if (size > 0) facts.common_name.assign(reinterpret_cast<char*>(text), static_cast<size_t>(size));
    OPENSSL_free(text);
  }
  facts.serial_hex = SerialHex(X509_get0_serialNumber(certificate.get()));
  unsigned char* der = nullptr;
  const int der_size = i2d_X509(certificate.get(), &der);
  if (der_size > 0) facts.sha256_hex = Sha256Hex({reinterpret_cast<char*>(der), static_cast<size_t>(der_size)});
  OPENSSL_free(der);
  facts.not_before = ToTimePoint(X509_get0_notBefore(certificate.get()));
  facts.not_after = ToTimePoint(X509_get0_notAfter(certificate.get()));
  return facts;
}

}  // namespace

absl::StatusOr<TlsKeyPem> GenerateTlsKey() {
  FEDGLM_ASSIGN_OR_RETURN(const Key key, Generate(Key(EVP_EC_gen("P-256")), "a TLS key"));
  return WritePrivateKey<TlsKeyPem>(key.get());
}

absl::StatusOr<SigningKeyPem> GenerateSigningKey() {
  FEDGLM_ASSIGN_OR_RETURN(const Key key,
                          Generate(Key(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519")), "a signing key"));
  return WritePrivateKey<SigningKeyPem>(key.get());
}

absl::StatusOr<PublicKeyPem> PublicKeyOf(const SigningKeyPem& key_pem) {
  FEDGLM_ASSIGN_OR_RETURN(const Key key, ReadPrivateKey(key_pem));
  return WritePem<PublicKeyPem>([&](BIO* bio) { return PEM_write_bio_PUBKEY(bio, key.get()); });
}

absl::StatusOr<std::string> Sign(const SigningKeyPem& key_pem, std::string_view bytes) {
  FEDGLM_ASSIGN_OR_RETURN(const Key key, ReadPrivateKey(key_pem));
  const DigestContext context(EVP_MD_CTX_new());
  const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
  size_t size = 0;
  if (EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key.get()) != 1 ||
      EVP_DigestSign(context.get(), nullptr, &size, data, bytes.size()) != 1) {
    return OpenSslError("signing");
  }
  std::string signature(size, '\0');
  if (EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &size, data, bytes.size()) !=
      1) {
    return OpenSslError("signing");
  }
  signature.resize(size);
  return signature;
}

absl::Status VerifySignature(const PublicKeyPem& key_pem, std::string_view bytes, std::string_view signature) {
  const Key key(PEM_read_bio_PUBKEY(ReadBio(key_pem.text()).get(), nullptr, NoPassword, nullptr));
  if (key == nullptr) return BadPem("a public key");
  const DigestContext context(EVP_MD_CTX_new());
  if (EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key.get()) != 1) return OpenSslError("verifying");
  if (EVP_DigestVerify(context.get(), reinterpret_cast<const unsigned char*>(signature.data()), signature.size(),
                       reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size()) != 1) {
    ERR_clear_error();
    return RefusedError("the signature does not match");
  }
  return absl::OkStatus();
}

absl::StatusOr<CertificateFacts> DescribeCertificate(const CertificatePem& certificate_pem) {
  FEDGLM_ASSIGN_OR_RETURN(const Certificate certificate, ReadCertificate(certificate_pem));
  return FactsOf(certificate);
}

absl::StatusOr<CertificateFacts> DescribeCertificate(const CaCertificatePem& certificate_pem) {
  FEDGLM_ASSIGN_OR_RETURN(const Certificate certificate, ReadCertificate(certificate_pem));
  return FactsOf(certificate);
}

absl::Status CheckIssuedBy(const CertificatePem& certificate_pem, const CaCertificatePem& ca_pem) {
  FEDGLM_ASSIGN_OR_RETURN(const Certificate certificate, ReadCertificate(certificate_pem));
  FEDGLM_ASSIGN_OR_RETURN(const Certificate ca, ReadCertificate(ca_pem));
  const int verified = X509_verify(certificate.get(), X509_get0_pubkey(ca.get()));
  ERR_clear_error();
  return verified == 1 ? absl::OkStatus() : RefusedError("the certificate is from another authority");
}

absl::Status CheckBelongsTo(const CertificatePem& certificate_pem, const TlsKeyPem& key_pem) {
  FEDGLM_ASSIGN_OR_RETURN(const Certificate certificate, ReadCertificate(certificate_pem));
  FEDGLM_ASSIGN_OR_RETURN(const Key key, ReadPrivateKey(key_pem));
  const int same = X509_check_private_key(certificate.get(), key.get());
  ERR_clear_error();
  return same == 1 ? absl::OkStatus() : RefusedError("the certificate is for another key");
}

absl::StatusOr<CaCertificatePem> MakeCaCertificate(const TlsKeyPem& key_pem, std::string_view common_name,
                                                   std::chrono::system_clock::time_point now,
                                                   std::chrono::hours lifetime) {
  FEDGLM_ASSIGN_OR_RETURN(const Key key, ReadPrivateKey(key_pem));
  const Certificate certificate(X509_new());
  X509* const c = certificate.get();
  if (c == nullptr || X509_set_version(c, X509_VERSION_3) != 1 || X509_set_pubkey(c, key.get()) != 1)
    return OpenSslError("CA certificate");
  FEDGLM_RETURN_IF_ERROR(SetRandomSerial(c));
  FEDGLM_RETURN_IF_ERROR(SetTime(X509_getm_notBefore(c), now));
  FEDGLM_RETURN_IF_ERROR(SetTime(X509_getm_notAfter(c), now + lifetime));
  FEDGLM_RETURN_IF_ERROR(SetCommonName(X509_get_subject_name(c), common_name));
  X509_set_issuer_name(c, X509_get_subject_name(c));
  FEDGLM_RETURN_IF_ERROR(AddExtension(c, c, NID_basic_constraints, "critical,CA:TRUE,pathlen:0"));
  FEDGLM_RETURN_IF_ERROR(AddExtension(c, c, NID_key_usage, "critical,keyCertSign,cRLSign"));
  FEDGLM_RETURN_IF_ERROR(AddExtension(c, c, NID_subject_key_identifier, "hash"));
  if (X509_sign(c, key.get(), EVP_sha256()) == 0) return OpenSslError("CA certificate");
  return WritePem<CaCertificatePem>([&](BIO* bio) { return PEM_write_bio_X509(bio, c); });
}

absl::StatusOr<std::string> MakeCertificateRequest(const TlsKeyPem& key_pem, std::string_view common_name) {
  FEDGLM_ASSIGN_OR_RETURN(const Key key, ReadPrivateKey(key_pem));
  const Request request(X509_REQ_new());
  if (request == nullptr || X509_REQ_set_version(request.get(), X509_REQ_VERSION_1) != 1 ||
      X509_REQ_set_pubkey(request.get(), key.get()) != 1) {
    return OpenSslError("certificate request");
  }
  FEDGLM_RETURN_IF_ERROR(SetCommonName(X509_REQ_get_subject_name(request.get()), common_name));
  if (X509_REQ_sign(request.get(), key.get(), EVP_sha256()) == 0) return OpenSslError("certificate request");
  return WritePem<std::string>([&](BIO* bio) { return PEM_write_bio_X509_REQ(bio, request.get()); });
}

absl::StatusOr<CertificatePem> IssueCertificate(const TlsKeyPem& ca_key_pem, const CaCertificatePem& ca_pem,
                                                std::string_view request_pem, const CertificateTerms& terms) {
  FEDGLM_ASSIGN_OR_RETURN(const Key ca_key, ReadPrivateKey(ca_key_pem));
  FEDGLM_ASSIGN_OR_RETURN(const Certificate ca, ReadCertificate(ca_pem));
  const Request request(PEM_read_bio_X509_REQ(ReadBio(request_pem).get(), nullptr, NoPassword, nullptr));
  if (request == nullptr) return BadPem("a certificate request");
  EVP_PKEY* const public_key = X509_REQ_get0_pubkey(request.get());
  if (public_key == nullptr || X509_REQ_verify(request.get(), public_key) != 1) {
    ERR_clear_error();
    return RefusedError("the certificate request is not signed with its own key");
  }
  const Certificate certificate(X509_new());
  X509* const c = certificate.get();
  if (c == nullptr || X509_set_version(c, X509_VERSION_3) != 1 || X509_set_pubkey(c, public_key) != 1)
    return OpenSslError("certificate");
  FEDGLM_RETURN_IF_ERROR(SetRandomSerial(c));
  FEDGLM_RETURN_IF_ERROR(SetTime(X509_getm_notBefore(c), terms.not_before));
  FEDGLM_RETURN_IF_ERROR(SetTime(X509_getm_notAfter(c), terms.not_after));
  FEDGLM_RETURN_IF_ERROR(SetCommonName(X509_get_subject_name(c), terms.common_name));
  X509_set_issuer_name(c, X509_get_subject_name(ca.get()));
  FEDGLM_RETURN_IF_ERROR(AddExtension(c, ca.get(), NID_basic_constraints, "critical,CA:FALSE"));
  FEDGLM_RETURN_IF_ERROR(AddExtension(c, ca.get(), NID_key_usage, "critical,digitalSignature"));
  FEDGLM_RETURN_IF_ERROR(AddExtension(c, ca.get(), NID_ext_key_usage, terms.server ? "serverAuth" : "clientAuth"));
  FEDGLM_RETURN_IF_ERROR(AddExtension(c, ca.get(), NID_authority_key_identifier, "keyid"));
  for (const std::string& name : terms.dns_names) {
    if (!IsPlainName(name)) return ConfigurationError("'" + name + "' is not a host name or address");
  }
  if (!terms.dns_names.empty()) {
    FEDGLM_RETURN_IF_ERROR(AddExtension(c, ca.get(), NID_subject_alt_name, AlternativeNames(terms.dns_names)));
  }
  if (X509_sign(c, ca_key.get(), EVP_sha256()) == 0) return OpenSslError("certificate");
  return WritePem<CertificatePem>([&](BIO* bio) { return PEM_write_bio_X509(bio, c); });
}

}  // namespace fedglm
