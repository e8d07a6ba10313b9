#include "services/cli/chat_command.h"

#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <iterator>

#include "baton/client.h"
#include "common/config/command_line.h"
#include "fmt/format.h"
#include "services/cli/client_options.h"
#include "services/cli/interrupt.h"

namespace baton::cli {
namespace {

struct ChatOptions {
  ClientOptions client;
  SamplingOptions sampling;
  std::string prompt;
  std::string system;
  bool stats = false;
};

// A conversation with one model; remembers what was said.
class Conversation {
 public:
  Conversation(const ChatOptions& options, const sdk::ClientOptions& door, Interrupt& interrupt)
      : options_(options), interrupt_(interrupt), client_(options.client.grpc.text(), door) {
    Clear();
  }

  void Clear() {
    messages_.clear();
    if (!options_.system.empty()) messages_.push_back({"system", options_.system});
  }

  // Streams the answer to stdout. Cancelled answers count as given.
  sdk::Error Ask(const std::string& question);

 private:
  void PrintStats(const sdk::Event& usage) const;

  const ChatOptions& options_;
  Interrupt& interrupt_;
  sdk::Client client_;
  sdk::Chat messages_;
};

sdk::Error Conversation::Ask(const std::string& question) {
  messages_.push_back({"user", question});
  sdk::Request request{.model = options_.client.model,
                       .prompt = messages_,
                       .sampling = options_.sampling.ToSampling()};
  sdk::Generation generation = client_.Generate(request);
  Interrupt::Scope on_interrupt(interrupt_, [&] { generation.Cancel(); });
  std::string answer, failure;
  for (const sdk::Event& event : generation) {
    if (event.kind == sdk::Event::Kind::kText) {
      answer += event.text;
      std::fwrite(event.text.data(), 1, event.text.size(), stdout);
      std::fflush(stdout);
    } else if (event.kind == sdk::Event::Kind::kFinished &&
               event.finish == v1::FINISH_REASON_ERROR) {
      failure = event.message;
    } else if (event.kind == sdk::Event::Kind::kUsage && options_.stats) {
      PrintStats(event);
    }
  }
  std::fputs("\n", stdout);
  if (!failure.empty()) return {sdk::ErrorCode::kInternal, failure, {}};
  const sdk::Error& error = generation.error();
  if (error && error.code != sdk::ErrorCode::kCancelled) {
    messages_.pop_back();  // so that it can be asked again
    return error;
  }
  messages_.push_back({"assistant", answer});
  return error;
}

void Conversation::PrintStats(const sdk::Event& event) const {
  const v1::Usage& usage = event.usage;
  fmt::print(stderr, "\n[{} prompt tokens, {} cached, {} out, TTFT {:.1f} ms, {:.1f} ms in all]",
             usage.prompt_tokens(), usage.cached_tokens(), usage.completion_tokens(),
             usage.ttft_ms(), usage.total_ms());
}

void PrintError(const sdk::Error& error) {
  fmt::print(stderr, "baton chat: {}: {}\n", NameOf(error.code), error.message);
}

int Once(Conversation& conversation, const std::string& question) {
  const sdk::Error error = conversation.Ask(question);
  if (!error) return 0;
  if (error.code == sdk::ErrorCode::kCancelled) return 130;
  PrintError(error);
  return 1;
}

int Repl(Conversation& conversation) {
  fmt::print("Ask away. /clear forgets, /exit (or Ctrl-D) leaves, Ctrl-C cuts an answer short.\n");
  std::string line;
  for (;;) {
    fmt::print("> ");
    std::fflush(stdout);
    if (!std::getline(std::cin, line)) break;
    if (line == "/exit" || line == "/quit") return 0;
    if (line == "/clear") {
      conversation.Clear();
    } else if (line.find_first_not_of(" \t\r") != std::string::npos) {
      const sdk::Error error = conversation.Ask(line);
      if (error && error.code != sdk::ErrorCode::kCancelled) PrintError(error);
    }
  }
  std::fputs("\n", stdout);
  return 0;
}

}  // namespace

int ChatCommand(int argc, const char* const* argv) {
  Interrupt interrupt;
  ChatOptions options;
  config::OptionSet client("client", "Cluster"), sampling("sampling", "Sampling"),
      chat("chat", "Chat");
  options.client.AddTo(client);
  options.sampling.AddTo(sampling);
  chat.Add("prompt", &options.prompt,
           {.flag = "prompt", .help = "one question; without it, a conversation"});
  chat.Add("system", &options.system, {.help = "what the model is told beforehand"});
  chat.Add("stats", &options.stats,
           {.help = "token counts and times after each answer", .bare = true});
  const config::Program program{.name = "baton chat",
                                .about = "Talks to a model: one question, or a conversation.",
                                .examples =
                                    "  baton chat \"What is a KV cache?\"\n"
                                    "  baton chat --temperature 0 < question.txt\n"
                                    "  baton chat\n"};
  if (auto exit = config::ParseCommandLine(program, argc, argv, config::ProcessEnvironment(),
                                           {&client, &sampling, &chat})) {
    return config::Leave(*exit);
  }
  const auto door = options.client.door.Grpc();
  if (!door.ok()) {
    fmt::print(stderr, "baton chat: {}\n", MessageOf(door.status()));
    return 1;
  }
  Conversation conversation(options, *door, interrupt);
  if (!options.prompt.empty()) return Once(conversation, options.prompt);
  if (isatty(STDIN_FILENO) == 1) return Repl(conversation);
  std::string piped(std::istreambuf_iterator<char>(std::cin), {});
  if (!piped.empty() && piped.back() == '\n') piped.pop_back();
  return Once(conversation, piped);
}

}  // namespace baton::cli
