// The demo's records: what the README says of them is true of every byte of them.
#include "examples/hospital/report_generator.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/digest.h"
#include "base/file.h"
#include "base/json.h"
#include "examples/hospital/conditions.h"

namespace fedglm::hospital {
namespace {

constexpr uint64_t kSeed = 1;

std::string Text(const std::vector<Report>& reports) {
  std::string text;
  for (const Report& report : reports) text += ToRecord(report) + "\n";
  return text;
}

std::vector<Report> AllOf(int site, uint64_t seed = kSeed) {
  const SiteProfile& profile = Sites()[static_cast<size_t>(site)];
  return SiteReports(site, profile.training_records + profile.held_out_records, seed);
}

int SiteCount() { return static_cast<int>(Sites().size()); }

// The part of an impression before its first placeholder or stop: how a condition is known again.
std::string Stem(std::string_view impression) {
  return std::string(impression.substr(0, impression.find_first_of("{.,")));
}

TEST(ReportGenerator, AHospitalAndFiveBranchesOfUnequalSize) {
  ASSERT_EQ(Sites().size(), 6u);
  std::set<int> sizes;
  std::set<std::string_view> names;
  for (const SiteProfile& site : Sites()) {
    sizes.insert(site.training_records);
    names.insert(site.name);
    EXPECT_GT(site.held_out_records, 0) << site.name;
  }
  EXPECT_EQ(sizes.size(), 6u) << "unequal amounts";
  EXPECT_EQ(names.size(), 6u);
}

TEST(ReportGenerator, ASeedGivesTheSameBytesAndAnotherSeedOthers) {
  const auto digest_of = [](uint64_t seed) {
    std::string text = Text(CommonReports(200, seed)) + Text(Dictations(100, seed));
    for (int site = 0; site < SiteCount(); ++site) text += Text(AllOf(site, seed));
    return Sha256Hex(text);
  };
  EXPECT_EQ(digest_of(kSeed), digest_of(kSeed));
  EXPECT_NE(digest_of(kSeed), digest_of(kSeed + 1));
}

TEST(ReportGenerator, WhatIsWrittenIsTheSameBytesEveryTime) {
  const TemporaryDirectory first = *TemporaryDirectory::Make(), second = *TemporaryDirectory::Make();
  ASSERT_TRUE(WriteRecords(first.path(), kSeed, 50).ok());
  ASSERT_TRUE(WriteRecords(second.path(), kSeed, 50).ok());
  int files = 0;
  for (const auto& file : std::filesystem::recursive_directory_iterator(first.path())) {
    if (!file.is_regular_file()) continue;
    ++files;
    const auto name = std::filesystem::relative(file.path(), first.path());
    EXPECT_EQ(*Sha256HexOfFile(file.path()), *Sha256HexOfFile(second.path() / name)) << name;
  }
  EXPECT_EQ(files, 2 * SiteCount() + 1);
}

TEST(ReportGenerator, ReportsOfOneCallAreDistinct) {
  const auto findings = [](const std::vector<Report>& reports) {
    std::set<std::string> seen;
    for (const Report& report : reports) seen.insert(report.findings);
    return seen.size();
  };
  EXPECT_EQ(findings(CommonReports(3000, kSeed)), 3000u);
  for (int site = 0; site < SiteCount(); ++site) EXPECT_EQ(findings(SiteReports(site, 1000, kSeed)), 1000u) << site;
}

TEST(ReportGenerator, ThereAreThousandsOfDistinctReportsInAll) {
  std::set<std::string> distinct;
  for (int site = 0; site < SiteCount(); ++site) {
    for (const Report& report : AllOf(site)) distinct.insert(ToRecord(report));
  }
  EXPECT_GT(distinct.size(), 2400u);
}

TEST(ReportGenerator, TrainingAndHeldOutAreDisjointAndAsManyAsTheProfileSays) {
  const TemporaryDirectory folder = *TemporaryDirectory::Make();
  ASSERT_TRUE(WriteRecords(folder.path(), kSeed, 0).ok());
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "common.jsonl"));
  for (const SiteProfile& site : Sites()) {
    const auto lines = [&](const char* name) {
      const std::string text = *ReadFile(folder.path() / std::string(site.name) / name);
      std::vector<std::string> found;
      for (size_t at = 0; at < text.size();) {
        const size_t end = text.find('\n', at);
        found.push_back(text.substr(at, end - at));
        at = end + 1;
      }
      return found;
    };
    const std::vector<std::string> training = lines("train.jsonl"), held_out = lines("held-out.jsonl");
    EXPECT_EQ(static_cast<int>(training.size()), site.training_records);
    EXPECT_EQ(static_cast<int>(held_out.size()), site.held_out_records);
    const std::set<std::string> seen(training.begin(), training.end());
    for (const std::string& record : held_out) EXPECT_EQ(seen.count(record), 0u) << record;
  }
}

TEST(ReportGenerator, EverySiteHasConditionsThatNoOtherSiteNorTheCommonPartHas) {
  std::set<std::string> common;
  for (const Condition& condition : CommonConditions()) common.insert(Stem(condition.impression));
  for (int site = 0; site < SiteCount(); ++site) {
    ASSERT_GE(OwnConditions(site).size(), 2u) << site;
    std::string elsewhere = Text(CommonReports(3000, kSeed));
    for (int other = 0; other < SiteCount(); ++other) {
      if (other != site) elsewhere += Text(AllOf(other));
    }
    const std::string here = Text(AllOf(site));
    for (const Condition& condition : OwnConditions(site)) {
      const std::string stem = Stem(condition.impression);
      EXPECT_EQ(common.count(stem), 0u) << stem;
      EXPECT_NE(here.find(stem), std::string::npos) << "site " << site << " has no report of " << stem;
      EXPECT_EQ(elsewhere.find(stem), std::string::npos) << stem << " of site " << site << " is seen elsewhere";
    }
  }
}

// Findings say what follows from them: sides and measures of an impression are those of its findings, no slot is left
// open.
TEST(ReportGenerator, AnImpressionFollowsFromItsFindings) {
  for (int site = 0; site < SiteCount(); ++site) {
    for (const Report& report : AllOf(site)) {
      EXPECT_EQ((report.findings + report.impression).find_first_of("{}"), std::string::npos) << ToRecord(report);
      for (const char* word : {" left", " right"}) {
        if (report.impression.find(word) != std::string::npos) {
          EXPECT_NE(report.findings.find(word), std::string::npos) << ToRecord(report);
        }
      }
    }
  }
}

// What the base reads to learn spelling must not tell what only a site knows.
TEST(ReportGenerator, DictationsGiveNoConditionAway) {
  const std::string dictations = Text(Dictations(2000, kSeed));
  for (int site = 0; site < SiteCount(); ++site) {
    for (const Condition& condition : OwnConditions(site)) {
      for (const std::string_view finding : condition.findings) {
        EXPECT_EQ(dictations.find(std::string(finding)), std::string::npos) << finding;
      }
      EXPECT_EQ(dictations.find(std::string(condition.impression)), std::string::npos) << condition.impression;
    }
  }
}

TEST(ReportGenerator, ARecordIsAQuestionAndItsAnswer) {
  const Report report = CommonReports(1, kSeed).at(0);
  const Json record = *ParseJson(ToRecord(report), "record");
  ASSERT_EQ(record["messages"].size(), 2u);
  EXPECT_EQ(record["messages"][0]["role"], "user");
  EXPECT_EQ(record["messages"][0]["content"], QuestionOf(report));
  EXPECT_THAT(QuestionOf(report), testing::StartsWith(report.findings));
  EXPECT_EQ(record["messages"][1]["role"], "assistant");
  EXPECT_EQ(record["messages"][1]["content"], report.impression);
}

}  // namespace
}  // namespace fedglm::hospital
