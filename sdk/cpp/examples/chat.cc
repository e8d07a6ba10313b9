// Streams one answer: baton-sdk-example [HOST:PORT] [QUESTION]
#include <iostream>

#include "baton/client.h"

int main(int argc, char** argv) {
  baton::sdk::Client client(argc > 1 ? argv[1] : "127.0.0.1:9000");
  const std::string question = argc > 2 ? argv[2] : "What is disaggregated prefill?";
  auto generation = client.Generate({.prompt = baton::sdk::Chat{{"user", question}}});
  for (const auto& event : generation) std::cout << event.text << std::flush;
  if (generation.error()) std::cerr << generation.error().message << '\n';
  return generation.error() ? 1 : 0;
}
