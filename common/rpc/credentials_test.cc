#include "common/rpc/credentials.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "absl/time/clock.h"
#include "baton/v1/cluster.grpc.pb.h"
#include "common/rpc/channel.h"
#include "common/rpc/grpc_log.h"
#include "common/rpc/refused_call.h"
#include "common/rpc/server.h"
#include "common/rpc/testing/test_ca.h"
#include "common/rpc/tls_files.h"

namespace baton::rpc {
namespace {

using testing::HasSubstr;

std::string Folder(const std::string& name) {
  return testing::TempDir() + "/credentials_test/" + name;
}

config::TlsOptions WorkerOf(const TestCa& ca, const std::string& name = "worker") {
  return ca.Issue(name, {.names = {NameOf(Role::kWorker)}});
}
config::TlsOptions RouterOf(const TestCa& ca) {
  return ca.Issue("router", {.names = {NameOf(Role::kRouter), "localhost"}});
}

std::string WhyNot(const config::TlsOptions& options, std::optional<Role> role = Role::kWorker) {
  return MessageOf(CheckTlsFiles(options, role));
}

void Overwrite(const std::string& path, const std::string& text) { std::ofstream(path) << text; }

class TlsFilesTest : public testing::Test {
 protected:
  const TestCa ca_{Folder("files")};
  const TestCa other_{Folder("other")};
};

TEST_F(TlsFilesTest, APairOfTheClustersCaWithItsRoleIsGood) {
  EXPECT_EQ(WhyNot(WorkerOf(ca_)), "");
  EXPECT_EQ(WhyNot(RouterOf(ca_), Role::kRouter), "");
  EXPECT_EQ(WhyNot(RouterOf(ca_), std::nullopt), "");
}

TEST_F(TlsFilesTest, WhatIsMissingIsNamedWithItsOptionAndFile) {
  config::TlsOptions options = WorkerOf(ca_);
  std::filesystem::remove(options.key);
  EXPECT_EQ(WhyNot(options), "tls_key " + options.key +
                                 ": cannot be read; is the secret mounted, and may this user read "
                                 "it?");
  options = WorkerOf(ca_);
  Overwrite(options.certificate, "");
  EXPECT_THAT(WhyNot(options),
              HasSubstr("tls_certificate " + options.certificate + ": holds no certificate"));
  options = WorkerOf(ca_);
  Overwrite(options.key, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
  EXPECT_THAT(WhyNot(options), HasSubstr("tls_key " + options.key + ": holds no private key"));
}

TEST_F(TlsFilesTest, WhatDoesNotBelongTogetherIsRefused) {
  config::TlsOptions options = WorkerOf(ca_);
  const config::TlsOptions another = WorkerOf(ca_, "another");
  EXPECT_THAT(WhyNot({options.certificate, another.key, options.ca}),
              HasSubstr("is not the key of the certificate " + options.certificate));
  EXPECT_THAT(WhyNot({options.certificate, options.key, other_.ca_file()}),
              HasSubstr("not signed by tls_ca " + other_.ca_file()));
}

TEST_F(TlsFilesTest, WhatIsNotInTimeIsRefused) {
  const std::string worker = NameOf(Role::kWorker);
  EXPECT_THAT(WhyNot(ca_.Issue("old", {.names = {worker}, .valid_until = -absl::Minutes(1)})),
              HasSubstr("has expired"));
  EXPECT_THAT(WhyNot(ca_.Issue("new", {.names = {worker}, .valid_from = absl::Minutes(1)})),
              HasSubstr("is the clock right?"));
}

TEST_F(TlsFilesTest, ACertificateThatDoesNotSayItsRoleIsRefused) {
  EXPECT_THAT(WhyNot(RouterOf(ca_)), HasSubstr("must have worker.baton.internal"));
  EXPECT_THAT(WhyNot(ca_.Issue("nameless", {})), HasSubstr("must have worker.baton.internal"));
  EXPECT_THAT(WhyNot(ca_.Issue("wild", {.names = {"*.baton.internal"}})),
              HasSubstr("must have worker.baton.internal"));
}

TEST(GrpcLogTest, AFailedHandshakeIsToldInWordsThatHelp) {
  EXPECT_THAT(std::string(WhyHandshakeFailed("error:0A000086:SSL routines::certificate verify "
                                             "failed")),
              HasSubstr("not of this side's tls_ca"));
  EXPECT_THAT(std::string(WhyHandshakeFailed("No match found for server name: x.")),
              HasSubstr("DNS name of its role"));
  EXPECT_EQ(WhyHandshakeFailed("Connection refused"), "");
}

// Answers Attach with what CheckPeer says.
class Asking : public v1::Cluster::CallbackService {
 public:
  grpc::ServerBidiReactor<v1::WorkerReport, v1::RouterNotice>* Attach(
      grpc::CallbackServerContext* context) override {
    return new RefusedCall<v1::WorkerReport, v1::RouterNotice>(CheckPeer(*context, Role::kWorker));
  }
};

class CredentialsTest : public testing::Test {
 protected:
  static Credentials Of(const config::TlsOptions& options, Role role) {
    auto credentials = Credentials::Make(options, role);
    EXPECT_TRUE(credentials.ok()) << credentials.status();
    return *std::move(credentials);
  }
  Server Start(bool clients_too = false) {
    auto server = StartServer({.listen = "127.0.0.1:0",
                               .credentials = Of(RouterOf(ca_), Role::kRouter),
                               .clients_too = clients_too},
                              {&asking_});
    EXPECT_TRUE(server.ok()) << server.status();
    return *std::move(server);
  }
  // How a call on a fresh connection ends.
  static grpc::Status Call(const std::shared_ptr<grpc::Channel>& channel) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    const auto stream = v1::Cluster::NewStub(channel)->Attach(&context);
    v1::RouterNotice notice;
    while (stream->Read(&notice)) {
    }
    return stream->Finish();
  }
  static grpc::Status Call(const Server& server, const Credentials& credentials,
                           Role role = Role::kRouter) {
    return Call(PeerChannel(server.address, credentials, role));
  }

  // It believes the CA and has no certificate itself. By address: gRPC's own look-up of a name
  // loses a few bytes.
  std::shared_ptr<grpc::Channel> ChannelOfAClient(const Server& server) const {
    grpc::SslCredentialsOptions anonymous;
    std::ifstream file(ca_.ca_file());
    anonymous.pem_root_certs.assign(std::istreambuf_iterator<char>(file), {});
    grpc::ChannelArguments arguments;
    arguments.SetSslTargetNameOverride("localhost");
    return grpc::CreateCustomChannel(server.address, grpc::SslCredentials(anonymous), arguments);
  }

  const TestCa ca_{Folder("cluster")};
  const TestCa other_{Folder("other")};
  Asking asking_;
};

TEST_F(CredentialsTest, BothSidesProveThemselvesWhateverTheAddress) {
  const Server server = Start();
  const grpc::Status status = Call(server, Of(WorkerOf(ca_), Role::kWorker));
  EXPECT_TRUE(status.ok()) << status.error_message();
}

TEST_F(CredentialsTest, WhoIsOfAnotherCaIsRefusedByEitherSide) {
  const Server server = Start();
  const TestCa namesake(Folder("namesake/cluster"));
  const grpc::Status made_again = Call(server, Of(WorkerOf(namesake), Role::kWorker));
  EXPECT_THAT(std::string(WhyHandshakeFailed(made_again.error_message())),
              HasSubstr("another CA with the name"))
      << made_again.error_message();
  const grpc::Status unknown = Call(server, Of(WorkerOf(other_), Role::kWorker));
  EXPECT_EQ(unknown.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_NE(WhyHandshakeFailed(unknown.error_message()), "") << unknown.error_message();
  // It believes the router, and the router does not believe it.
  config::TlsOptions theirs = WorkerOf(other_);
  theirs.ca = Folder("other") + "/both.crt";
  std::ofstream both(theirs.ca);
  for (const TestCa* ca : {&ca_, &other_}) both << std::ifstream(ca->ca_file()).rdbuf();
  both.close();
  EXPECT_EQ(Call(server, Of(theirs, Role::kWorker)).error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(CredentialsTest, ARouterIsNotTakenForAWorkerNorTheOtherWayRound) {
  const Server server = Start();
  const grpc::Status dialled = Call(server, Of(WorkerOf(ca_), Role::kWorker), Role::kWorker);
  EXPECT_EQ(dialled.error_code(), grpc::StatusCode::UNAVAILABLE);
  const grpc::Status called = Call(server, Of(RouterOf(ca_), Role::kRouter));
  EXPECT_EQ(called.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_THAT(called.error_message(), HasSubstr("must have the DNS name worker.baton.internal"));
}

TEST_F(CredentialsTest, WhoSpeaksNoTlsOrHasNoCertificateGetsNowhere) {
  const Server server = Start();
  EXPECT_EQ(Call(server, Credentials()).error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(Call(ChannelOfAClient(server)).error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(CredentialsTest, ADoorForClientsLetsThemConnectAndNotDoWhatWorkersDo) {
  const Server server = Start(/*clients_too=*/true);
  const auto client = ChannelOfAClient(server);
  EXPECT_EQ(Call(client).error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_TRUE(Call(server, Of(WorkerOf(ca_), Role::kWorker)).ok());
  EXPECT_EQ(Call(server, Of(WorkerOf(other_), Role::kWorker)).error_code(),
            grpc::StatusCode::UNAVAILABLE);
}

TEST_F(CredentialsTest, WithoutTlsNobodyProvesAnything) {
  const auto server = StartServer({.listen = "127.0.0.1:0"}, {&asking_});
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_TRUE(Call(*server, Credentials()).ok());
}

TEST_F(CredentialsTest, NewFilesAreTakenWithoutARestart) {
  const Server server = Start();
  const Credentials old = Of(WorkerOf(ca_), Role::kWorker);
  ASSERT_TRUE(Call(server, old).ok());
  // The server's folder gets another CA's files under the same names.
  const TestCa fresh(Folder("cluster"));
  RouterOf(fresh);
  const Credentials young = Of(WorkerOf(fresh, "young"), Role::kWorker);
  const absl::Time until = absl::Now() + absl::Seconds(30);
  grpc::Status status = Call(server, young);
  while (!status.ok() && absl::Now() < until) status = Call(server, young);
  EXPECT_TRUE(status.ok()) << status.error_message();
}

}  // namespace
}  // namespace baton::rpc
