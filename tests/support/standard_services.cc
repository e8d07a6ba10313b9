#include "tests/support/standard_services.h"

#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/unknown_field_set.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include "common/rpc/status.h"

namespace baton::testing {
namespace {

using google::protobuf::UnknownFieldSet;

constexpr char kHealthCheck[] = "/grpc.health.v1.Health/Check";
constexpr char kReflection[] = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";

// Field numbers of the reflection protocol.
constexpr int kFileContainingSymbol = 4, kListServices = 7;                      // of the request
constexpr int kFileResponse = 4, kListServicesResponse = 6, kErrorResponse = 7;  // of the reply

grpc::ByteBuffer BufferOf(const UnknownFieldSet& message) {
  std::string bytes;
  message.SerializeToString(&bytes);
  const grpc::Slice slice(bytes);
  return grpc::ByteBuffer(&slice, 1);
}

absl::StatusOr<std::string> BytesIn(const grpc::ByteBuffer& buffer) {
  grpc::Slice slice;
  if (!buffer.DumpToSingleSlice(&slice).ok()) return Internal("an unreadable reply");
  return std::string(reinterpret_cast<const char*>(slice.begin()), slice.size());
}

// One message there, one back; for unary calls and streams alike.
absl::StatusOr<std::string> Exchange(const std::string& address, const char* method,
                                     const UnknownFieldSet& request) {
  auto channel = grpc::CreateChannel(address, grpc::InsecureChannelCredentials());
  grpc::GenericStub stub(channel);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
  grpc::CompletionQueue queue;
  void* tag = nullptr;
  bool ok = false;
  auto call = stub.PrepareCall(&context, method, &queue);
  call->StartCall(nullptr);
  queue.Next(&tag, &ok);
  if (ok) {
    call->WriteLast(BufferOf(request), grpc::WriteOptions(), nullptr);
    queue.Next(&tag, &ok);
  }
  grpc::ByteBuffer reply;
  call->Read(&reply, nullptr);
  queue.Next(&tag, &ok);
  const bool answered = ok;
  grpc::Status status;
  call->Finish(&status, nullptr);
  queue.Next(&tag, &ok);
  if (!answered) {
    return status.ok() ? Internal("{}: no reply", method) : rpc::FromGrpc(status);
  }
  return BytesIn(reply);
}

// Every length-delimited field of that number; none when the bytes are no message.
std::vector<std::string> BytesAt(const std::string& bytes, int number) {
  UnknownFieldSet message;
  std::vector<std::string> found;
  if (!message.ParseFromString(bytes)) return found;
  for (int i = 0; i < message.field_count(); ++i) {
    const google::protobuf::UnknownField& field = message.field(i);
    if (field.number() == number &&
        field.type() == google::protobuf::UnknownField::TYPE_LENGTH_DELIMITED) {
      found.push_back(field.length_delimited());
    }
  }
  return found;
}

absl::StatusOr<std::string> Reflect(const std::string& address, int question,
                                    const std::string& about, int answer) {
  UnknownFieldSet request;
  request.AddLengthDelimited(question, about);
  ASSIGN_OR_RETURN(const std::string reply, Exchange(address, kReflection, request));
  if (!BytesAt(reply, kErrorResponse).empty()) return NotFound("reflection knows no '{}'", about);
  const std::vector<std::string> found = BytesAt(reply, answer);
  if (found.size() != 1) return Internal("reflection: {} answers", found.size());
  return found[0];
}

}  // namespace

absl::StatusOr<Health> HealthOf(const std::string& address, const std::string& service) {
  UnknownFieldSet request;
  request.AddLengthDelimited(1, service);
  ASSIGN_OR_RETURN(const std::string reply, Exchange(address, kHealthCheck, request));
  UnknownFieldSet fields;
  if (!fields.ParseFromString(reply) || fields.empty()) return Health::kUnknown;
  return static_cast<Health>(fields.field(0).varint());
}

absl::StatusOr<std::vector<std::string>> ListServices(const std::string& address) {
  ASSIGN_OR_RETURN(const std::string list,
                   Reflect(address, kListServices, "*", kListServicesResponse));
  std::vector<std::string> names;
  for (const std::string& service : BytesAt(list, 1)) {
    for (std::string& name : BytesAt(service, 1)) names.push_back(std::move(name));
  }
  return names;
}

absl::StatusOr<std::vector<std::string>> MethodsOf(const std::string& address,
                                                   const std::string& service) {
  ASSIGN_OR_RETURN(const std::string files,
                   Reflect(address, kFileContainingSymbol, service, kFileResponse));
  for (const std::string& bytes : BytesAt(files, 1)) {
    google::protobuf::FileDescriptorProto file;
    if (!file.ParseFromString(bytes)) return Internal("not a file descriptor");
    for (const auto& found : file.service()) {
      if (file.package() + "." + found.name() != service) continue;
      std::vector<std::string> methods;
      for (const auto& method : found.method()) methods.push_back(method.name());
      return methods;
    }
  }
  return NotFound("no file defines {}", service);
}

}  // namespace baton::testing
