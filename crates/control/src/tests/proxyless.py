"""gRPC's own xDS client and server, for tests. The bootstrap is in $GRPC_XDS_BOOTSTRAP.

proxyless.py serve ADDRESS NAME   an echo that answers with NAME
proxyless.py call TARGET          a line `{"calls": N, "headers": {...}}` in, the answers by their number out
"""
import collections
import json
import sys
from concurrent import futures

import grpc
import grpc.experimental

METHOD = "/proto.EchoTestService/Echo"


def serve(address, name):
    answer = grpc.unary_unary_rpc_method_handler(lambda request, context: name.encode())
    service, method = METHOD[1:].split("/")
    server = grpc.server(futures.ThreadPoolExecutor(4), xds=True)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: answer}),))
    plain = grpc.insecure_server_credentials()
    server.add_secure_port(address, grpc.xds_server_credentials(plain))
    server.start()
    server.wait_for_termination()


def call(target):
    plain = grpc.experimental.insecure_channel_credentials()
    channel = grpc.secure_channel(target, grpc.xds_channel_credentials(plain))
    method = channel.unary_unary(METHOD)
    for line in sys.stdin:
        wish = json.loads(line)
        headers = tuple(wish.get("headers", {}).items())
        seen = collections.Counter()
        for _ in range(wish["calls"]):
            try:
                seen[method(b"x", timeout=5, metadata=headers).decode()] += 1
            except grpc.RpcError as error:
                seen[error.code().name] += 1
        print(json.dumps(seen), flush=True)


{"serve": serve, "call": call}[sys.argv[1]](*sys.argv[2:])
