#include "inference/api/upstream_tokens.h"

#include <gtest/gtest.h>

#include <string>

namespace fedglm {
namespace {

constexpr const char* kStream =
    "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n"
    "data: {\"choices\":[{\"delta\":{\"content\":\"one\\n\\n\"}}]}\r\n\r\n"
    ": a comment\n\n"
    "data:{\"choices\":[{\"delta\":{\"reasoning_content\":\"two\"}}]}\n\n"
    "data: {\"choices\":[{\"text\":\"three\"}]}\n\n"
    "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{}]}}]}\n\n"
    "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
constexpr const char* kUsage = "data: {\"choices\":[],\"usage\":{\"completion_tokens\":17}}\n\n";
constexpr const char* kDone = "data: [DONE]\n\n";

TEST(UpstreamTokens, AStreamsEventsWithAPartOfTheAnswerCountWhereverTheyAreCut) {
  const std::string stream = std::string(kStream) + kDone;
  for (size_t size : {size_t{1}, size_t{2}, size_t{3}, size_t{7}, size_t{64}, stream.size()}) {
    StreamTokens tokens;
    for (size_t i = 0; i < stream.size(); i += size) tokens.Add(std::string_view(stream).substr(i, size));
    EXPECT_EQ(tokens.count(), 4) << "in pieces of " << size;
  }
}

TEST(UpstreamTokens, WhatTheStreamSaysItselfIsBelieved) {
  StreamTokens tokens;
  tokens.Add(kStream);
  tokens.Add("data: {\"choices\":[],\"usage\":null}\n\n");
  EXPECT_EQ(tokens.count(), 4);
  tokens.Add(std::string(kUsage) + kDone);
  EXPECT_EQ(tokens.count(), 17);
}

TEST(UpstreamTokens, ALineWithoutEndTakesLittleMemoryAndTheNextOneCounts) {
  StreamTokens tokens;
  for (int i = 0; i < 64; ++i) tokens.Add(std::string(1 << 20, i == 0 ? '{' : '['));
  tokens.Add("\n");
  tokens.Add(kStream);
  EXPECT_EQ(tokens.count(), 4);
}

TEST(UpstreamTokens, AnAnswersOwnUsageCounts) {
  EXPECT_EQ(TokensOfAnswer(R"({"usage":{"completion_tokens":3}})"), 3);
  for (const char* none : {"", "[]", "{}", R"({"usage":3})", R"({"usage":{}})",
                           R"({"usage":{"completion_tokens":"3"}})", R"({"usage":{"completion_tokens":-3}})"}) {
    EXPECT_EQ(TokensOfAnswer(none), 0) << none;
  }
}

}  // namespace
}  // namespace fedglm
