/*
 * GetFeatures by grpc++ from a table that never changes: what a feature server costs that computes nothing. A callback server with its
 * threads as they come, rows in hash tables of plain arrays, each reply filled by block copies.
 *
 *   server TABLE
 *
 * TABLE has pairs of requests and a node's replies to them, each message behind its length (u32, little endian). Prints one line of JSON
 * with the address that it listens at; ends by a signal.
 */
#include "freshet/v1/feature.grpc.pb.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <string>
#include <unordered_map>
#include <vector>

#include <grpcpp/grpcpp.h>

namespace {

using freshet::v1::GetFeaturesRequest;
using freshet::v1::GetFeaturesResponse;

struct User {
    std::vector<float> values;
    google::protobuf::RepeatedPtrField<freshet::v1::Sequence> sequences;
};

struct Table {
    std::unordered_map<uint64_t, User> users;
    std::unordered_map<uint64_t, std::vector<float>> items;
    GetFeaturesResponse columns; /* the names alone */
    int width = 0; /* of an item */

    void Add(const GetFeaturesRequest &request, const GetFeaturesResponse &reply)
    {
        width = reply.item_columns_size();
        *columns.mutable_user_columns() = reply.user_columns();
        *columns.mutable_item_columns() = reply.item_columns();
        if (request.user_id() != 0 && reply.user_present())
            users[request.user_id()] = {{reply.user_values().begin(), reply.user_values().end()}, reply.sequences()};
        for (int i = 0; i < request.item_ids_size(); i++) {
            const float *row = reply.item_values().data() + static_cast<ptrdiff_t>(i) * width;

            if (reply.item_present(i))
                items[request.item_ids(i)].assign(row, row + width);
        }
    }
};

template <typename Message> bool Read(std::ifstream &in, Message *message)
{
    uint32_t length;

    if (!in.read(reinterpret_cast<char *>(&length), sizeof length))
        return false;
    std::string bytes(length, '\0');
    return in.read(bytes.data(), length) && message->ParseFromString(bytes);
}

class Features final : public freshet::v1::FeatureService::CallbackService {
public:
    explicit Features(const Table &table) : table_(table) {}

    grpc::ServerUnaryReactor *GetFeatures(grpc::CallbackServerContext *context, const GetFeaturesRequest *request,
                                          GetFeaturesResponse *reply) override
    {
        auto *reactor = context->DefaultReactor();
        auto user = table_.users.find(request->user_id());

        *reply = table_.columns;
        if (user != table_.users.end()) {
            reply->mutable_user_values()->Add(user->second.values.begin(), user->second.values.end());
            *reply->mutable_sequences() = user->second.sequences;
            reply->set_user_present(true);
        }
        auto *values = reply->mutable_item_values();
        values->Reserve(request->item_ids_size() * table_.width);
        reply->mutable_item_present()->Reserve(request->item_ids_size());
        for (uint64_t id : request->item_ids()) {
            auto item = table_.items.find(id);
            float *row = values->AddNAlreadyReserved(table_.width);

            if (item != table_.items.end())
                std::copy(item->second.begin(), item->second.end(), row);
            else
                std::fill(row, row + table_.width, 0.0F);
            reply->add_item_present(item != table_.items.end());
        }
        reactor->Finish(grpc::Status::OK);
        return reactor;
    }

private:
    const Table &table_;
};

} // namespace

int main(int argc, char **argv)
{
    Table table;
    GetFeaturesRequest request;
    GetFeaturesResponse reply;
    int port = 0;

    if (argc != 2) {
        std::fprintf(stderr, "usage: server TABLE\n");
        return 2;
    }
    std::ifstream in(argv[1], std::ios::binary);
    while (Read(in, &request) && Read(in, &reply))
        table.Add(request, reply);
    Features features(table);
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&features);
    auto server = builder.BuildAndStart();
    if (!server || table.users.empty() || table.items.empty()) {
        std::fprintf(stderr, "server: %s\n", server ? "the table is empty" : "cannot listen");
        return 1;
    }
    std::printf("{\"api\": \"127.0.0.1:%d\", \"users\": %zu, \"items\": %zu, \"grpc\": \"%s\"}\n", port, table.users.size(),
                table.items.size(), grpc::Version().c_str());
    std::fflush(stdout);
    server->Wait();
    return 0;
}
