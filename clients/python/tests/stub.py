"""A gRPC server that offers the services of freshet.v1 and answers as it is told."""

from concurrent import futures

import grpc
from google.protobuf import message_factory

from freshet.v1 import admin_pb2, feature_pb2

SERVICES = [
    feature_pb2.DESCRIPTOR.services_by_name["FeatureService"],
    admin_pb2.DESCRIPTOR.services_by_name["AdminService"],
]


class Node:
    """`replies` are the messages to answer with, by method name; `failures` come first, one a call: (code, message)."""

    def __init__(self, credentials=None, address="127.0.0.1:0"):
        self.replies = {}
        self.failures = []
        self.calls = []  # (method, request, metadata, seconds left)
        self.hold = None  # an Event that calls wait for
        self.server = grpc.server(futures.ThreadPoolExecutor(16), options=[("grpc.so_reuseport", 0)])
        for service in SERVICES:
            handlers = {method.name: self.handler(method) for method in service.methods if not method.server_streaming}
            self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, handlers),))
        if credentials:
            self.port = self.server.add_secure_port(address, credentials)
        else:
            self.port = self.server.add_insecure_port(address)
        self.target = f"127.0.0.1:{self.port}"

    def __enter__(self):
        self.server.start()
        return self

    def __exit__(self, *_):
        if self.hold:
            self.hold.set()
        self.server.stop(0).wait()

    def handler(self, method):
        request_type = message_factory.GetMessageClass(method.input_type)
        response_type = message_factory.GetMessageClass(method.output_type)

        def answer(request, context):
            self.calls.append((method.name, request, dict(context.invocation_metadata()), context.time_remaining()))
            if self.hold:
                self.hold.wait(30)
            if self.failures:
                context.abort(*self.failures.pop(0))
            return self.replies.get(method.name, response_type())

        return grpc.unary_unary_rpc_method_handler(
            answer,
            request_deserializer=request_type.FromString,
            response_serializer=lambda reply: reply if isinstance(reply, bytes) else reply.SerializeToString(),
        )

    def requests(self):
        return [request for _, request, _, _ in self.calls]
