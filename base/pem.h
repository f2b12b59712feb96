// PEM text as types: a private key is not given where a certificate is wanted, nor the site's certificate where the
// CA's is, and none of them is written to a log by accident.
#pragma once

#include <filesystem>
#include <string>
#include <utility>

#include "base/file.h"
#include "base/status.h"

namespace fedglm {

// Text of one kind of PEM block; what it holds is checked by the functions of base/tls.h. It is made from text, and
// turned into text, by name only: there is no conversion and no operator<<. Thread-compatible.
template <typename Kind>
class Pem {
 public:
  Pem() = default;
  explicit Pem(std::string text) : text_(std::move(text)) {}

  bool empty() const { return text_.empty(); }
  const std::string& text() const requires(!Kind::kSecret) { return text_; }
  const std::string& secret_text() const  // for the key's own file and for the library that uses it
      requires(Kind::kSecret) {
    return text_;
  }

  friend bool operator==(const Pem&, const Pem&) = default;

 private:
  std::string text_;
};

template <bool kIsSecret, int kNumber>
struct PemKind {
  static constexpr bool kSecret = kIsSecret;
};

using TlsKeyPem = Pem<PemKind<true, 0>>;      // a private key, PKCS#8, for TLS or of a CA
using SigningKeyPem = Pem<PemKind<true, 1>>;  // a private key, PKCS#8, for signatures
using PublicKeyPem = Pem<PemKind<false, 2>>;  // SubjectPublicKeyInfo, of a signing key
using CertificatePem = Pem<PemKind<false, 3>>;
using CaCertificatePem = Pem<PemKind<false, 4>>;

// A file of such text, at most 64 KiB. Errors as ReadFile; the text is not looked at.
template <typename AnyPem>
absl::StatusOr<AnyPem> ReadPem(const std::filesystem::path& path) {
  FEDGLM_ASSIGN_OR_RETURN(std::string text, ReadFile(path, 1 << 16));
  return AnyPem(std::move(text));
}

}  // namespace fedglm
