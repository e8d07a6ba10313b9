#include "common/text/encode_cache.h"

#include <gtest/gtest.h>

#include <thread>

namespace baton::text {
namespace {

EncodeCache::Tokens Of(std::vector<int32_t> ids) {
  return std::make_shared<const std::vector<int32_t>>(std::move(ids));
}

TEST(EncodeCacheTest, WhatWasAddedIsFound) {
  EncodeCache cache(1 << 20);
  EXPECT_EQ(cache.Find("a text"), nullptr);
  cache.Add("a text", Of({1, 2}));
  EXPECT_EQ(*cache.Find("a text"), (std::vector<int32_t>{1, 2}));
  EXPECT_EQ(cache.Find("a tex"), nullptr);
}

TEST(EncodeCacheTest, ItStaysWithinItsBytesAndTheLeastRecentlyUsedGoesFirst) {
  EncodeCache cache(10'000);
  for (char c = 'a'; c <= 'd'; ++c) cache.Add(std::string(2'000, c), Of({c}));
  EXPECT_NE(cache.Find(std::string(2'000, 'a')), nullptr);
  cache.Add(std::string(2'000, 'e'), Of({'e'}));
  EXPECT_LE(cache.bytes(), 10'000u);
  EXPECT_NE(cache.Find(std::string(2'000, 'a')), nullptr) << "used a moment ago";
  EXPECT_EQ(cache.Find(std::string(2'000, 'b')), nullptr);
  EXPECT_EQ((*cache.Find(std::string(2'000, 'e')))[0], 'e');
}

TEST(EncodeCacheTest, WhatIsLargerThanAllOfItIsNotKept) {
  EncodeCache cache(1'000);
  cache.Add("small", Of({1}));
  cache.Add(std::string(2'000, 'x'), Of({2}));
  EXPECT_EQ(cache.Find(std::string(2'000, 'x')), nullptr);
  EXPECT_NE(cache.Find("small"), nullptr);
}

TEST(EncodeCacheTest, ManyThreadsFindWhatBelongsToTheText) {
  EncodeCache cache(5'000);  // less than they have: entries come and go
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&cache, t] {
      for (int i = 0; i < 2'000; ++i) {
        const int32_t number = (i * 7 + t) % 40;
        const std::string text(static_cast<size_t>(100 + number), 'x');
        const EncodeCache::Tokens found = cache.Find(text);
        if (found == nullptr) {
          cache.Add(text, Of({number}));
        } else {
          EXPECT_EQ(found->front(), number);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(cache.bytes(), 5'000u);
}

}  // namespace
}  // namespace baton::text
