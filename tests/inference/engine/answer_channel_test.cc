#include "inference/engine/answer_channel.h"

#include <gtest/gtest.h>

namespace fedglm {
namespace {

using std::chrono::milliseconds;

AnswerToken TokenOf(Token token) {
  AnswerToken made;
  made.token = token;
  return made;
}

TEST(AnswerChannel, GivesWhatCameFirstOfAllAnswersOrOfOne) {
  AnswerChannel channel(2, [] {});
  channel.Put(1, TokenOf(10));
  channel.Put(0, TokenOf(20));
  channel.Put(1, TokenOf(11));
  channel.Close(1, {});
  channel.Put(0, TokenOf(21));
  EXPECT_EQ(channel.TakeOf(0, milliseconds(0)).token->token, 20);
  const AnswerChannel::Item first = channel.Take(milliseconds(0));
  EXPECT_EQ(first.answer, 1u);
  EXPECT_EQ(first.token->token, 10);
  EXPECT_EQ(channel.Take(milliseconds(0)).token->token, 11);
  EXPECT_TRUE(channel.TakeOf(1, milliseconds(0)).end);
  const AnswerChannel::Item nothing = channel.TakeOf(1, milliseconds(1));
  EXPECT_FALSE(nothing.token || nothing.end);
  EXPECT_EQ(channel.Take(milliseconds(0)).token->token, 21);
}

TEST(AnswerChannel, EachAnswerHasItsOwnRoom) {
  int wakes = 0;
  AnswerChannel channel(2, [&] { ++wakes; });
  for (size_t i = 0; i < AnswerChannel::kCapacity; ++i) {
    EXPECT_TRUE(channel.HasRoom(0));
    channel.Put(0, TokenOf(static_cast<Token>(i)));
  }
  EXPECT_FALSE(channel.HasRoom(0));
  EXPECT_TRUE(channel.HasRoom(1));
  channel.Put(1, TokenOf(99));
  EXPECT_EQ(channel.TakeOf(1, milliseconds(0)).token->token, 99);
  EXPECT_EQ(wakes, 0) << "that one was not full";
  EXPECT_EQ(channel.Take(milliseconds(0)).token->token, 0);
  EXPECT_TRUE(channel.HasRoom(0));
  EXPECT_EQ(channel.Take(milliseconds(0)).token->token, 1);
  EXPECT_EQ(wakes, 1) << "only the first made room where there was none";
}

}  // namespace
}  // namespace fedglm
