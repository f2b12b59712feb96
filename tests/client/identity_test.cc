#include "client/identity.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include "tests/client/site_fixture.h"

namespace fedglm {
namespace {

using testing::HasSubstr;

class IdentityTest : public testing::Test {
 protected:
  const TemporaryDirectory root_ = MakeFolder();
  const std::filesystem::path folder_ = root_.path() / "identity";
  const TestAuthority authority_{};
  const SigningKeyPem signing_key_ = Get(GenerateSigningKey());
};

TEST_F(IdentityTest, IsReadAsItWasSaved) {
  const SiteIdentity saved = MakeIdentity(authority_, signing_key_);
  EXPECT_EQ(Get(LoadOrMakeSiteKey(folder_)), Get(LoadOrMakeSiteKey(folder_))) << "the key is made once";
  ASSERT_TRUE(SaveIdentity(saved, folder_).ok());
  const SiteIdentity loaded = Get(LoadIdentity(folder_));
  EXPECT_EQ(loaded.site_id, saved.site_id);
  EXPECT_EQ(loaded.federation, saved.federation);
  EXPECT_EQ(loaded.federation_address, saved.federation_address);
  EXPECT_EQ(loaded.key_pem, saved.key_pem);
  EXPECT_EQ(loaded.certificate_pem, saved.certificate_pem);
  EXPECT_EQ(loaded.ca_pem, saved.ca_pem);
  EXPECT_EQ(loaded.signing_public_pem, saved.signing_public_pem);
}

TEST_F(IdentityTest, OnlyThisUserMayReadTheKey) {
  ASSERT_TRUE(LoadOrMakeSiteKey(folder_).ok());
  struct stat folder, key;
  ASSERT_EQ(stat(folder_.c_str(), &folder), 0);
  ASSERT_EQ(stat((folder_ / "key.pem").c_str(), &key), 0);
  EXPECT_EQ(folder.st_mode & 0777, 0700u);
  EXPECT_EQ(key.st_mode & 0777, 0600u);
}

// The node goes on serving with it, and says why it takes no part.
TEST_F(IdentityTest, ACertificateThatIsNotValidNowIsReadAndNotToBeShown) {
  ASSERT_TRUE(SaveIdentity(MakeIdentity(authority_, signing_key_, InHours(-1)), folder_).ok());
  const SiteIdentity identity = Get(LoadIdentity(folder_));
  const absl::Status expired = CheckValidity(identity, InHours(0)), early = CheckValidity(identity, InHours(-50));
  EXPECT_EQ(ExitCodeOf(expired), ExitCode::kRefused);
  EXPECT_THAT(Message(expired), HasSubstr("expired on " + FormatUtc(InHours(-1)).substr(0, 13)));
  EXPECT_EQ(ExitCodeOf(early), ExitCode::kRefused);
  EXPECT_THAT(Message(early), HasSubstr("look at this machine's clock"));
  EXPECT_TRUE(CheckValidity(identity, InHours(-2)).ok());
}

TEST_F(IdentityTest, ACertificateOfAnotherAuthorityIsRefused) {
  SiteIdentity identity = MakeIdentity(authority_, signing_key_);
  identity.ca_pem = TestAuthority().certificate;
  ASSERT_TRUE(SaveIdentity(identity, folder_).ok());
  const absl::Status status = LoadIdentity(folder_).status();
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kRefused);
  EXPECT_THAT(Message(status), HasSubstr("another authority"));
}

// Killed while it enrolled: membership.json is written last, so all else may be there without it.
TEST_F(IdentityTest, AHalfWrittenFolderIsNotEnrolledYet) {
  EXPECT_EQ(LoadIdentity(folder_).status().code(), absl::StatusCode::kNotFound) << "no folder";
  ASSERT_TRUE(SaveIdentity(MakeIdentity(authority_, signing_key_), folder_).ok());
  const TlsKeyPem key = Get(LoadOrMakeSiteKey(folder_));
  std::filesystem::remove(folder_ / "membership.json");
  EXPECT_EQ(LoadIdentity(folder_).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(Get(LoadOrMakeSiteKey(folder_)), key) << "the same key asks for the certificate again";
}

TEST_F(IdentityTest, AMembershipThatIsNoneIsABadFile) {
  ASSERT_TRUE(SaveIdentity(MakeIdentity(authority_, signing_key_), folder_).ok());
  for (const char* text :
       {"", "{", "[]", R"({"site_id":"a"})", R"({"site_id":1,"federation":"t","federation_address":"a:1"})"}) {
    ASSERT_TRUE(WriteFileAtomically(folder_ / "membership.json", text).ok());
    EXPECT_EQ(ExitCodeOf(LoadIdentity(folder_).status()), ExitCode::kBadInputFile) << text;
  }
}

}  // namespace
}  // namespace fedglm
