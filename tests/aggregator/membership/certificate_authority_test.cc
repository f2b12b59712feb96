#include "aggregator/membership/certificate_authority.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/aggregator/rounds/small_federation.h"

namespace fedglm {
namespace {

using std::chrono::hours;

class CertificateAuthorityTest : public testing::Test {
 protected:
  CertificateAuthority Open() {
    return Get(CertificateAuthority::Open(folder_.path() / "state", "hospitals", *clock_));
  }
  std::string File(const std::string& name) { return Get(ReadFile(folder_.path() / "state" / name)); }
  static std::string Request(const std::string& name) {
    return Get(MakeCertificateRequest(Get(GenerateTlsKey()), name));
  }
  TemporaryDirectory folder_ = MakeFolder();
  std::unique_ptr<ManualClock> clock_ = ClockFromNow();
};

TEST_F(CertificateAuthorityTest, IsTheSameWhenOpenedAgain) {
  const CertificateAuthority first = Open();
  const std::string key = File("ca-key.pem"), administrator = File("admin/cert.pem");
  const CertificateAuthority second = Open();
  EXPECT_EQ(second.certificate_pem(), first.certificate_pem());
  EXPECT_EQ(second.signing_public_pem(), first.signing_public_pem());
  EXPECT_EQ(File("ca-key.pem"), key);
  EXPECT_EQ(File("admin/cert.pem"), administrator);
  EXPECT_EQ(Get(second.SignAdapter("bytes")), Get(first.SignAdapter("bytes")));
}

TEST_F(CertificateAuthorityTest, GoesOnWhereAKilledFirstStartStopped) {
  const CertificateAuthority first = Open();
  const std::string key = File("ca-key.pem");
  for (const char* made_later : {"ca.pem", "signing-key.pem", "signing-public.pem", "admin/cert.pem"}) {
    std::filesystem::remove(folder_.path() / "state" / made_later);
  }
  const CertificateAuthority second = Open();
  EXPECT_EQ(File("ca-key.pem"), key);
  EXPECT_EQ(Get(PublicKeyOf(SigningKeyPem(File("signing-key.pem")))), second.signing_public_pem());
  EXPECT_EQ(Get(DescribeCertificate(CertificatePem(File("admin/cert.pem")))).common_name, "admin:first");
  EXPECT_EQ(File("admin/ca.pem"), second.certificate_pem().text());
}

TEST_F(CertificateAuthorityTest, KeepsItsKeysFromOthers) {
  Open();
  for (const char* secret : {"ca-key.pem", "signing-key.pem", "admin/key.pem"}) {
    struct stat facts;
    ASSERT_EQ(stat((folder_.path() / "state" / secret).c_str(), &facts), 0) << secret;
    EXPECT_EQ(facts.st_mode & 0777, 0600u) << secret;
  }
  struct stat facts;
  ASSERT_EQ(stat((folder_.path() / "state").c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 0777, 0700u);
}

TEST_F(CertificateAuthorityTest, IssuesForTheNameItIsToldAndTheLifetime) {
  const CertificateAuthority authority = Open();
  const CertificatePem certificate = Get(authority.IssueClient(Request("admin:evil"), "berlin", hours(48)));
  const CertificateFacts facts = Get(DescribeCertificate(certificate));
  EXPECT_EQ(facts.common_name, "berlin");
  EXPECT_LT(facts.not_before, clock_->Now());
  const auto lifetime = facts.not_after - clock_->Now();
  EXPECT_LE(lifetime, hours(48));
  EXPECT_GT(lifetime, hours(47));
  EXPECT_FALSE(authority.IssueClient("no request", "berlin", hours(1)).ok());
}

TEST_F(CertificateAuthorityTest, SignaturesVerifyWithThePublicKeyOnly) {
  const CertificateAuthority authority = Open();
  const std::string signature = Get(Base64UrlDecode(Get(authority.SignAdapter("provenance"))));
  EXPECT_TRUE(VerifySignature(authority.signing_public_pem(), "provenance", signature).ok());
  EXPECT_FALSE(VerifySignature(authority.signing_public_pem(), "provenance!", signature).ok());
  const PublicKeyPem other = Get(PublicKeyOf(Get(GenerateSigningKey())));
  EXPECT_FALSE(VerifySignature(other, "provenance", signature).ok());
}

TEST_F(CertificateAuthorityTest, TheAdministratorsCertificateIsMadeAnewBeforeItExpires) {
  Open();
  const std::string first = File("admin/cert.pem");
  clock_->Advance(hours(24 * 300));
  Open();
  EXPECT_EQ(File("admin/cert.pem"), first);
  clock_->Advance(hours(24 * 50));
  Open();
  EXPECT_NE(File("admin/cert.pem"), first);
  EXPECT_GT(Get(DescribeCertificate(CertificatePem(File("admin/cert.pem")))).not_after,
            clock_->Now() + hours(24 * 300));
}

TEST_F(CertificateAuthorityTest, ADamagedKeyIsAnErrorAndIsNotReplaced) {
  Open();
  ASSERT_TRUE(WriteFileAtomically(folder_.path() / "state" / "ca-key.pem", "rubbish").ok());
  std::filesystem::remove_all(folder_.path() / "state" / "admin");
  EXPECT_FALSE(CertificateAuthority::Open(folder_.path() / "state", "hospitals", *clock_).ok());
  EXPECT_EQ(File("ca-key.pem"), "rubbish");
}

}  // namespace
}  // namespace fedglm
