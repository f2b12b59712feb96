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

// The site's next identity takes the place of its present one. What a site that is killed in between leaves is made
// here by hand, of the folders before and after.
class ExchangeTest : public IdentityTest {
 protected:
  void SetUp() override {
    ASSERT_TRUE(SaveIdentity(present_, folder_).ok());
    std::filesystem::copy(folder_, before_);
    next_.key_pem = Get(LoadOrMakeSiteKey(NextIdentityFolder(folder_)));
    next_.certificate_pem = authority_.Issue(next_.key_pem, "berlin", InHours(48));
  }
  static void ExpectUsable(const SiteIdentity& identity) {
    EXPECT_TRUE(CheckUsable(identity, InHours(0)).ok()) << Message(CheckUsable(identity, InHours(0)));
  }
  static void Copy(const std::filesystem::path& from, const std::filesystem::path& to) {
    std::filesystem::remove_all(to);
    std::filesystem::copy(from, to);
  }
  bool NextIsThere() const { return std::filesystem::exists(NextIdentityFolder(folder_)); }

  SiteIdentity present_ = MakeIdentity(authority_, signing_key_);
  SiteIdentity next_ = present_;
  const std::filesystem::path before_ = root_.path() / "before", after_ = root_.path() / "after";
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

TEST_F(IdentityTest, RemembersItsTokenAndReadsAMembershipThatDoesNot) {
  SiteIdentity identity = MakeIdentity(authority_, signing_key_);
  identity.token_sha256 = Sha256Hex("a token");
  ASSERT_TRUE(SaveIdentity(identity, folder_).ok());
  EXPECT_EQ(Get(LoadIdentity(folder_)).token_sha256, Sha256Hex("a token"));
  ASSERT_TRUE(WriteFileAtomically(folder_ / "membership.json",
                                  R"({"version":1,"site_id":"berlin","federation":"test","federation_address":"a:1"})")
                  .ok());
  EXPECT_EQ(Get(LoadIdentity(folder_)).token_sha256, "");
}

TEST_F(IdentityTest, TheRequestOfAKeyIsTheSameWhenItIsAskedForAgain) {
  const TlsKeyPem key = Get(LoadOrMakeSiteKey(folder_));
  EXPECT_EQ(Get(LoadOrMakeRequest(folder_, key, "berlin")), Get(LoadOrMakeRequest(folder_, key, "berlin")));
}

TEST_F(IdentityTest, WhatIsNotUsableIsToldBeforeItIsKept) {
  const SiteIdentity good = MakeIdentity(authority_, signing_key_);
  EXPECT_TRUE(CheckUsable(good, InHours(0)).ok());
  EXPECT_THAT(Message(CheckUsable(good, InHours(100))), HasSubstr("expired"));
  SiteIdentity bad = good;
  bad.key_pem = Get(GenerateTlsKey());
  EXPECT_THAT(Message(CheckUsable(bad, InHours(0))), HasSubstr("another key"));
  bad = good;
  bad.site_id = "aachen";
  EXPECT_THAT(Message(CheckUsable(bad, InHours(0))), HasSubstr("another site"));
  bad = good;
  bad.ca_pem = TestAuthority().certificate;
  EXPECT_THAT(Message(CheckUsable(bad, InHours(0))), HasSubstr("another authority"));
  bad = good;
  bad.certificate_pem = CertificatePem("rubbish");
  EXPECT_EQ(ExitCodeOf(CheckUsable(bad, InHours(0))), ExitCode::kRefused);
}

TEST_F(ExchangeTest, TakesThePlaceOfThePresentIdentity) {
  ASSERT_TRUE(ExchangeIdentity(next_, folder_).ok());
  const SiteIdentity loaded = Get(LoadIdentity(folder_));
  EXPECT_EQ(loaded.key_pem, next_.key_pem);
  EXPECT_EQ(loaded.certificate_pem, next_.certificate_pem);
  ExpectUsable(loaded);
  EXPECT_FALSE(NextIsThere());
  EXPECT_NE(Get(LoadOrMakeSiteKey(NextIdentityFolder(folder_))), next_.key_pem) << "the one after it has its own key";
}

// Before the answer, and while it is written down file by file.
TEST_F(ExchangeTest, KilledBeforeTheNextIdentityIsCompleteItHasThePresentOneAndTheSameNextKey) {
  Get(LoadOrMakeRequest(NextIdentityFolder(folder_), next_.key_pem, "berlin"));
  const std::filesystem::path asked = root_.path() / "asked";
  Copy(NextIdentityFolder(folder_), asked);
  ASSERT_TRUE(ExchangeIdentity(next_, folder_).ok());
  Copy(folder_, after_);
  std::vector<std::string> written = {};
  for (const char* file : {"cert.pem", "ca.pem", "signing-public.pem"}) {
    written.push_back(file);
    Copy(before_, folder_);
    Copy(asked, NextIdentityFolder(folder_));
    for (const std::string& name : written) {
      std::filesystem::copy_file(after_ / name, NextIdentityFolder(folder_) / name);
    }
    const SiteIdentity loaded = Get(LoadIdentity(folder_));
    EXPECT_EQ(loaded.certificate_pem, present_.certificate_pem) << file;
    ExpectUsable(loaded);
    EXPECT_EQ(Get(LoadOrMakeSiteKey(NextIdentityFolder(folder_))), next_.key_pem) << "it asks with the same request";
    EXPECT_TRUE(std::filesystem::exists(NextIdentityFolder(folder_) / "request-berlin.pem"));
  }
}

TEST_F(ExchangeTest, KilledBeforeTheExchangeItIsMadeAtTheNextStart) {
  ASSERT_TRUE(ExchangeIdentity(next_, folder_).ok());
  Copy(folder_, NextIdentityFolder(folder_));
  Copy(before_, folder_);
  const SiteIdentity loaded = Get(LoadIdentity(folder_));
  EXPECT_EQ(loaded.certificate_pem, next_.certificate_pem);
  ExpectUsable(loaded);
  EXPECT_FALSE(NextIsThere());
}

TEST_F(ExchangeTest, KilledAfterTheExchangeTheOldIdentityDoesNotComeBack) {
  ASSERT_TRUE(ExchangeIdentity(next_, folder_).ok());
  Copy(before_, NextIdentityFolder(folder_));
  EXPECT_EQ(Get(LoadIdentity(folder_)).certificate_pem, next_.certificate_pem);
  EXPECT_FALSE(NextIsThere()) << "nor does its key";
  EXPECT_EQ(Get(LoadIdentity(folder_)).certificate_pem, next_.certificate_pem);

  // The one before was itself once exchanged for another.
  SiteIdentity third = next_;
  third.key_pem = Get(LoadOrMakeSiteKey(NextIdentityFolder(folder_)));
  third.certificate_pem = authority_.Issue(third.key_pem, "berlin", InHours(72));
  Copy(folder_, after_);
  ASSERT_TRUE(ExchangeIdentity(third, folder_).ok());
  Copy(after_, NextIdentityFolder(folder_));
  EXPECT_EQ(Get(LoadIdentity(folder_)).certificate_pem, third.certificate_pem);
}

TEST_F(ExchangeTest, ADamagedNextIdentityIsForgotten) {
  for (const char* text : {"", "{", "[]", R"({"replaces":7})"}) {
    ASSERT_TRUE(MakeDirectories(NextIdentityFolder(folder_)).ok());
    ASSERT_TRUE(WriteFileAtomically(NextIdentityFolder(folder_) / "membership.json", text).ok());
    EXPECT_EQ(Get(LoadIdentity(folder_)).certificate_pem, present_.certificate_pem);
    EXPECT_FALSE(NextIsThere()) << text;
  }
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
