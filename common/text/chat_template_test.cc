#include "common/text/chat_template.h"

#include "absl/time/civil_time.h"
#include "common/base/status.h"
#include "common/text/test_support.h"
#include "gmock/gmock.h"

namespace baton::text {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::unique_ptr<ChatTemplate> Compiled(const std::string& source) {
  TokenizerConfig config{.bos_token = "<s>", .eos_token = "</s>", .chat_template = source};
  auto chat = ChatTemplate::FromConfig(config);
  CHECK_OK(chat.status());
  return *std::move(chat);
}

absl::StatusOr<std::string> Rendered(const std::string& source, const Json& messages) {
  return Compiled(source)->Render({.messages = messages});
}

const Json kHello = Json::parse(R"([{"role": "user", "content": "Hello"}])");

// Golden: what `transformers` renders from the same template and the same variables.
TEST(ChatTemplateTest, RendersWhatTransformersRenders) {
  for (const Json& entry : Json::parse(TestData("chat/cases.json"))) {
    const std::string name = entry["template"];
    const auto chat = Compiled(TestData("chat/" + name + ".jinja"));
    Json extra = entry["context"];
    const Json messages = extra["messages"];
    const bool prompt = extra["add_generation_prompt"];
    const absl::StatusOr<std::string> text =
        chat->Render({.messages = messages,
                      .add_generation_prompt = prompt,
                      .tools = extra.contains("tools") ? &extra["tools"] : nullptr,
                      .extra = &extra,
                      .now = absl::FromCivil(absl::CivilDay(2026, 7, 4), absl::LocalTimeZone())});
    if (entry.contains("text")) {
      ASSERT_TRUE(text.ok()) << name << ": " << text.status();
      EXPECT_EQ(*text, entry["text"].get<std::string>()) << name;
    } else {
      EXPECT_EQ(text.status().code(), absl::StatusCode::kInvalidArgument) << name;
      EXPECT_THAT(MessageOf(text.status()), HasSubstr(entry["error"].get<std::string>()));
    }
  }
}

TEST(ChatTemplateTest, AConversationLooksAsTheTemplateSays) {
  const auto chat = Compiled(
      "{{ bos_token }}{% for m in messages %}\n"
      "<{{ m.role }}>{{ m.content }}{{ eos_token }}\n"
      "{% endfor %}\n"
      "{% if add_generation_prompt %}<assistant>{% endif %}");
  const Json messages = Json::parse(
      R"([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "<b>&\"hi\""}])");
  EXPECT_EQ(*chat->Render({.messages = messages}),
            "<s><system>Be brief.</s>\n<user><b>&\"hi\"</s>\n<assistant>");
  EXPECT_EQ(*chat->Render({.messages = messages, .add_generation_prompt = false}),
            "<s><system>Be brief.</s>\n<user><b>&\"hi\"</s>\n");
}

TEST(ChatTemplateTest, KeysKeepTheirOrderInPrintedTools) {
  const auto chat = Compiled("{{ tools | tojson }}");
  const Json tools = Json::parse(R"([{"zebra": 1, "apple": {"y": null, "x": "<&>'"}}])");
  EXPECT_EQ(*chat->Render({.messages = kHello, .tools = &tools}),
            R"([{"zebra": 1, "apple": {"y": null, "x": "<&>'"}}])");
}

TEST(ChatTemplateTest, ToolsAreNoneWhenThereAreNone) {
  EXPECT_EQ(*Rendered("{{ tools is none }}{{ documents is none }}", kHello), "TrueTrue");
}

TEST(ChatTemplateTest, TheTemplatesOwnComplaintReachesTheUser) {
  const auto text = Rendered("{{ raise_exception('no ' + messages[0].role) }}", kHello);
  EXPECT_EQ(text.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(MessageOf(text.status()), AllOf(HasSubstr("messages"), HasSubstr("no user")));
}

TEST(ChatTemplateTest, ContentOfTheWrongKindIsTheMessagesMistake) {
  const auto text = Rendered("{{ messages[0].content + 'x' }}",
                             Json::parse(R"([{"role": "user", "content": null}])"));
  EXPECT_EQ(text.status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(ChatTemplateTest, AMissingFilterIsTheModelsMistake) {
  const auto text = Rendered("{{ messages | no_such_filter }}", kHello);
  EXPECT_EQ(text.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(MessageOf(text.status()), HasSubstr("no_such_filter"));
}

TEST(ChatTemplateTest, InputOfTheWrongShapeIsRefusedByName) {
  const auto chat = Compiled("x");
  const Json object = Json::object(), list = Json::array();
  EXPECT_THAT(MessageOf(chat->Render({.messages = object}).status()), HasSubstr("messages"));
  EXPECT_THAT(MessageOf(chat->Render({.messages = list, .tools = &object}).status()),
              HasSubstr("tools"));
  EXPECT_THAT(MessageOf(chat->Render({.messages = list, .extra = &list}).status()),
              HasSubstr("chat_template_kwargs"));
}

TEST(ChatTemplateTest, InvalidUtf8InAMessageIsRefused) {
  const Json messages = {{{"role", "user"}, {"content", "\xFF"}}};
  EXPECT_EQ(Compiled("{{ messages }}")->Render({.messages = messages}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(ChatTemplateTest, ATemplateThatNeverEndsIsStopped) {
  const auto text = Rendered(
      "{% for a in range(10000) %}{% for b in range(10000) %}{% endfor %}{% endfor %}", kHello);
  EXPECT_EQ(text.status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(ChatTemplateTest, MarksForTrainingChangeNothing) {
  EXPECT_EQ(
      *Rendered("a {%- generation -%} b {% endgeneration %} c{% raw %}{% x %}{% endraw %}", kHello),
      *Rendered("a {%- if true -%} b {% endif %} c{% raw %}{% x %}{% endraw %}", kHello));
}

TEST(ChatTemplateTest, AMissingTemplateNamesTheFileAndTheKey) {
  TempModel model;
  model.Write("tokenizer_config.json", R"({"bos_token": "<s>"})");
  const absl::Status status = ChatTemplate::Load(model.dir()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(MessageOf(status),
              AllOf(HasSubstr("tokenizer_config.json"), HasSubstr("chat_template")));
}

TEST(ChatTemplateTest, ATemplateThatDoesNotParseNamesItsLine) {
  TempModel model;
  model.Write("chat_template.jinja", "fine\nfine\n{% if %}\n");
  const absl::Status status = ChatTemplate::Load(model.dir()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(MessageOf(status), AllOf(HasSubstr("chat_template.jinja"), HasSubstr("line 3")));
}

}  // namespace
}  // namespace baton::text
