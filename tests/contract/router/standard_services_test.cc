// What a kubelet or a grpcurl finds at the router's gRPC door.
#include "tests/support/standard_services.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/contract/router/router_cluster.h"
#include "tests/support/process.h"

namespace baton::router {
namespace {

using ::baton::testing::Eventually;
using ::baton::testing::Health;
using ::baton::testing::HealthOf;
using ::baton::testing::ListServices;
using ::baton::testing::MethodsOf;
using ::testing::IsSupersetOf;

constexpr char kInference[] = "baton.v1.Inference";

bool Becomes(const std::string& address, const std::string& service, Health expected) {
  return Eventually([&] {
    const auto health = HealthOf(address, service);
    return health.ok() && *health == expected;
  });
}

TEST(StandardServicesTest, HealthFollowsTheWorkers) {
  RouterCluster cluster;
  for (const std::string service : {"", kInference}) {
    const auto health = HealthOf(cluster.grpc(), service);
    ASSERT_TRUE(health.ok()) << health.status();
    EXPECT_EQ(*health, Health::kNotServing) << "'" << service << "' with no worker";
  }
  RouterCluster::Decode decode = cluster.AddDecode();
  EXPECT_TRUE(Becomes(cluster.grpc(), "", Health::kServing));
  EXPECT_TRUE(Becomes(cluster.grpc(), kInference, Health::kServing));
  decode.attachment.reset();
  EXPECT_TRUE(Becomes(cluster.grpc(), "", Health::kNotServing));
  EXPECT_TRUE(Becomes(cluster.grpc(), kInference, Health::kNotServing));
}

TEST(StandardServicesTest, ADrainingRouterSaysNotServingAtBothDoors) {
  RouterCluster cluster;
  RouterCluster::Decode decode = cluster.AddDecode();
  ASSERT_TRUE(Becomes(cluster.grpc(), "", Health::kServing));
  cluster.router().Drain();
  for (const std::string service : {"", kInference}) {
    const auto health = HealthOf(cluster.grpc(), service);
    ASSERT_TRUE(health.ok()) << health.status();
    EXPECT_EQ(*health, Health::kNotServing) << "'" << service << "'";
  }
}

TEST(StandardServicesTest, AnUnknownServiceHasNoHealth) {
  RouterCluster cluster;
  EXPECT_TRUE(absl::IsNotFound(HealthOf(cluster.grpc(), "baton.v1.Nobody").status()));
}

TEST(StandardServicesTest, ReflectionListsAndDescribesTheApi) {
  RouterCluster cluster;
  const auto services = ListServices(cluster.grpc());
  ASSERT_TRUE(services.ok()) << services.status();
  EXPECT_THAT(*services, IsSupersetOf({std::string(kInference), std::string("baton.v1.Cluster")}));
  const auto methods = MethodsOf(cluster.grpc(), kInference);
  ASSERT_TRUE(methods.ok()) << methods.status();
  EXPECT_THAT(*methods, IsSupersetOf({"Generate", "Tokenize", "Detokenize", "ListModels"}));
  EXPECT_TRUE(absl::IsNotFound(MethodsOf(cluster.grpc(), "baton.v1.Nobody").status()));
}

}  // namespace
}  // namespace baton::router
