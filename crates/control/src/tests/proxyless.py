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


def message(text):
    """EchoResponse { message = 1 }, of less than 128 bytes"""
    return bytes([10, len(text)]) + text.encode()


def text(message):
    at = 1
    while message[at] & 0x80:
        at += 1
    return message[at + 1:].decode()


def serve(address, name):
    answer = grpc.unary_unary_rpc_method_handler(lambda request, context: message(name))
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
                seen[text(method(b"", timeout=5, metadata=headers))] += 1
            except grpc.RpcError as error:
                seen[error.code().name] += 1
        print(json.dumps(seen), flush=True)


{"serve": serve, "call": call}[sys.argv[1]](*sys.argv[2:])
