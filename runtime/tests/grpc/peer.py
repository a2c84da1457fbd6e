"""A gRPC server and client for the proxy's tests, without generated code: messages are bytes.

  peer.py serve            prints its port and serves until its input ends
  peer.py check HOST:PORT  runs every check against a proxy in front of it
"""
import queue
import sys
import threading
from concurrent import futures

import grpc

MESSAGES = 1000


class Echo(grpc.GenericRpcHandler):
    def service(self, details):
        name = details.method.rsplit("/", 1)[-1]
        return {
            "Unary": grpc.unary_unary_rpc_method_handler(self.unary),
            "Bidi": grpc.stream_stream_rpc_method_handler(self.bidi),
            "Fail": grpc.unary_unary_rpc_method_handler(self.fail),
            "FailLate": grpc.unary_stream_rpc_method_handler(self.fail_late),
            "Slow": grpc.unary_unary_rpc_method_handler(self.slow),
            "Flaky": grpc.unary_unary_rpc_method_handler(self.flaky),
        }.get(name)

    tries = {}

    def unary(self, request, context):
        context.set_trailing_metadata((("x-trailer", "kept"),))
        return request

    def bidi(self, requests, context):
        for request in requests:
            yield request

    def fail(self, request, context):
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not ready: 100 % sure")

    def fail_late(self, request, context):
        yield b"one"
        context.abort(grpc.StatusCode.DATA_LOSS, "lost")

    def slow(self, request, context):
        threading.Event().wait(5)
        return request

    def flaky(self, request, context):
        self.tries[request] = self.tries.get(request, 0) + 1
        if self.tries[request] == 1:
            context.abort(grpc.StatusCode.UNAVAILABLE, "try again")
        return request


def serve():
    server = grpc.server(futures.ThreadPoolExecutor(32), handlers=[Echo()])
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    sys.stdin.read()
    server.stop(0)


def status_of(call):
    try:
        call()
    except grpc.RpcError as error:
        return error.code(), error.details()
    return grpc.StatusCode.OK, ""


def check(target):
    channel = grpc.insecure_channel(target)
    unary = channel.unary_unary("/test.Echo/Unary")
    answer, call = unary.with_call(b"x" * 100_000, timeout=10)
    assert answer == b"x" * 100_000
    assert ("x-trailer", "kept") in call.trailing_metadata(), call.trailing_metadata()

    # One message at a time both ways: nothing may wait for more.
    waiting = queue.Queue()
    answers = channel.stream_stream("/test.Echo/Bidi")(iter(waiting.get, None), timeout=60)
    for number in range(MESSAGES):
        waiting.put(b"%d" % number)
        assert next(answers) == b"%d" % number
    waiting.put(None)
    assert list(answers) == []

    # All at once both ways.
    sent = [b"%d" % number * 100 for number in range(MESSAGES)]
    assert list(channel.stream_stream("/test.Echo/Bidi")(iter(sent), timeout=60)) == sent

    got = status_of(lambda: channel.unary_unary("/test.Echo/Fail")(b"", timeout=10))
    assert got == (grpc.StatusCode.FAILED_PRECONDITION, "not ready: 100 % sure"), got
    got = status_of(lambda: list(channel.unary_stream("/test.Echo/FailLate")(b"", timeout=10)))
    assert got == (grpc.StatusCode.DATA_LOSS, "lost"), got
    got = status_of(lambda: channel.unary_unary("/test.Echo/Slow")(b"", timeout=0.5))
    assert got[0] == grpc.StatusCode.DEADLINE_EXCEEDED, got
    got = status_of(lambda: channel.unary_unary("/test.Nowhere/Unary")(b"", timeout=10))
    assert got[0] == grpc.StatusCode.UNIMPLEMENTED, got
    assert channel.unary_unary("/test.Echo/Flaky")(b"a", timeout=10) == b"a"
    print("all checks hold", flush=True)


if __name__ == "__main__":
    serve() if sys.argv[1] == "serve" else check(sys.argv[2])
