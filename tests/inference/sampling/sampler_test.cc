#include "inference/sampling/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <string>

namespace fedglm {
namespace {

std::map<Token, int> Draw(SamplingOptions options, const std::vector<float>& logits, int count) {
  options.seed = 7;
  Sampler sampler(options);
  std::map<Token, int> drawn;
  for (int i = 0; i < count; ++i) ++drawn[sampler.Sample(logits)];
  return drawn;
}

TEST(Sampler, GreedyTakesTheMostLikelyAndTheFirstOfEqualOnes) {
  Sampler sampler({});
  EXPECT_EQ(sampler.Sample(std::vector<float>{1, 3, 2}), 1);
  EXPECT_EQ(sampler.Sample(std::vector<float>{2, 3, 3}), 1);
  EXPECT_EQ(sampler.Sample(std::vector<float>{std::nanf(""), 3, 2}), 1);
}

TEST(Sampler, DrawsInProportion) {
  const std::vector<float> logits = {std::log(0.7f), std::log(0.2f), std::log(0.1f)};
  std::map<Token, int> drawn = Draw({.temperature = 1.0}, logits, 20000);
  EXPECT_NEAR(drawn[0] / 20000.0, 0.7, 0.02);
  EXPECT_NEAR(drawn[1] / 20000.0, 0.2, 0.02);
  EXPECT_NEAR(drawn[2] / 20000.0, 0.1, 0.02);
}

TEST(Sampler, TopKTopPAndMinPKeepTheLikelyOnes) {
  const std::vector<float> logits = {std::log(0.5f), std::log(0.3f), std::log(0.15f), std::log(0.05f)};
  EXPECT_EQ(Draw({.temperature = 1, .top_k = 2}, logits, 2000).size(), 2u);
  EXPECT_EQ(Draw({.temperature = 1, .top_p = 0.75}, logits, 2000).size(), 2u);
  EXPECT_EQ(Draw({.temperature = 1, .top_p = 0.0}, logits, 2000).size(), 1u);
  EXPECT_EQ(Draw({.temperature = 1, .min_p = 0.2}, logits, 2000).size(), 3u);
}

TEST(Sampler, ARepeatedTokenIsPenalised) {
  Sampler sampler({.repetition_penalty = 2.0});
  sampler.Accept(0);
  EXPECT_EQ(sampler.Sample(std::vector<float>{3, 2}), 1);
  EXPECT_EQ(sampler.Sample(std::vector<float>{-1, -1.5f}), 1);
}

TEST(Sampler, WhatTheAnswerHasIsPenalisedAndWhatThePromptHasIsNot) {
  Sampler often({.frequency_penalty = 0.4});
  often.Accept(0);                             // the prompt's
  for (const Token expected : {0, 0, 0, 1}) {  // 3, 2.6, 2.2, then 1.8 against 2
    EXPECT_EQ(often.Sample(std::vector<float>{3, 2}), expected);
    often.Accept(expected);
  }
  Sampler once({.presence_penalty = 1.5});
  EXPECT_EQ(once.Sample(std::vector<float>{3, 2}), 0);
  once.Accept(0);
  EXPECT_EQ(once.Sample(std::vector<float>{3, 2}), 1);
  once.Accept(1);
  EXPECT_EQ(once.Sample(std::vector<float>{3, 2}), 0);  // once, not once for each time
}

TEST(Sampler, ABiasIsAddedToItsTokenAlsoIfOthersAreNotNumbers) {
  Sampler sampler({.logit_bias = {{2, 5.0f}, {1, -100.0f}, {99, 100.0f}}});  // 99 is not in the vocabulary
  EXPECT_EQ(sampler.Sample(std::vector<float>{std::nanf(""), 50, 3}), 2);
}

TEST(Sampler, TheSeedDecides) {
  const std::vector<float> logits(100, 0.0f);
  Sampler a({.temperature = 1, .seed = 5}), b({.temperature = 1, .seed = 5}), c({.temperature = 1, .seed = 6});
  bool differs = false;
  for (int i = 0; i < 20; ++i) {
    const Token token = a.Sample(logits);
    EXPECT_EQ(token, b.Sample(logits));
    differs |= token != c.Sample(logits);
  }
  EXPECT_TRUE(differs);
}

TEST(CheckSampling, NamesWhatMeansNothing) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  EXPECT_TRUE(CheckSampling({}, 10).ok());
  EXPECT_TRUE(
      CheckSampling({.temperature = 2, .top_k = 5, .top_p = 0, .min_p = 1, .logit_bias = {{9, -100}}}, 10).ok());
  const std::vector<std::pair<SamplingOptions, const char*>> wrong = {
      {{.temperature = -1}, "temperature is -1, not from 0"},
      {{.temperature = kNan}, "temperature is"},
      {{.temperature = kInfinity}, "temperature is inf"},
      {{.top_k = -1}, "top_k is -1"},
      {{.top_p = 1.5}, "top_p is 1.5, not from 0 to 1"},
      {{.top_p = kNan}, "top_p"},
      {{.min_p = -0.1}, "min_p is -0.1"},
      {{.repetition_penalty = 0}, "repetition_penalty is 0"},
      {{.frequency_penalty = kInfinity}, "frequency_penalty"},
      {{.presence_penalty = kNan}, "presence_penalty"},
      {{.logit_bias = {{3, static_cast<float>(kNan)}}}, "logit_bias is"},
      {{.logit_bias = {{10, 1}}}, "token 10, which is not in the vocabulary of 10"},
      {{.logit_bias = {{-1, 1}}}, "token -1"},
  };
  for (const auto& [options, says] : wrong) {
    const absl::Status status = CheckSampling(options, 10);
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kUsage) << says;
    EXPECT_NE(Message(status).find(says), std::string::npos) << Message(status);
  }
}

}  // namespace
}  // namespace fedglm
