#include "common/config/yaml_tree.h"

#include <sstream>
#include <stdexcept>

#include "yaml-cpp/eventhandler.h"
#include "yaml-cpp/yaml.h"

namespace baton::config {
namespace {

constexpr size_t kBytesMax = 1 << 20;
constexpr size_t kDepthMax = 16;
constexpr int kNodesMax = 100000;

// Our own tree from yaml-cpp's events: its node builder loops for ever on some malformed documents
// ("[,]" is one), its event parser does not. Throws through yaml-cpp; ParseYaml catches.
class TreeBuilder : public YAML::EventHandler {
 public:
  YamlNode Take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    Add(mark, YamlNode::Kind::kNull, anchor);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    throw YAML::ParserException(mark, "aliases are not supported");
  }
  void OnScalar(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                const std::string& value) override {
    Add(mark, YamlNode::Kind::kScalar, anchor)->text = value;
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    Open(mark, YamlNode::Kind::kSequence, anchor);
  }
  void OnSequenceEnd() override { open_.pop_back(); }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    Open(mark, YamlNode::Kind::kMap, anchor);
  }
  void OnMapEnd() override { open_.pop_back(); }

 private:
  // The pointer is good until the next call: parents only grow while a child is not open.
  YamlNode* Add(const YAML::Mark& mark, YamlNode::Kind kind, YAML::anchor_t anchor) {
    if (++nodes_ > kNodesMax) throw YAML::ParserException(mark, "more than 100000 values");
    if (anchor != 0) throw YAML::ParserException(mark, "anchors are not supported");
    YamlNode* node = &root_;
    if (!open_.empty()) node = &open_.back()->children.emplace_back();
    node->kind = kind;
    node->line = mark.line + 1;
    return node;
  }
  void Open(const YAML::Mark& mark, YamlNode::Kind kind, YAML::anchor_t anchor) {
    if (open_.size() >= kDepthMax)
      throw YAML::ParserException(mark, "nested deeper than 16 levels");
    open_.push_back(Add(mark, kind, anchor));
  }

  YamlNode root_;
  std::vector<YamlNode*> open_;
  int nodes_ = 0;
};

}  // namespace

absl::StatusOr<YamlNode> ParseYaml(std::string_view text, const std::string& name) {
  if (text.size() > kBytesMax) {
    return InvalidArgument("{}:1: must be at most {} bytes", name, kBytesMax);
  }
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    TreeBuilder document, rest;
    if (!parser.HandleNextDocument(document)) return YamlNode{.line = 1};
    if (parser.HandleNextDocument(rest)) {
      return InvalidArgument("{}:{}: must be one YAML document", name, rest.Take().line);
    }
    return document.Take();
  } catch (const YAML::Exception& e) {
    const int line = e.mark.is_null() ? 1 : e.mark.line + 1;
    return InvalidArgument("{}:{}: not YAML as expected: {}", name, line, e.msg);
  } catch (const std::exception& e) {
    return InvalidArgument("{}:1: not YAML: {}", name, e.what());
  }
}

}  // namespace baton::config
