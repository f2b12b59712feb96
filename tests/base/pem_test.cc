#include "base/pem.h"

#include <gtest/gtest.h>

#include <concepts>
#include <ostream>
#include <string_view>
#include <type_traits>

#include "base/tls.h"

namespace fedglm {
namespace {

template <typename T>
concept Printable = requires(std::ostream& out, const T& value) {
  out << value;
};
template <typename T>
concept HasText = requires(const T& value) {
  value.text();
};
template <typename T>
concept HasSecretText = requires(const T& value) {
  value.secret_text();
};

// Only by name, in both directions, and to no stream: neither swapped nor logged by accident.
template <typename AnyPem>
constexpr bool kStandsAlone =
    std::constructible_from<AnyPem, std::string> && !std::convertible_to<std::string, AnyPem> &&
    !std::convertible_to<AnyPem, std::string> && !std::convertible_to<AnyPem, std::string_view> && !Printable<AnyPem>;
static_assert(kStandsAlone<TlsKeyPem> && kStandsAlone<SigningKeyPem> && kStandsAlone<PublicKeyPem> &&
              kStandsAlone<CertificatePem> && kStandsAlone<CaCertificatePem>);

static_assert(HasSecretText<TlsKeyPem> && HasSecretText<SigningKeyPem>);
static_assert(!HasText<TlsKeyPem> && !HasText<SigningKeyPem>);
static_assert(HasText<PublicKeyPem> && HasText<CertificatePem> && HasText<CaCertificatePem>);
static_assert(!HasSecretText<PublicKeyPem> && !HasSecretText<CertificatePem> && !HasSecretText<CaCertificatePem>);

template <typename... Arguments>
constexpr bool kSigns = std::is_invocable_v<decltype(&Sign), Arguments..., std::string_view>;
static_assert(kSigns<SigningKeyPem> && !kSigns<TlsKeyPem> && !kSigns<PublicKeyPem> && !kSigns<std::string>);

template <typename... Arguments>
constexpr bool kChecks = std::is_invocable_v<decltype(&CheckIssuedBy), Arguments...>;
static_assert(kChecks<CertificatePem, CaCertificatePem> && !kChecks<CaCertificatePem, CertificatePem> &&
              !kChecks<CertificatePem, CertificatePem> && !kChecks<TlsKeyPem, CaCertificatePem>);

TEST(Pem, KeepsItsText) {
  EXPECT_TRUE(CertificatePem().empty());
  EXPECT_EQ(CertificatePem("-----BEGIN").text(), "-----BEGIN");
  EXPECT_EQ(TlsKeyPem("-----BEGIN").secret_text(), "-----BEGIN");
  EXPECT_EQ(CertificatePem("a"), CertificatePem("a"));
  EXPECT_NE(CertificatePem("a"), CertificatePem("b"));
}

TEST(ReadPem, ReadsAFileOfAtMost64KiB) {
  const absl::StatusOr<TemporaryDirectory> folder = TemporaryDirectory::Make("pem");
  ASSERT_TRUE(folder.ok());
  const std::filesystem::path file = folder->path() / "cert.pem";
  EXPECT_EQ(ReadPem<CertificatePem>(file).status().code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(WriteFileAtomically(file, "text").ok());
  EXPECT_EQ(ReadPem<CertificatePem>(file)->text(), "text");
  ASSERT_TRUE(WriteFileAtomically(file, std::string((1 << 16) + 1, 'x')).ok());
  EXPECT_FALSE(ReadPem<CertificatePem>(file).ok());
}

}  // namespace
}  // namespace fedglm
