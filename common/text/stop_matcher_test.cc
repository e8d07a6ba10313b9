#include "common/text/stop_matcher.h"

#include <random>

#include "common/text/utf8.h"
#include "gtest/gtest.h"

namespace baton::text {
namespace {

struct Outcome {
  std::string text;
  std::optional<size_t> stop;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

// The definition, word by word: the shortest prefix that ends with a stop string, the longest one.
Outcome Naive(const std::string& text, const StopMatcher::Options& options) {
  for (size_t end = 1; end <= text.size(); ++end) {
    const std::string_view prefix = std::string_view(text).substr(0, end);
    std::optional<size_t> best;
    for (size_t i = 0; i < options.stops.size(); ++i) {
      const std::string& stop = options.stops[i];
      if (stop.empty() || !prefix.ends_with(stop)) continue;
      if (!best || stop.size() > options.stops[*best].size()) best = i;
    }
    if (!best) continue;
    const size_t cut = options.include_stop_in_output ? 0 : options.stops[*best].size();
    return {text.substr(0, end - cut), best};
  }
  return {text, std::nullopt};
}

// The longest tail of `text` that is a proper prefix of a stop string.
size_t NaiveHeld(std::string_view text, const StopMatcher::Options& options) {
  size_t held = 0;
  for (const std::string& stop : options.stops) {
    for (size_t size = 1; size < stop.size() && size <= text.size(); ++size) {
      if (text.ends_with(stop.substr(0, size))) held = std::max(held, size);
    }
  }
  return held;
}

std::string RandomText(size_t size, std::mt19937& random) {
  std::string text(size, '\0');
  for (char& c : text) c = "aab\n"[random() % 4];
  return text;
}

StopMatcher::Options RandomOptions(std::mt19937& random) {
  StopMatcher::Options options{.include_stop_in_output = random() % 2 == 0};
  for (size_t i = random() % 5; i > 0; --i)
    options.stops.push_back(RandomText(random() % 6, random));
  return options;
}

TEST(StopMatcherTest, FindsWhatASearchOfTheWholeTextFindsHoweverItIsCut) {
  std::mt19937 random(11);
  for (int round = 0; round < 30000; ++round) {
    const StopMatcher::Options options = RandomOptions(random);
    const std::string text = RandomText(random() % 40, random);
    StopMatcher matcher(options);
    Outcome outcome;
    for (size_t at = 0; at < text.size() && !outcome.stop;) {
      const size_t size = std::min<size_t>(random() % 7, text.size() - at);
      StopMatcher::Result result = matcher.Push(std::string_view(text).substr(at, size));
      at += size;
      outcome.text += result.emit;
      if (result.stopped) {
        outcome.stop = result.stop_index;
      } else {
        const std::string_view seen = std::string_view(text).substr(0, at);
        ASSERT_EQ(outcome.text, seen.substr(0, at - NaiveHeld(seen, options)));
      }
    }
    if (!outcome.stop) outcome.text += matcher.Finish();
    ASSERT_EQ(outcome, Naive(text, options)) << testing::PrintToString(options.stops) << text;
  }
}

TEST(StopMatcherTest, TextGoesThroughAtOnceWhenNothingCanMatch) {
  StopMatcher matcher({.stops = {"</end>"}});
  EXPECT_EQ(matcher.Push("a < b").emit, "a < b");
  EXPECT_EQ(matcher.Push(" <").emit, " ");
  EXPECT_EQ(matcher.Push("/e").emit, "");
  EXPECT_EQ(matcher.Push("vent>").emit, "</event>");
}

TEST(StopMatcherTest, TheFirstStopToBeCompleteWins) {
  StopMatcher matcher({.stops = {"abcd", "bc"}});
  const StopMatcher::Result result = matcher.Push("xabcd");
  EXPECT_TRUE(result.stopped);
  EXPECT_EQ(result.stop_index, 1u);
  EXPECT_EQ(result.emit, "xa");
}

TEST(StopMatcherTest, OfTwoThatEndTogetherTheLongerCounts) {
  StopMatcher matcher({.stops = {"b", "ab"}, .include_stop_in_output = false});
  const StopMatcher::Result result = matcher.Push("xab");
  EXPECT_EQ(result.stop_index, 1u);
  EXPECT_EQ(result.emit, "x");
}

TEST(StopMatcherTest, TheStopStaysInTheOutputOnRequest) {
  StopMatcher matcher({.stops = {"\n\n"}, .include_stop_in_output = true});
  EXPECT_EQ(matcher.Push("one\n").emit, "one");
  const StopMatcher::Result result = matcher.Push("\ntwo");
  EXPECT_TRUE(result.stopped);
  EXPECT_EQ(result.emit, "\n\n");
}

TEST(StopMatcherTest, CutsBetweenCharactersOnly) {
  // "é" and "è" share their first byte.
  StopMatcher matcher({.stops = {"éa"}});
  std::string text;
  for (const char* piece : {"è", "é", "è", "é"}) {
    const std::string emit = matcher.Push(piece).emit;
    EXPECT_EQ(FirstInvalidUtf8(emit), std::nullopt);
    text += emit;
  }
  EXPECT_EQ(text + matcher.Finish(), "èéèé");
}

TEST(StopMatcherTest, NoStopsMeansNothingIsHeldBack) {
  StopMatcher matcher({.stops = {""}});
  EXPECT_EQ(matcher.Push("text").emit, "text");
  EXPECT_EQ(matcher.Finish(), "");
}

}  // namespace
}  // namespace baton::text
